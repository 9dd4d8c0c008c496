"""The network seam: byte streams between processes, in production Tornado's.

Owns opening and accepting connections. Does not own what is said on them (`tcp_links.py`,
`raftq.server.native`). The simulator is the other implementation; it can break a connection in
every way that TCP can.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

from tornado.iostream import IOStream
from tornado.tcpserver import TCPServer


class Stream(Protocol):
    """One end of a connection. Reading and writing raise Tornado's `StreamClosedError`."""

    def set_nodelay(self, value: bool) -> None: ...
    def read_bytes(self, num_bytes: int, partial: bool = False) -> Awaitable[bytes]:
        """Read exactly so many bytes, or at least one and at most so many if `partial`."""
        ...

    def write(self, data: bytes) -> "asyncio.Future[None]":
        """Queue bytes; the future is done once the operating system has taken them."""
        ...

    def close(self) -> None: ...
    def closed(self) -> bool: ...


Serve = Callable[[Stream], Awaitable[None]]
"""Serves one accepted connection to its end."""


class Network(Protocol):
    """Opens and accepts connections for one node."""

    async def dial(self, host: str, port: int) -> Stream:
        """Resolve and connect; nothing is left open when this is cancelled.

        Raises:
            OSError, StreamClosedError: There is no such host, or it refuses.
        """
        ...

    def listen(self, host: str, port: int, serve: Serve) -> None:
        """Accept connections from now on.

        Raises:
            OSError: The address cannot be bound.
        """
        ...

    def stop_listening(self) -> None: ...


class TornadoNetwork:
    """The operating system's TCP, through Tornado."""

    def __init__(self) -> None:
        self._server: _Server | None = None

    async def dial(self, host: str, port: int) -> Stream:
        """Resolve at each dial: a container that comes back may have another address."""
        loop = asyncio.get_running_loop()
        resolved = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = resolved[0]
        stream = IOStream(socket.socket(family, kind, protocol))
        try:
            return await stream.connect(address)
        except BaseException:
            stream.close()
            raise

    def listen(self, host: str, port: int, serve: Serve) -> None:
        """Bind and accept."""
        self._server = _Server(serve)
        self._server.listen(port, host)

    def stop_listening(self) -> None:
        """Accept no more; what was accepted goes on."""
        if self._server is not None:
            self._server.stop()


class _Server(TCPServer):
    def __init__(self, serve: Serve) -> None:
        super().__init__()
        self._serve = serve

    async def handle_stream(self, stream: IOStream, address: object) -> None:
        await self._serve(stream)
