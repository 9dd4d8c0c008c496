"""One client's connection: its calls, their answers, its silence, its end.

It carries many calls at once; answers come as they are ready, and the answers of one turn of the
loop leave in one write. What is malformed is answered with an error if its id can be read, and ends
the connection if the stream itself can no longer be trusted.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec
from msgspec import structs
from tornado.iostream import StreamClosedError

from raftq.consensus.peers.network import Stream
from raftq.protocol import codec, limits
from raftq.protocol.calls import Call, LeaseCall
from raftq.protocol.errors import (
    Forbidden,
    InternalError,
    InvalidRequest,
    LeadershipLost,
    NoLeader,
    NotLeader,
    RaftqError,
)
from raftq.protocol.events import Subscribed
from raftq.protocol.replies import CommandReply, HelloReply, Leased, Reply
from raftq.protocol.requests import Request, RequestReader, call_of, read_request
from raftq.server.calls import accept, wait_ms_of
from raftq.server.events.native import METHODS as EVENT_METHODS
from raftq.server.events.native import NativeSubscriptions
from raftq.server.gate import Gate
from raftq.server.hello import parse_hello
from raftq.server.metrics import Metrics
from raftq.server.service import Service
from raftq.server.tokens import Grant

_log = logging.getLogger(__name__)

_READ_BYTES: Final = 256 * limits.KIB
_REQUEST, _RESPONSE, _NOTIFICATION = 0, 1, 2
_CLOSE_SECONDS: Final = 1.0
"""How long a closing connection may take to hear its last answer."""
_HELLO: Final = codec.encode("hello")
_Begun: TypeAlias = "asyncio.Future[Reply] | asyncio.Future[CommandReply] | asyncio.Future[Leased]"


@dataclass(frozen=True, slots=True)
class NativePatience:
    """How long a silent client is borne, in seconds."""

    hello: float = limits.HELLO_TIMEOUT_MS / 1_000
    idle: float = limits.NATIVE_IDLE_TIMEOUT_MS / 1_000


@dataclass(frozen=True, slots=True)
class NativeParts:
    """What the connections of a node share.

    Args:
        service: Executes calls.
        greet: Returns the answer to a hello.
        metrics: Counts calls.
        gate: Lets clients in.
        patience: With silent clients.
    """

    service: Service
    greet: Callable[[], HelloReply]
    metrics: Metrics
    gate: Gate
    patience: NativePatience


class NativeConnection:
    """One client's connection.

    Args:
        stream: To the client.
        host: The client's address, which refusals are counted by.
        parts: What it shares with the other connections.
    """

    def __init__(self, stream: Stream, host: str, parts: NativeParts) -> None:
        self._stream = stream
        self._host = host
        self._parts = parts
        self._service = parts.service
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader()
        self._bytes_fed = 0
        self._outbox: list[bytes] = []
        self.unsent_bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._said_hello = False
        self._grant: Grant | None = None
        self._refused_hello: int | None = None
        """The id of a hello that was refused for its token."""
        self.running: dict[int, _Begun] = {}
        self._subscriptions = NativeSubscriptions(
            parts.service.events, self, lambda: parts.gate.stands(self._grant)
        )
        self._is_over = False
        self._active_at = self._loop.time()
        self._watch: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ reading

    async def serve(self) -> None:
        """Read calls until the connection ends."""
        self._stream.set_nodelay(True)
        self._watch_over()
        try:
            while True:
                data = await self._stream.read_bytes(_READ_BYTES, partial=True)
                self._active_at = self._loop.time()
                self._feed(data)
                await self._room.wait()
        except StreamClosedError:
            pass
        except RaftqError as error:
            await self._refuse_stream(error)
        except Exception:
            _log.exception("native_connection_failed")
        finally:
            self._is_over = True
            if self._watch is not None:
                self._watch.cancel()
            for future in list(self.running.values()):
                future.cancel()
            self._subscriptions.close()
            self._stream.close()

    def _watch_over(self) -> None:
        """Close the connection when its client was silent, or took no answers, for too long.

        A timer and not a deadline of the read: whether silence is allowed changes during a read,
        because a client that waits for an answer may be silent.
        """
        patience = self._parts.patience
        seconds = patience.idle if self._said_hello else patience.hello
        now = self._loop.time()
        if self.running and not self.unsent_bytes:
            self._active_at = now
        due = self._active_at + seconds
        if due <= now:
            self._stream.close()
            self._room.set()
        else:
            pause = min(due - now, patience.hello)
            self._watch = self._loop.call_later(pause, self._watch_over)

    def _feed(self, data: bytes) -> None:
        """Cut the stream into messages and handle each.

        Raises:
            InvalidRequest, PayloadTooLarge: The stream cannot be understood any further.
        """
        self._bytes_fed += len(data)
        if not self._said_hello and self._bytes_fed > limits.HELLO_BYTES_MAX:
            # A stranger must not make this node keep 16 MiB.
            raise InvalidRequest(f"a hello has at most {limits.HELLO_BYTES_MAX} bytes")
        for raw in self._reader.feed(data):
            self._handle(read_request(raw))

    def _handle(self, request: Request) -> None:
        call_id, method = request.call_id, bytes(request.method)
        if method == _HELLO:
            self._hello(call_id, bytes(request.params))
        elif not self._said_hello:
            raise InvalidRequest("the first request on a connection must be hello")
        elif call_id in self.running:
            raise InvalidRequest(f"id {call_id} is in use by a call that is not answered yet")
        elif method in EVENT_METHODS:
            self._subscriptions.handle(call_id, method, request.params)
        else:
            self._start(call_id, method, request.params)

    def _hello(self, call_id: int, params: bytes) -> None:
        token = parse_hello(params).token
        try:
            self._grant = self._parts.gate.admit(token, "native", self._host)
        except Forbidden:
            self._refused_hello = call_id
            raise
        self._said_hello = True
        self.send(codec.encode([_RESPONSE, call_id, None, self._parts.greet()]))
        if self._service.is_shutting_down:
            self.notify("shutting_down", [])

    # ------------------------------------------------------------ executing

    def _start(self, call_id: int, method: bytes, params: msgspec.Raw) -> None:
        """Begin a call; commands and long polls on the leader need no task of their own."""
        try:
            name, timeout_ms, call = call_of(method, params)
        except RaftqError as error:
            self.answer_error(call_id, "unknown", error, self._loop.time())
            return
        begun_at = self._loop.time()
        deadline = begun_at + (timeout_ms + wait_ms_of(call)) / 1_000
        try:
            begun = self._service.begin(call, deadline)
        except (NotLeader, NoLeader):
            begun = None
        except RaftqError as error:
            self.answer_error(call_id, name, error, begun_at)
            return
        if begun is None:
            self._start_task(call_id, name, call, deadline, begun_at)
            return
        self._track(call_id, begun)
        begun.add_done_callback(
            lambda done: self._on_begun(call_id, name, call, deadline, begun_at, done)
        )

    def _on_begun(
        self,
        call_id: int,
        name: str,
        call: Call,
        deadline: float,
        begun_at: float,
        done: "asyncio.Future[CommandReply] | asyncio.Future[Leased]",
    ) -> None:
        self._untrack(call_id)
        if done.cancelled():
            return
        error = done.exception()
        if self._is_over:  # Tried again, it would be granted tasks that nobody hears of.
            return
        if isinstance(error, NotLeader | NoLeader | LeadershipLost):
            if isinstance(call, LeaseCall):
                waited_ms = int((self._loop.time() - begun_at) * 1_000)
                call = structs.replace(call, wait_ms=max(call.wait_ms - waited_ms, 0))
            self._start_task(
                call_id, name, call, deadline, begun_at, isinstance(error, LeadershipLost)
            )
        elif error is not None:
            self.answer_error(call_id, name, error, begun_at)
        else:
            try:
                self.answer(call_id, name, accept(done.result()), begun_at)
            except RaftqError as refusal:
                self.answer_error(call_id, name, refusal, begun_at)

    def _start_task(
        self,
        call_id: int,
        name: str,
        call: Call,
        deadline: float,
        begun_at: float,
        may_have_happened: bool = False,
    ) -> None:
        task = asyncio.ensure_future(
            self._service.execute(call, deadline, may_have_happened=may_have_happened)
        )
        self._track(call_id, task)

        def on_done(done: "asyncio.Future[Reply]") -> None:
            self._untrack(call_id)
            if done.cancelled():
                return
            error = done.exception()
            if error is None:
                self.answer(call_id, name, done.result(), begun_at)
            else:
                self.answer_error(call_id, name, error, begun_at)

        task.add_done_callback(on_done)

    def _track(self, call_id: int, future: _Begun) -> None:
        self.running[call_id] = future
        self._look_for_room()

    def _untrack(self, call_id: int) -> None:
        self.running.pop(call_id, None)
        self._active_at = self._loop.time()
        self._look_for_room()

    def _look_for_room(self) -> None:
        """Read on only while few calls run and the client takes its answers."""
        has_calls = len(self.running) < limits.NATIVE_CALLS_IN_FLIGHT_MAX
        if has_calls and self.unsent_bytes <= limits.REPLY_BYTES_MAX:
            self._room.set()
        else:
            self._room.clear()

    # ------------------------------------------------------------ writing

    def answer(self, call_id: int, name: str, reply: Reply | Subscribed, begun_at: float) -> None:
        """Answer a call."""
        self._parts.metrics.count_call(name, "ok", self._loop.time() - begun_at)
        self.send(codec.encode([_RESPONSE, call_id, None, reply]))

    def answer_error(self, call_id: int, name: str, error: BaseException, begun_at: float) -> None:
        """Answer a call that failed."""
        if not isinstance(error, RaftqError):
            _log.error("call_failed", exc_info=error, extra={"method": name})
            error = InternalError("this is a bug in raftq; the node's log has the details")
        self._parts.metrics.count_call(name, error.code, self._loop.time() - begun_at)
        self.send(codec.encode([_RESPONSE, call_id, codec.error_to_wire(error), None]))

    def notify(self, method: str, params: list[object]) -> None:
        """Push a notification to a client that said hello."""
        if self._said_hello:
            self.send(codec.encode([_NOTIFICATION, method, params]))

    def send(self, data: bytes) -> None:
        """Send whole messages, with all others of this turn of the loop."""
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(data)

    def _flush(self) -> None:
        data = b"".join(self._outbox)
        self._outbox.clear()
        if not data or self._stream.closed():
            return
        self.unsent_bytes += len(data)
        self._look_for_room()
        try:
            written = self._stream.write(data)
        except StreamClosedError:
            return
        written.add_done_callback(lambda _: self._on_written(len(data)))

    def _on_written(self, size: int) -> None:
        self.unsent_bytes -= size
        self._active_at = self._loop.time()
        self._look_for_room()
        self._subscriptions.on_written()

    async def _refuse_stream(self, error: RaftqError) -> None:
        """Say why, as an answer to the hello or to no call in particular, and close."""
        self._parts.metrics.count_call("unknown", error.code, 0.0)
        call_id = self._refused_hello
        self.send(codec.encode([_RESPONSE, call_id, codec.error_to_wire(error), None]))
        self._flush()
        # Closing with unread bytes resets the connection, and the client would not hear why.
        with contextlib.suppress(StreamClosedError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while True:
                    await self._stream.read_bytes(_READ_BYTES, partial=True)

    def end_if_revoked(self) -> None:
        """Close the connection at once if its token does not count any more."""
        if self._said_hello and not self._parts.gate.stands(self._grant):
            self._stream.close()
            self._room.set()

    async def close(self) -> None:
        """Let the last answers leave and close the connection."""
        self._flush()
        with contextlib.suppress(StreamClosedError):
            # Not a timeout, which would cancel the future: Tornado reports that as an error.
            await asyncio.wait({self._stream.write(b"")}, timeout=_CLOSE_SECONDS)
        self._stream.close()
