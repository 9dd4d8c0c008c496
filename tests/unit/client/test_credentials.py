"""What a client shows to nodes, and what it asks of them before it shows anything."""

import asyncio
import ssl
from pathlib import Path

import pytest
from tests.support.asyncs import asynchronous, until, within
from tests.support.certified import Authority, expired
from tests.support.fake_node import FakeCluster, Silent, run

from raftq.client import AsyncClient, Client, Forbidden, NoLeader
from raftq.client.connection import PATIENCE_SECONDS, open_connection
from raftq.client.credentials import SYSTEM_CA, Credentials, credentials
from raftq.protocol.errors import Forbidden as WireForbidden
from raftq.protocol.errors import InvalidRequest

TOKEN = "rq_" + "t" * 43


def serving_tls(authority: Authority, *hosts: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("n1", hosts=hosts))
    return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certs")


@asynchronous
async def test_a_token_is_the_third_param_of_every_hello() -> None:
    async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses, token=TOKEN) as client:
        await client.cluster()
        cluster["n1"].fallback = Silent()
        waiting = asyncio.create_task(client.lease("q", worker="w", wait=30))
        await until(lambda: cluster["n1"].hellos >= 2, 10 * PATIENCE_SECONDS)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert cluster["n1"].tokens == [[TOKEN]] * cluster["n1"].hellos


@pytest.mark.parametrize("token", [None, ""])
@asynchronous
async def test_without_a_token_hello_is_as_it_always_was(token: str | None) -> None:
    async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses, token=token) as client:
        await client.cluster()
        assert cluster["n1"].tokens == [[]]


@asynchronous
async def test_a_refused_client_hears_it_at_once_from_the_first_node() -> None:
    async with FakeCluster(3) as cluster:
        for node in cluster.nodes:
            node.hello = WireForbidden("the token is not known on this node")
        async with AsyncClient(cluster.addresses, token=TOKEN, timeout=30) as client:
            with pytest.raises(Forbidden, match="not known") as refused:
                await within(5.0, client.cluster())
        assert sum(node.hellos for node in cluster.nodes) == 1
        assert TOKEN not in repr(refused.value)


def test_the_blocking_client_takes_the_same(authority: Authority) -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster:
            await cluster["n1"].stop()
            cluster["n1"].tls = serving_tls(authority)
            await cluster["n1"].start(cluster)

            def call() -> None:
                with Client(cluster.addresses, token=TOKEN, tls_ca=authority.ca) as client:
                    client.cluster()

            await asyncio.to_thread(call)
            assert cluster["n1"].tokens == [[TOKEN]]

    run(main)


def test_a_node_must_prove_its_name_before_it_sees_the_token(
    authority: Authority, tmp_path: Path
) -> None:
    stranger, old = Authority(tmp_path / "stranger"), expired(tmp_path / "old")
    cases = [
        (serving_tls(stranger), authority.ca, "certificate verify failed"),
        (serving_tls(old), old.ca, "certificate has expired"),
    ]

    async def main() -> None:
        for tls, ca, reason in cases:
            async with FakeCluster(1) as cluster:
                node = cluster["n1"]
                await node.stop()
                node.tls = tls
                await node.start(cluster)
                async with AsyncClient(
                    cluster.addresses, token=TOKEN, tls_ca=ca, timeout=1.5
                ) as client:
                    with pytest.raises(NoLeader, match=reason):
                        await client.cluster()
                assert node.hellos == 0

    run(main)


def test_a_client_that_expects_tls_says_nothing_to_a_node_without(authority: Authority) -> None:
    async def main() -> None:
        heard = bytearray()

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.extend(await reader.read(65_536))
            writer.write(b"\x94\x01\xc0\x93\xa1x\xa1x\x80\xc0")
            writer.close()

        server = await asyncio.start_server(listen, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = AsyncClient(address, token=TOKEN, tls_ca=authority.ca, timeout=1.5)
        async with client:
            with pytest.raises(NoLeader, match=r"(?i)wrong.version.number"):
                await client.cluster()
        server.close()
        assert heard and TOKEN.encode() not in heard

    run(main)


def test_a_good_certificate_of_another_host_is_refused(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster:
            node = cluster["n1"]
            await node.stop()
            node.tls = serving_tls(authority, "n1.example.org")
            node.host = "127.0.0.5"
            await node.start(cluster)
            async with AsyncClient(cluster.addresses, tls_ca=authority.ca, timeout=1.5) as client:
                with pytest.raises(NoLeader, match=r"not valid for '127\.0\.0\.5'"):
                    await client.cluster()
            assert node.hellos == 0

    run(main)


def test_a_plain_client_of_a_tls_node_is_told_what_is_missing(authority: Authority) -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster:
            await cluster["n1"].stop()
            cluster["n1"].tls = serving_tls(authority)
            await cluster["n1"].start(cluster)
            address = ("127.0.0.1", cluster["n1"].port)
            with pytest.raises(NoLeader, match="does it expect TLS"):
                await open_connection(address, "plain", 0.5, lambda _, __: None, lambda: None)

    run(main)


# ---------------------------------------------------------------- arguments


def test_a_token_is_never_shown() -> None:
    assert TOKEN not in repr(credentials(TOKEN, None)) + str(Credentials(TOKEN))


@pytest.mark.parametrize("token", ["a b", "rq_x\n", "rq_é", "rq_\x00", "\ttoken"])
def test_a_token_that_cannot_be_one_is_refused_and_not_quoted(token: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        AsyncClient("h", token=token)
    assert token not in str(refused.value)


def test_a_ca_that_is_none_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.crt"
    broken.write_text("x")
    for wrong in (tmp_path / "missing.crt", broken, tmp_path):
        with pytest.raises(InvalidRequest, match=str(wrong)):
            AsyncClient("h", tls_ca=wrong)


def test_the_systems_cas_can_be_trusted() -> None:
    tls = credentials(None, SYSTEM_CA).tls
    assert tls is not None and tls.verify_mode == ssl.CERT_REQUIRED and tls.check_hostname


def test_a_scheme_that_does_not_exist_says_what_does() -> None:
    with pytest.raises(InvalidRequest, match="tls_ca"):
        AsyncClient("raftqs://n1:7601")
