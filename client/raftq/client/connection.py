"""One connection to one node: hello, many calls at once, typed answers, notifications.

Calls of one turn of the event loop leave in one write. When the connection ends, every call that
is still open ends with `ConnectionLost`.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

import msgpack
import msgspec

from raftq.protocol import codec
from raftq.protocol.errors import ConnectionLost, InternalError, NoLeader
from raftq.protocol.messages import (
    Ack,
    Call,
    ClusterCall,
    ClusterStatus,
    Enqueue,
    Enqueued,
    Extend,
    Fail,
    HelloReply,
    LeaseCall,
    Leased,
    QueueCall,
    QueueStatus,
    Reply,
    Requeue,
    Settled,
    TaskCall,
    TaskStatus,
)
from raftq.protocol.versions import NATIVE_PROTOCOL_VERSION

_REPLIES: Final[dict[type[Call], type[Reply]]] = {
    Enqueue: Enqueued,
    LeaseCall: Leased,
    Ack: Settled,
    Fail: Settled,
    Requeue: Settled,
    Extend: Settled,
    TaskCall: TaskStatus,
    QueueCall: QueueStatus,
    ClusterCall: ClusterStatus,
}


class Connection(asyncio.Protocol):
    """A connected node. Use `open_connection`.

    Args:
        on_notification: Called with (method, params) of each push.
        on_lost: Called once when the connection has ended.
    """

    def __init__(
        self,
        on_notification: Callable[[str, list[object]], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_notification = on_notification
        self._on_lost = on_lost
        self._unpacker = codec.new_reply_unpacker()
        self._transport: asyncio.Transport | None = None
        self._outbox: list[bytes] = []
        self._last_id = 0
        self._open: dict[int, tuple[type[Reply] | type[HelloReply], asyncio.Future[object]]] = {}
        self._is_lost = False

    @property
    def is_lost(self) -> bool:
        """Whether the connection has ended."""
        return self._is_lost

    @property
    def is_idle(self) -> bool:
        """Whether no call waits for its answer."""
        return not self._open

    async def hello(self, name: str) -> HelloReply:
        """Introduce this client; must be the first call."""
        future = self._expect(HelloReply)
        params = [NATIVE_PROTOCOL_VERSION, name]
        self._write(codec.encode([0, self._last_id, "hello", params]))
        return cast(HelloReply, await future)

    def call(self, call: Call, timeout_ms: int) -> "asyncio.Future[object]":
        """Send a call; the future gets its reply.

        Raises:
            ConnectionLost: The connection has ended; nothing was sent. Also set on the future
                when it ends later.
        """
        if self._is_lost:
            raise ConnectionLost("the connection is closed")
        future = self._expect(_REPLIES[type(call)])
        self._write(codec.request_bytes(self._last_id, timeout_ms, call))
        return future

    def _expect(self, kind: type[Reply] | type[HelloReply]) -> "asyncio.Future[object]":
        self._last_id += 1
        future: asyncio.Future[object] = self._loop.create_future()
        self._open[self._last_id] = (kind, future)
        return future

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio, which sets TCP_NODELAY itself."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio: end every open call."""
        self._end("the connection to the node broke before the answer came")

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: cut the stream into messages."""
        try:
            self._unpacker.feed(data)
            for message in self._unpacker:
                self._on_message(message)
        except (ValueError, TypeError, msgpack.UnpackException, msgpack.BufferFull) as error:
            self._end(f"the server does not speak the native protocol: {error}")
            self.close()

    def _on_message(self, message: object) -> None:
        if not isinstance(message, list):
            raise TypeError("a message is no array")
        fields = cast("list[object]", message)
        match fields:
            case [1, int(call_id), error, result] if call_id in self._open:
                kind, future = self._open.pop(call_id)
                if not future.done():
                    _resolve(future, kind, error, result)
            case [1, None, error, _]:
                raise ValueError(codec.error_from_wire(error).message)
            case [1, int(), _, _]:
                pass  # The answer to a call that nobody waits for any more.
            case [2, str(method), params] if isinstance(params, list):
                self._on_notification(method, cast("list[object]", params))
            case _:
                raise ValueError("a message is neither a response nor a notification")

    # ------------------------------------------------------------ writing and ending

    def _write(self, data: bytes) -> None:
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(data)

    def _flush(self) -> None:
        data = b"".join(self._outbox)
        self._outbox.clear()
        if self._transport is not None and not self._is_lost:
            self._transport.write(data)

    def _end(self, text: str) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        open_calls, self._open = self._open, {}
        for _, future in open_calls.values():
            if not future.done():
                future.set_exception(ConnectionLost(text))
        self._on_lost()


def _resolve(
    future: "asyncio.Future[object]",
    kind: type[Reply] | type[HelloReply],
    error: object,
    result: object,
) -> None:
    if error is not None:
        future.set_exception(codec.error_from_wire(error))
        return
    try:
        future.set_result(msgspec.convert(result, kind, builtin_types=(bytes,)))
    except msgspec.ValidationError as problem:
        future.set_exception(InternalError(f"the server's answer is malformed: {problem}"))


async def open_connection(
    address: tuple[str, int],
    name: str,
    timeout: float,
    on_notification: Callable[[str, list[object]], None],
    on_lost: Callable[[], None],
) -> tuple[Connection, HelloReply]:
    """Connect to a node and introduce this client.

    Raises:
        NoLeader: The node cannot be reached, or did not answer in time; nothing happened.
        RaftqError: The node refused this client.
    """
    loop = asyncio.get_running_loop()
    host, port = address
    connection: Connection | None = None
    try:
        async with asyncio.timeout(timeout):
            _, connection = await loop.create_connection(
                lambda: Connection(on_notification, on_lost), host, port
            )
            return connection, await connection.hello(name)
    except (OSError, TimeoutError, ConnectionLost) as error:
        if connection is not None:
            connection.close()
        text = str(error) or "no answer"
        raise NoLeader(f"cannot reach {host}:{port}: {text}") from None
    except BaseException:
        if connection is not None:
            connection.close()
        raise
