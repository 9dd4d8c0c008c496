"""The two forms in which production code sees a simulated connection.

`SimStream` is what Tornado's `IOStream` is to the nodes, `SimTransport` what asyncio's transport
is to the client. Both add nothing to the fault model of `network.py`.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from tornado.iostream import StreamClosedError

if TYPE_CHECKING:
    from raftq.testing.sim.network import End


class SimStream:
    """A connection's end, read and written like Tornado's; implements `peers.network.Stream`."""

    def __init__(self, end: "End") -> None:
        self._end = end
        end.receiver = self
        self._buffer = bytearray()
        self._reading: tuple[asyncio.Future[bytes], int, bool] | None = None
        self._is_ended = False

    def set_nodelay(self, value: bool) -> None:
        """Do nothing: nothing here waits to fill a packet."""

    def read_bytes(self, num_bytes: int, partial: bool = False) -> "asyncio.Future[bytes]":
        """Read; one reader at a time."""
        future: asyncio.Future[bytes] = self._end.process.create_future()
        assert self._reading is None or self._reading[0].done(), "one read at a time"
        self._reading = (future, num_bytes, partial)
        self._answer()
        return future

    def write(self, data: bytes) -> "asyncio.Future[None]":
        """Send."""
        if self.closed():
            raise StreamClosedError
        return self._end.send(bytes(data))

    def close(self) -> None:
        """End the connection."""
        self._end.close()
        self._is_ended = True
        self._answer()

    def closed(self) -> bool:
        """Tell whether the connection is over."""
        return self._is_ended or self._end.is_closed

    def on_data(self, data: bytes) -> None:
        """Called by the network."""
        self._buffer += data
        self._answer()

    def on_end(self) -> None:
        """Called by the network."""
        self._is_ended = True
        self._answer()

    def _answer(self) -> None:
        if self._reading is None or self._reading[0].done():
            return
        future, size, partial = self._reading
        if len(self._buffer) >= size or (partial and self._buffer):
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._reading = None
            future.set_result(data)
        elif self._is_ended:
            self._reading = None
            future.set_exception(StreamClosedError())


class SimTransport(asyncio.Transport):
    """A connection's end, driven like asyncio's transports."""

    def __init__(self, end: "End", protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._end = end
        end.receiver = self
        self._protocol = protocol
        self._is_over = False

    def write(self, data: Any) -> None:
        """Send."""
        if not self._is_over:
            self._end.send(bytes(data))

    def abort(self) -> None:
        """End the connection at once."""
        self._end.close()
        if not self._is_over:
            self._is_over = True
            self._end.process.call_soon(self._protocol.connection_lost, None)

    def close(self) -> None:
        """End the connection; nothing is buffered here."""
        self.abort()

    def is_closing(self) -> bool:
        """Tell whether the connection is over."""
        return self._is_over

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return nothing: there is no socket."""
        return default

    def on_data(self, data: bytes) -> None:
        """Called by the network."""
        if not self._is_over:
            self._protocol.data_received(data)

    def on_end(self) -> None:
        """Called by the network."""
        if not self._is_over:
            self._is_over = True
            self._protocol.connection_lost(None)
