"""Nodes that are no members keep no link."""

import asyncio
from collections.abc import Awaitable
from random import Random

from raftq.consensus.peers.links import Refusal
from raftq.consensus.peers.messages import (
    NotMember,
    PeerHello,
    PeerMessage,
    decode_message,
    encode_frame,
)
from raftq.consensus.peers.network import TornadoNetwork
from raftq.consensus.peers.tcp_links import TcpLinks
from raftq.protocol.versions import PEER_PROTOCOL_VERSION

FAREWELL = NotMember("c1", 7)


def hello(sender: str, receiver: str) -> PeerHello:
    return PeerHello(PEER_PROTOCOL_VERSION, sender, receiver, "c1", "boot", {})


class Receiver:
    """n1, whose list changes as soon as it has said hello to n2."""

    def __init__(self) -> None:
        self.has_removed = False
        self.up: list[str] = []

    def hello_for(self, peer: str) -> PeerHello:
        self.has_removed = True
        return hello("n1", peer)

    def refuse(self, hello: PeerHello) -> Refusal | None:
        return Refusal("it is no member", FAREWELL) if self.has_removed else None

    def on_link_up(self, peer: str, hello: PeerHello) -> None:
        self.up.append(peer)

    def on_link_down(self, peer: str) -> None:
        self.up.remove(peer)

    def on_message(self, peer: str, message: PeerMessage) -> None: ...
    def on_congestion(self, peer: str, is_congested: bool) -> None: ...


class Dialled:
    """The accepted end of a connection on which n2 has said hello."""

    def __init__(self) -> None:
        self.unread = bytes(encode_frame(hello("n2", "n1")))
        self.wrote: list[PeerMessage] = []
        self.is_closed = False

    def set_nodelay(self, value: bool) -> None: ...

    async def read_bytes(self, num_bytes: int, partial: bool = False) -> bytes:
        read, self.unread = self.unread[:num_bytes], self.unread[num_bytes:]
        return read if read else await asyncio.Future[bytes]()

    def write(self, data: bytes) -> "asyncio.Future[None]":
        self.wrote.append(decode_message(data[4:]))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def close(self) -> None:
        self.is_closed = True

    def closed(self) -> bool:
        return self.is_closed


def in_time(running: Awaitable[bool]) -> bool:
    async def main() -> bool:
        async with asyncio.timeout(5):
            return await running

    return asyncio.run(main())


def test_a_node_that_is_removed_while_it_is_greeted_gets_no_link() -> None:
    receiver, stream = Receiver(), Dialled()
    links = TcpLinks("n1", ("127.0.0.1", 0), {}, Random(1), TornadoNetwork())

    async def accept() -> bool:
        await links.start(receiver)
        try:
            return await links.run(stream, None)
        finally:
            await links.stop()

    assert not in_time(accept())
    assert receiver.up == [] and stream.is_closed and stream.wrote[1:] == [FAREWELL]
