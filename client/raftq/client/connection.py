"""One connection to one node: hello, many calls at once, typed answers, notifications.

Calls of one turn of the event loop leave in one write. When the connection ends, every call that
is still open ends with `ConnectionLost`. A node that hangs while calls are open is asked for a sign
of life, and the connection ends if there is none: a long poll must not wait for a dead node.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

import msgpack
import msgspec

from raftq.client.awaited import Group, Lone, item_at
from raftq.client.credentials import Credentials
from raftq.protocol import codec, limits
from raftq.protocol.calls import (
    AddMember,
    Call,
    ClusterCall,
    LeaseCall,
    QueueCall,
    QueuesCall,
    RemoveMember,
    ResultCall,
    SchedulesCall,
    SettingsCall,
    TaskCall,
    TasksCall,
    TransferLeadership,
    WhyCall,
)
from raftq.protocol.commands import Ack, Enqueue, EnqueueParts, Extend, Fail, Requeue
from raftq.protocol.control import (
    Cancel,
    Confirm,
    DeleteSchedule,
    Edit,
    SetLimit,
    SetQueue,
    SetQuota,
    SetSchedule,
    Sweep,
)
from raftq.protocol.errors import (
    ConnectionLost,
    InternalError,
    InvalidRequest,
    NoLeader,
    PayloadTooLarge,
)
from raftq.protocol.replies import Done, Enqueued, HelloReply, Leased, Reply, Settled, Swept
from raftq.protocol.statuses import (
    ClusterStatus,
    QueueList,
    QueueStatus,
    ScheduleList,
    Settings,
    TaskPage,
    TaskStatus,
    Why,
)
from raftq.protocol.versions import NATIVE_PROTOCOL_VERSION

PATIENCE_SECONDS: Final = 0.75
"""How long a node may be silent when an answer is due."""
_WATCH_SECONDS: Final = 0.5
_CALL_BYTES_MAX: Final = limits.REQUEST_BYTES_MAX - limits.KIB
"""A node ends the connection at a request over its limit; the rest is for what is before a call."""
REPLIES: Final[dict[type[Call], type[Reply]]] = {
    Enqueue: Enqueued,
    LeaseCall: Leased,
    Ack: Settled,
    Fail: Settled,
    Requeue: Settled,
    Extend: Settled,
    EnqueueParts: Enqueued,
    Cancel: Settled,
    Confirm: Settled,
    Edit: Settled,
    Sweep: Swept,
    SetQueue: Done,
    SetLimit: Done,
    SetQuota: Done,
    SetSchedule: Done,
    DeleteSchedule: Done,
    TaskCall: TaskStatus,
    ResultCall: TaskStatus,
    TasksCall: TaskPage,
    WhyCall: Why,
    QueueCall: QueueStatus,
    QueuesCall: QueueList,
    SettingsCall: Settings,
    SchedulesCall: ScheduleList,
    ClusterCall: ClusterStatus,
    AddMember: ClusterStatus,
    RemoveMember: ClusterStatus,
    TransferLeadership: ClusterStatus,
}
"""What answers each call."""


class Connection(asyncio.Protocol):
    """A connected node. Use `open_connection`.

    Args:
        on_notification: Called with (method, params) of each push.
        on_lost: Called once when the connection has ended.
        token: Lets this client in, if the node asks for one.
    """

    def __init__(
        self,
        on_notification: Callable[[str, list[object]], None],
        on_lost: Callable[[], None],
        token: str | None = None,
    ) -> None:
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._on_notification = on_notification
        self._on_lost = on_lost
        self._unpacker = codec.new_reply_unpacker()
        self._transport: asyncio.Transport | None = None
        self._outbox: list[bytes] = []
        self._flush_is_scheduled = False
        self._last_id = 0
        self._open: dict[int, Lone | Group] = {}
        self._groups: dict[bytes, Group] = {}
        """Calls of this turn of the loop by what must be the same to share a request. Not by their
        timeouts: calls that waited for the connection together have a little less left, each in
        its own way, and tasks of one queue must keep their order."""
        self._is_lost = False
        self._name = ""
        self._heard_at = self._loop.time()
        self._asked_at: float | None = None
        self._watch: asyncio.TimerHandle | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the connection has ended."""
        return self._is_lost

    async def hello(self, name: str) -> HelloReply:
        """Introduce this client; must be the first call."""
        self._name = name
        future: asyncio.Future[object] = self._loop.create_future()
        self._send(Lone(HelloReply, future), self._greeting())
        return cast(HelloReply, await future)

    def call(self, call: Call, timeout_ms: int) -> "asyncio.Future[object]":
        """Send a call; the future gets its reply.

        The future gets `ConnectionLost` if the connection ends first.

        Raises:
            NoLeader: The connection has ended; nothing was sent.
            InvalidRequest, PayloadTooLarge: The call cannot be sent at all.
        """
        if self._is_lost:
            raise NoLeader("the connection is closed")
        raw = _call_bytes(call)
        future: asyncio.Future[object] = self._loop.create_future()
        at = item_at(call, raw)
        if at is None:
            if isinstance(call, Enqueue | EnqueueParts):
                self._send_groups()  # Tasks keep the order in which they were given.
            frame = _frame(self._last_id + 1, timeout_ms, call, raw)
            self._send(Lone(REPLIES[type(call)], future), frame)
        else:
            self._share(type(call), raw[:at], raw[at + 1 :], timeout_ms, future)
        return future

    def _share(
        self,
        kind: type[Call],
        prefix: bytes,
        item: bytes,
        timeout_ms: int,
        future: "asyncio.Future[object]",
    ) -> None:
        group = self._groups.get(prefix)
        if group is None or group.is_full:
            if group is not None:
                self._send_group(group)
            group = self._groups[prefix] = Group(kind, prefix)
            self._schedule_flush()
        group.add(item, future, timeout_ms)

    def _send_groups(self) -> None:
        groups, self._groups = self._groups, {}
        for group in groups.values():
            self._send_group(group)

    def _send_group(self, group: Group) -> None:
        raw = group.raw()
        if raw:
            method = codec.METHOD_OF[group.kind]
            self._send(group, codec.request_of(self._last_id + 1, method, group.timeout_ms, raw))

    def forget(self, future: "asyncio.Future[object]") -> None:
        """Drop a call whose answer nobody waits for any more."""
        for call_id, awaited in self._open.items():
            if awaited.forget(future):
                del self._open[call_id]
                return

    def _greeting(self) -> bytes:
        params: list[object] = [NATIVE_PROTOCOL_VERSION, self._name]
        if self._token is not None:
            params.append(self._token)
        return codec.encode([0, self._last_id + 1, "hello", params])

    def _send(self, awaited: Lone | Group, frame: bytes) -> None:
        """Send a request with the next id, and expect its answer."""
        self._last_id += 1
        self._open[self._last_id] = awaited
        self._write(frame)
        if self._watch is None:
            self._heard_at = self._loop.time()
            self._watch = self._loop.call_later(_WATCH_SECONDS, self._look)

    def _look(self) -> None:
        """While calls are open: ask a silent node for a sign of life, or give it up."""
        self._watch = None
        if self._is_lost or not self._open:
            self._asked_at = None
            return
        now = self._loop.time()
        if self._asked_at is not None and self._heard_at > self._asked_at:
            self._asked_at = None
        if self._asked_at is None:
            if now - self._heard_at >= PATIENCE_SECONDS:
                self._asked_at = now
                self._write(self._greeting())
                self._last_id += 1  # Nobody waits for the answer; that it comes is enough.
        elif now - self._asked_at >= PATIENCE_SECONDS:
            self._end("the node is silent")
            self.close()
            return
        self._watch = self._loop.call_later(_WATCH_SECONDS, self._look)

    def close(self) -> None:
        """Close the connection."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
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
        self._heard_at = self._loop.time()
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
                for group in self._open.pop(call_id).answer(error, result):
                    self._send_group(group)
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
        self._schedule_flush()
        self._outbox.append(data)

    def _schedule_flush(self) -> None:
        if not self._flush_is_scheduled:
            self._flush_is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._send_groups()
        self._flush_is_scheduled = False
        data = b"".join(self._outbox)
        self._outbox.clear()
        if self._transport is not None and not self._is_lost:
            self._transport.write(data)

    def _end(self, text: str) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        awaited = [*self._open.values(), *self._groups.values()]
        self._open, self._groups = {}, {}
        for each in awaited:
            each.fail(text)
        self._on_lost()


def request_frame(call_id: int, timeout_ms: int, call: Call) -> bytes:
    """Return the bytes of a request.

    Raises:
        PayloadTooLarge: It is over a limit.
        InvalidRequest: A value is out of range, of the wrong type or has no form on the wire.
    """
    return _frame(call_id, timeout_ms, call, _call_bytes(call))


def _call_bytes(call: Call) -> bytes:
    try:
        return codec.checked_bytes(call)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise InvalidRequest(f"the call cannot be sent: {error}") from None


def _frame(call_id: int, timeout_ms: int, call: Call, raw: bytes) -> bytes:
    frame = codec.request_of(call_id, codec.METHOD_OF[type(call)], timeout_ms, raw)
    if len(frame) > limits.REQUEST_BYTES_MAX:
        # A node would end the connection without reading the call.
        raise PayloadTooLarge(
            f"the call has {len(frame)} bytes; at most {limits.REQUEST_BYTES_MAX} are allowed: "
            "send fewer items at a time, or keep large data elsewhere and send a reference",
            bytes_max=limits.REQUEST_BYTES_MAX,
        )
    return frame


async def open_connection(
    address: tuple[str, int],
    name: str,
    timeout: float,
    on_notification: Callable[[str, list[object]], None],
    on_lost: Callable[[], None],
    credentials: Credentials | None = None,
) -> tuple[Connection, HelloReply]:
    """Connect to a node and introduce this client.

    Raises:
        NoLeader: The node cannot be reached, or did not answer in time; nothing happened.
        Forbidden: The node does not know this client's token.
        RaftqError: The node refused this client.
    """
    credentials = credentials or Credentials()
    loop = asyncio.get_running_loop()
    host, port = address
    connection: Connection | None = None
    try:
        async with asyncio.timeout(timeout):
            # Names are resolved here, each time: a node that comes back may have another address.
            # Of several addresses each is tried, one after the other; with asyncio's happy
            # eyeballs, a cancelled attempt can leave its socket open.
            _, connection = await loop.create_connection(
                lambda: Connection(on_notification, on_lost, credentials.token),
                host,
                port,
                **credentials.connecting,
            )
            return connection, await connection.hello(name)
    except (OSError, TimeoutError, ConnectionLost, InternalError) as error:
        if connection is not None:
            connection.close()
        text = str(error) or "no answer"
        if connection is not None and credentials.tls is None and isinstance(error, TimeoutError):
            text += ", though it took the connection; does it expect TLS (tls_ca)?"
        raise NoLeader(f"cannot reach {host}:{port}: {text}") from None
    except BaseException:
        if connection is not None:
            connection.close()
        raise
