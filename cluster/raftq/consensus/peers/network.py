"""The network seam: byte streams between processes, in production Tornado's.

Owns opening and accepting connections. Does not own what is said on them (`tcp_links.py`,
`raftq.server.native`). The simulator is the other implementation; it can break a connection in
every way that TCP can.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol

from tornado.iostream import IOStream
from tornado.tcpserver import TCPServer

from raftq.consensus.peers.dead_links import end_when_dead
from raftq.consensus.peers.racing import connect


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
    """The operating system's TCP, through Tornado; with TLS after `renew`."""

    def __init__(self) -> None:
        self._accepting: ssl.SSLContext | None = None
        self._dialling: ssl.SSLContext | None = None
        self._server: _Server | None = None

    def renew(self, accepting: ssl.SSLContext, dialling: ssl.SSLContext) -> None:
        """Use TLS with these credentials for connections to come; those that are open stay."""
        self._accepting, self._dialling = accepting, dialling
        if self._server is not None:
            self._server.ssl_options = accepting

    async def dial(self, host: str, port: int) -> Stream:
        """Resolve and connect; see `Network`. With TLS, the handshake is done afterwards."""
        connection = await connect(host, port)
        end_when_dead(connection)
        stream = IOStream(connection)
        if self._dialling is None:
            return stream
        # Tornado closes the socket if this is cancelled.
        return await stream.start_tls(server_side=False, ssl_options=self._dialling)

    def listen(self, host: str, port: int, serve: Serve) -> None:
        """Bind and accept. With TLS, the handshake is a part of the first read."""
        self._server = _Server(serve, ssl_options=self._accepting)
        self._server.listen(port, host)

    def stop_listening(self) -> None:
        """Accept no more; what was accepted goes on."""
        if self._server is not None:
            self._server.stop()


class _Server(TCPServer):
    def __init__(self, serve: Serve, ssl_options: ssl.SSLContext | None) -> None:
        super().__init__(ssl_options=ssl_options)
        self._serve = serve

    async def handle_stream(self, stream: IOStream, address: object) -> None:
        if stream.socket is not None:  # It is None once the stream is closed.
            end_when_dead(stream.socket)
        await self._serve(stream)
