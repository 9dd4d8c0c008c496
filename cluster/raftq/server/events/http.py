"""Events over HTTP: `GET /v1/events` as server-sent events, `GET /v1/events/ws` as a WebSocket.

Both are a subscription of `hub` and take the same query. Errors before the first event are problem
documents as everywhere; later ones are told in the stream, which then ends.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from tornado.iostream import StreamClosedError
from tornado.web import Finish
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from raftq.protocol import limits
from raftq.protocol.errors import Forbidden, InvalidRequest, RaftqError
from raftq.protocol.events import Position, TaskEvent
from raftq.protocol.fields import TaskState
from raftq.server import problems
from raftq.server.control.filters import filter_of_query
from raftq.server.events.hub import Batch, Subscription
from raftq.server.events.ring import Wanted
from raftq.server.http_handler import Handler, path_task_id

QUERY: Final = ("queue", "state", "task_id", "position", "timeout_ms")
"""What may stand in the query string."""
_OF_TASKS: Final = ("queue", "state")
_RETRY_MS: Final = 1_000
"""How soon a browser shall come back when the stream has ended."""
_SENT_BYTES_MAX: Final = 1_024
"""A WebSocket client has nothing to say; this leaves room for keep-alives of its library."""
_CLOSE_CODES: Final = 4_000
"""A WebSocket is closed with this plus the status that the error has over HTTP."""
_GONE: Final = (StreamClosedError, WebSocketClosedError)


class EventAnswer(Struct, frozen=True):
    """A task came into a state: event `number`, from 0, of the log entry `index`."""

    index: int
    number: int
    at_ms: int
    task_id: UUID
    queue: str
    state: TaskState


class EventsMessage(Struct, frozen=True):
    """A message of the WebSocket; `position` is what to give to go on behind it."""

    events: list[EventAnswer]
    position: str


def event_answer(event: TaskEvent) -> EventAnswer:
    """Return an event as JSON has it."""
    return EventAnswer(
        event.index,
        event.number,
        event.at_ms,
        UUID(bytes=event.task_id),
        event.queue,
        event.state,
    )


def _wanted(handler: Handler) -> Wanted:
    tasks = filter_of_query({name: handler.get_query_arguments(name) for name in _OF_TASKS})
    task_id = handler.get_query_argument("task_id", None)
    return Wanted(
        tasks.queue,
        frozenset(tasks.states),
        None if task_id is None else path_task_id(task_id),
    )


def _position(handler: Handler) -> Position | None:
    """Return where a subscriber goes on; a browser that comes back says so in a header."""
    text = handler.request.headers.get("Last-Event-ID") or handler.get_query_argument(
        "position", ""
    )
    return Position.parse(text) if text else None


async def _subscribed(handler: Handler) -> Subscription:
    """Return the subscription that a request asks for.

    Raises:
        RaftqError: It is refused.
    """
    wanted, position = _wanted(handler), _position(handler)
    deadline = asyncio.get_running_loop().time() + handler.query_timeout_ms() / 1_000
    gate = handler.context.gate
    grant = gate.granted(handler.request.headers.get("Authorization"))
    subscription = await handler.context.service.events.subscribe(
        wanted, position, deadline, lambda: gate.stands(grant)
    )
    if handler.is_client_gone:
        subscription.close()
        handler.count("client_gone")
        raise Finish
    handler.count("ok")
    return subscription


async def _taken(sent: "asyncio.Future[None]", patience: float, subscription: Subscription) -> None:
    """Wait until the client has taken what was sent.

    Raises:
        EventsLost: It does not.
        StreamClosedError, WebSocketClosedError: It is gone.
    """
    # Not a timeout, which would cancel the future: Tornado reports that as an error.
    await asyncio.wait({sent}, timeout=patience)
    if not sent.done():
        sent.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise subscription.too_slow(patience)
    sent.result()


def _problem(error: RaftqError) -> bytes:
    return msgspec.json.encode(problems.problem(error)[2])


class EventStreamHandler(Handler):
    """GET /v1/events."""

    op = "events"
    parameters = frozenset(QUERY)
    _subscription: Subscription | None = None

    def on_connection_close(self) -> None:
        """The client is gone."""
        super().on_connection_close()
        if self._subscription is not None:
            self._subscription.close()

    async def get(self) -> None:
        """Tell events as they come."""
        subscription = self._subscription = await _subscribed(self)
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # A proxy that collects would tell nothing.
        try:
            await self._tell(subscription)
        except _GONE:
            raise Finish from None
        finally:
            subscription.close()

    async def _tell(self, subscription: Subscription) -> None:
        stalled = False
        try:
            text = b"retry: %d\n%b" % (_RETRY_MS, _sse(Batch([], subscription.position)))
            while True:
                self.write(text)  # pyright: ignore[reportUnknownMemberType]  # Tornado's dict is bare
                stalled = True
                await _taken(self.flush(), self.context.answer_seconds, subscription)
                stalled = False
                text = _sse(await subscription.next())
        except RaftqError as error:
            if stalled:
                self.close_connection()
            if stalled or self.is_client_gone:
                raise Finish from None
            self.end(b"event: end\ndata: %b\n\n" % _problem(error))


def _sse(batch: Batch) -> bytes:
    """Return a batch as server-sent events; the last block only says how far the client is."""
    told = [
        b"id: %b\ndata: %b\n\n"
        % (each.position.text.encode(), msgspec.json.encode(event_answer(each)))
        for each in batch.events
    ]
    told.append(b"id: %b\n\n" % batch.position.text.encode())
    return b"".join(told)


class EventSocketHandler(WebSocketHandler, Handler):
    """GET /v1/events/ws."""

    op = "events"
    parameters = frozenset(QUERY)
    _subscription: Subscription | None = None

    @property
    def max_message_size(self) -> int:
        """The longest message that is read from a client."""
        return _SENT_BYTES_MAX

    def check_origin(self, origin: str) -> bool:
        """Refuse pages of other origins: a browser would let them in with the user's network."""
        if not super().check_origin(origin):
            raise Forbidden(f"a page of {origin:.100} may not read the events of this node")
        return True

    async def get(self, *_args: Any, **_settings: Any) -> None:
        """Become a WebSocket and tell events until it ends."""
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            raise InvalidRequest(
                "this path speaks WebSocket only; GET /v1/events tells the same as plain HTTP"
            )
        subscription = self._subscription = await _subscribed(self)
        try:
            await super().get()
        finally:
            subscription.close()

    def open(self, *_args: str, **_settings: str) -> Awaitable[None] | None:
        """Called by Tornado once it is a WebSocket."""
        assert self._subscription is not None
        self.context.open_requests.discard(self.request.connection)
        self.context.service.events.push(self._tell(self._subscription))
        return None

    def on_message(self, message: str | bytes) -> None:
        """A client has nothing to say."""

    def on_close(self) -> None:
        """Called by Tornado when the WebSocket has ended."""
        if self._subscription is not None:
            self._subscription.close()

    async def _tell(self, subscription: Subscription) -> None:
        patience = limits.EVENTS_STALL_MS / 1_000
        batch = Batch([], subscription.position)
        try:
            while True:
                message = EventsMessage(
                    [event_answer(each) for each in batch.events], batch.position.text
                )
                sent = self.write_message(msgspec.json.encode(message))
                await _taken(sent, patience, subscription)
                batch = await subscription.next()
        except _GONE:
            pass
        except RaftqError as error:
            self._end(error)

    def _end(self, error: RaftqError) -> None:
        if self.ws_connection is not None and not self.ws_connection.is_closing():
            last = self.write_message(b'{"end":%b}' % _problem(error))
            last.add_done_callback(lambda done: done.cancelled() or done.exception())
            self.close(_CLOSE_CODES + problems.problem(error)[0], error.code)
