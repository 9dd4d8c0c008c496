"""Links between nodes with certificates: only who proves to be a peer becomes one."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from tests.support.asyncs import asynchronous, until
from tests.support.certified import Authority, expired
from tests.support.handshakes import drip_until_cut_off
from tests.support.replicas import free_ports

from raftq.consensus.peers.links import Refusal
from raftq.consensus.peers.messages import (
    NotMember,
    PeerHello,
    PeerMessage,
    Vote,
    encode_frame,
)
from raftq.consensus.peers.network import TornadoNetwork
from raftq.consensus.peers.tcp_links import TcpLinks
from raftq.consensus.peers.tls import load_peer_tls, proven_node
from raftq.protocol import limits
from raftq.protocol.credentials import node_uri
from raftq.protocol.versions import PEER_PROTOCOL_VERSION

WAIT_SECONDS = 10.0
Files = tuple[Path, Path, Path]
"""A CA, a certificate and its key."""


@dataclass
class Receiver:
    """Takes whoever TcpLinks lets through."""

    node: str
    up: list[str] = field(default_factory=list[str])
    got: list[tuple[str, PeerMessage]] = field(default_factory=list[tuple[str, PeerMessage]])

    def hello_for(self, peer: str) -> PeerHello:
        return hello(self.node, peer)

    def refuse(self, hello: PeerHello) -> Refusal | None:
        return None

    def on_link_up(self, peer: str, hello: PeerHello) -> None:
        self.up.append(peer)

    def on_link_down(self, peer: str) -> None: ...

    def on_message(self, peer: str, message: PeerMessage) -> None:
        self.got.append((peer, message))

    def on_congestion(self, peer: str, is_congested: bool) -> None: ...


def hello(sender: str, receiver: str) -> PeerHello:
    return PeerHello(PEER_PROTOCOL_VERSION, sender, receiver, None, "boot", {})


class Side:
    """One node's links; without files it is a node without certificates."""

    def __init__(self, node: str, ports: dict[str, int], files: Files | None) -> None:
        self.node = node
        self.port = ports[node]
        self.receiver = Receiver(node)
        self.network = TornadoNetwork()
        if files is not None:
            self.renew(files)
        addresses = {peer: ("127.0.0.1", port) for peer, port in ports.items() if peer != node}
        self.links = TcpLinks(
            node,
            ("127.0.0.1", self.port),
            addresses,
            Random(1),
            self.network,
            None if files is None else proven_node,
        )

    def renew(self, files: Files) -> None:
        tls = load_peer_tls(*files)
        self.network.renew(tls.accepting, tls.dialling)


@asynccontextmanager
async def running(*sides: Side) -> AsyncGenerator[None]:
    for side in sides:
        await side.links.start(side.receiver)
    try:
        yield
    finally:
        for side in sides:
            await side.links.stop()


def ports(*nodes: str) -> dict[str, int]:
    return dict(zip(nodes, free_ports(len(nodes)), strict=True))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "good")


def files(authority: Authority, node: str, file: str | None = None) -> Files:
    return (authority.ca, *authority.issue(node, file))


@pytest.fixture
def refusals(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    return lambda: " | ".join(
        str(vars(record)["reason"])
        for record in caplog.records
        if record.getMessage() == "peer_refused"
    )


def test_two_nodes_with_certificates_talk(authority: Authority) -> None:
    @asynchronous
    async def body() -> None:
        where = ports("n1", "n2")
        first, second = (Side(node, where, files(authority, node)) for node in where)
        async with running(first, second):
            await until(lambda: first.receiver.up and second.receiver.up)
            assert first.links.send("n2", Vote(1)) and second.links.send("n1", Vote(2))
            await until(lambda: first.receiver.got and second.receiver.got)
            assert first.receiver.got == [("n2", Vote(2))]
            assert second.receiver.got == [("n1", Vote(1))]

    body()


def bad_files(kind: str, authority: Authority, node: str, folder: Path) -> Files | None:
    """Return the credentials of a node that must not be let in."""
    match kind:
        case "plaintext":
            return None
        case "another CA":
            stranger = Authority(folder / "stranger")
            return (authority.ca, *stranger.issue(node))
        case "expired":
            old = expired(folder / "old")
            authority.ca.write_bytes(authority.ca.read_bytes() + old.ca.read_bytes())
            return (authority.ca, *old.issue(node))
        case "another node":
            return files(authority, "n3")
        case "no node":
            return (authority.ca, *authority.issue_names("web", "https://n1.example.org"))
        case _:
            return (authority.ca, *authority.issue_names("two", node_uri("n1"), node_uri("n2")))


SAID = {
    "plaintext": ("TLS", "it speaks TLS"),
    "another CA": ("certificate verify failed",),
    "expired": ("certificate has expired",),
    "another node": ("it should be", "its certificate is that of n3"),
    "no node": ("names 0 nodes",),
    "two nodes": ("names 2 nodes",),
}


@pytest.mark.parametrize("which", ["n1", "n2"])
@pytest.mark.parametrize("kind", SAID)
def test_a_node_with_bad_credentials_gets_no_link_and_the_reason_is_logged(
    kind: str, which: str, authority: Authority, tmp_path: Path, refusals: Callable[[], str]
) -> None:
    """n2 dials n1, so `which` decides whether the bad one dials or is dialled."""

    @asynchronous
    async def body() -> None:
        where = ports("n1", "n2")
        bad = bad_files(kind, authority, which, tmp_path)
        sides = [Side(node, where, bad if node == which else files(authority, node))
                 for node in where]  # fmt: skip
        good = next(side for side in sides if side.node != which)
        async with running(*sides):
            await until(lambda: any(words in refusals() for words in SAID[kind]))
            assert not good.receiver.up and not good.receiver.got
            assert not any(good.links.reachable().values())

    body()


def dialling(authority: Authority, own: tuple[Path, Path] | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(authority.ca)
    if own is not None:
        context.load_cert_chain(*own)
    return context


async def say(side: Side, context: ssl.SSLContext | None, data: bytes) -> bytes:
    """Send bytes to a node and return everything that it answers until it closes."""
    answer = b""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(WAIT_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", side.port, ssl=context)
            try:
                writer.write(data)
                answer = await reader.read()
            finally:
                writer.transport.abort()
    return answer


def test_a_node_that_speaks_as_another_is_refused(
    authority: Authority, refusals: Callable[[], str]
) -> None:
    @asynchronous
    async def body() -> None:
        side = Side("n1", ports("n1", "n2", "n3"), files(authority, "n1"))
        third = dialling(authority, authority.issue("n3"))
        async with running(side):
            lie = bytes(encode_frame(hello("n2", "n1"))) + bytes(encode_frame(Vote(9)))
            assert await say(side, third, lie) == b""
            assert "it should be n2, and its certificate is that of n3" in refusals()
            assert not side.receiver.up and not side.receiver.got
            truth = bytes(encode_frame(hello("n3", "n1")))
            saying = asyncio.create_task(say(side, third, truth))
            await until(lambda: side.receiver.up == ["n3"])
            saying.cancel()
            await asyncio.wait([saying])

    body()


def test_a_stranger_without_a_certificate_is_not_even_heard(
    authority: Authority, refusals: Callable[[], str]
) -> None:
    @asynchronous
    async def body() -> None:
        side = Side("n1", ports("n1", "n2"), files(authority, "n1"))
        plain = bytes(encode_frame(hello("n2", "n1")))
        async with running(side):
            for context in (None, dialling(authority, None)):
                assert b"boot" not in await say(side, context, plain)
            for garbage in (b"\x00", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff"):
                await say(side, None, garbage + b"\x00" * 70_000)
            for words in ("did not return a certificate", "wrong version number"):
                assert words in refusals()
            assert not side.receiver.up

    body()


def test_an_older_tls_is_not_spoken(authority: Authority) -> None:
    @asynchronous
    async def body() -> None:
        side = Side("n1", ports("n1", "n2"), files(authority, "n1"))
        old = dialling(authority, authority.issue("n2"))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        async with running(side):
            assert await say(side, old, bytes(encode_frame(hello("n2", "n1")))) == b""
            assert not side.receiver.up

    body()


def test_an_impostor_at_a_peers_address_cannot_tell_a_node_anything(authority: Authority) -> None:
    """It has a certificate of the cluster, and answers that the node is no member."""

    @asynchronous
    async def body() -> None:
        where = ports("n1", "n2")
        side = Side("n2", where, files(authority, "n2"))
        tls = load_peer_tls(*files(authority, "n3"))
        seen: list[bytes] = []

        async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(bytes(encode_frame(NotMember("c", 9))))
            seen.append(await reader.read())
            writer.transport.abort()

        server = await asyncio.start_server(lie, "127.0.0.1", where["n1"], ssl=tls.accepting)
        async with running(side):
            await until(lambda: len(seen) >= 2)
        server.close()
        assert not side.receiver.got and not side.receiver.up
        assert set(seen) == {b""}, "and it does not learn what the node says in its hello"

    body()


@pytest.mark.parametrize("begun", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
def test_half_open_handshakes_are_cut_off_and_disturb_nobody(
    authority: Authority, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HELLO_TIMEOUT_MS", 300)

    @asynchronous
    async def body() -> None:
        where = ports("n1", "n2")
        first, second = (Side(node, where, files(authority, node)) for node in where)
        async with running(first):
            saying = [asyncio.create_task(say(first, None, begun)) for _ in range(100)]
            async with running(second):
                await until(lambda: first.receiver.up and second.receiver.up)
            async with asyncio.timeout(WAIT_SECONDS):
                assert set(await asyncio.gather(*saying)) == {b""}

    body()


def test_a_handshake_that_drips_is_cut_off(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HELLO_TIMEOUT_MS", 300)

    @asynchronous
    async def body() -> None:
        side = Side("n1", ports("n1", "n2"), files(authority, "n1"))
        async with running(side):
            reader, writer = await asyncio.open_connection("127.0.0.1", side.port)
            await drip_until_cut_off(reader, writer)
            writer.transport.abort()

    body()


def test_renewed_certificates_count_for_the_next_connection(
    authority: Authority, tmp_path: Path, refusals: Callable[[], str]
) -> None:
    @asynchronous
    async def body() -> None:
        where = ports("n1", "n2")
        first, second = (Side(node, where, files(authority, node)) for node in where)
        other = Authority(tmp_path / "other")
        async with running(first):
            async with running(second):
                await until(lambda: first.receiver.up and second.receiver.up)
                first.renew(files(other, "n1"))
                assert first.links.send("n2", Vote(1)), "the link that is open stays"
                await until(lambda: second.receiver.got)
            again = Side("n2", where, files(authority, "n2"))
            renewed = Side("n2", where, files(other, "n2"))
            async with running(again):
                await until(lambda: "certificate verify failed" in refusals())
                assert not again.receiver.up
            async with running(renewed):
                await until(lambda: renewed.receiver.up)

    body()
