"""A link whose other side is gone without a word ends, on both sides."""

import asyncio
import socket

from tornado.iostream import IOStream

from raftq.cli.local_cluster import free_ports
from raftq.consensus.peers.dead_links import DEAD_AFTER_SECONDS
from raftq.consensus.peers.network import Stream, TornadoNetwork


def patience(stream: Stream) -> tuple[int, float]:
    """Return after how many seconds the kernel gives up an idle link, and one with unsent bytes."""
    assert isinstance(stream, IOStream) and stream.socket is not None
    assert stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    before, pause, probes, unsent_ms = (
        stream.socket.getsockopt(socket.IPPROTO_TCP, option)
        for option in (
            socket.TCP_KEEPIDLE,
            socket.TCP_KEEPINTVL,
            socket.TCP_KEEPCNT,
            socket.TCP_USER_TIMEOUT,
        )
    )
    return before + pause * probes, unsent_ms / 1_000


def test_the_kernel_gives_up_a_dead_link_within_seconds_on_both_sides() -> None:
    async def connect() -> list[tuple[int, float]]:
        accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()

        async def serve(stream: Stream) -> None:
            accepted.set_result(stream)

        (port,) = free_ports(1)
        server, client = TornadoNetwork(), TornadoNetwork()
        server.listen("127.0.0.1", port, serve)
        dialled = await client.dial("127.0.0.1", port)
        async with asyncio.timeout(5.0):
            streams = [dialled, await accepted]
        found = [patience(stream) for stream in streams]
        for stream in streams:
            stream.close()
        server.stop_listening()
        return found

    for idle, unsent in asyncio.run(connect()):
        assert idle <= DEAD_AFTER_SECONDS + 1
        assert unsent == DEAD_AFTER_SECONDS
