"""The subscriptions of one native connection: `subscribe`, `unsubscribe`, and what is pushed.

What a subscriber has not taken yet is bounded, so it is told more only when it has read; a
connection on which calls are answered as well waits with its events, never with its answers.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from raftq.protocol import limits
from raftq.protocol.codec import MALFORMED, encode, error_to_wire, invalid
from raftq.protocol.errors import (
    Conflict,
    InvalidRequest,
    RaftqError,
)
from raftq.protocol.events import (
    EVENT,
    EVENT_MARK,
    EVENTS_END,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Position,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from raftq.protocol.replies import Done
from raftq.server.events.hub import Batch, EventHub, Subscription
from raftq.server.events.ring import Wanted

_SUBSCRIBE: Final = encode(SUBSCRIBE)
_UNSUBSCRIBE: Final = encode(UNSUBSCRIBE)
METHODS: Final = frozenset({_SUBSCRIBE, _UNSUBSCRIBE})
"""The encoded names of what is answered here."""
_subscribe_decoder: Final = msgspec.msgpack.Decoder(Subscribe)
_unsubscribe_decoder: Final = msgspec.msgpack.Decoder(Unsubscribe)
_STALL_SECONDS: Final = limits.EVENTS_STALL_MS / 1_000


class Sender(Protocol):
    """The connection, as its subscriptions see it."""

    unsent_bytes: int
    """Bytes that the client has not taken yet."""

    def send(self, data: bytes) -> None:
        """Send whole messages."""
        ...

    def answer(self, call_id: int, name: str, reply: Subscribed | Done, begun_at: float) -> None:
        """Answer a request."""
        ...

    def answer_error(self, call_id: int, name: str, error: BaseException, begun_at: float) -> None:
        """Answer a request that was refused."""
        ...


class NativeSubscriptions:
    """What one connection is subscribed to.

    Args:
        hub: Of the node.
        sender: The connection.
        stands: Whether the client's token still counts.
    """

    def __init__(self, hub: EventHub, sender: Sender, stands: Callable[[], bool]) -> None:
        self._hub = hub
        self._sender = sender
        self._stands = stands
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, _Open] = {}
        """By the client's number."""
        self._room = asyncio.Event()
        self._is_closed = False

    def handle(self, call_id: int, method: bytes, params: msgspec.Raw) -> None:
        """Begin one of `METHODS`."""
        begun_at = self._loop.time()
        name = SUBSCRIBE if method == _SUBSCRIBE else UNSUBSCRIBE
        try:
            if method == _SUBSCRIBE:
                self._begin(call_id, _subscribe_decoder.decode(params), begun_at)
            else:
                asked = _unsubscribe_decoder.decode(params)
                self._sender.answer(call_id, name, Done(self._end(asked.subscription)), begun_at)
        except MALFORMED as error:
            refused = invalid(f"{name}: {error}")
            self._sender.answer_error(call_id, name, refused, begun_at)
        except RaftqError as error:
            self._sender.answer_error(call_id, name, error, begun_at)

    def _begin(self, call_id: int, asked: Subscribe, begun_at: float) -> None:
        if asked.subscription in self._open:
            raise Conflict(f"subscription {asked.subscription} of this connection has not ended")
        if asked.after_index is None and asked.after_number is not None:
            raise InvalidRequest("subscribe: after_number needs after_index")
        opened = self._open[asked.subscription] = _Open()
        self._hub.push(self._serve(call_id, asked, opened, begun_at))

    def _end(self, number: int) -> bool:
        opened = self._open.pop(number, None)
        if opened is None:
            return False
        opened.is_over = True
        if opened.subscription is not None:
            opened.subscription.close()
        return True

    async def _serve(
        self, call_id: int, asked: Subscribe, opened: "_Open", begun_at: float
    ) -> None:
        """Make a subscription, answer, and tell its events until it ends."""
        number = asked.subscription
        try:
            subscription = opened.subscription = await self._made(asked, begun_at)
            if opened.is_over:
                raise Conflict(f"subscription {number} was ended before it began")
        except Exception as error:
            if not self._is_closed:
                self._sender.answer_error(call_id, SUBSCRIBE, error, begun_at)
        else:
            begins = Subscribed(subscription.position.log_index, subscription.position.number)
            self._sender.answer(call_id, SUBSCRIBE, begins, begun_at)
            await self._tell(number, subscription, opened)
        finally:
            if opened.subscription is not None:
                opened.subscription.close()
            if not opened.is_over:
                self._end(number)

    async def _made(self, asked: Subscribe, begun_at: float) -> Subscription:
        after = asked.after_index
        position = None if after is None else Position.after(after, asked.after_number)
        wanted = Wanted(asked.queue, frozenset(asked.states), asked.task_id)
        deadline = begun_at + asked.timeout_ms / 1_000
        return await self._hub.subscribe(wanted, position, deadline, self._stands)

    async def _tell(self, number: int, subscription: Subscription, opened: "_Open") -> None:
        try:
            while True:
                batch = await subscription.next()
                if opened.is_over:
                    return
                self._sender.send(_messages(number, batch))
                await self._wait_for_room(subscription)
        except RaftqError as error:
            if not opened.is_over:
                self._sender.send(encode([2, EVENTS_END, [number, error_to_wire(error)]]))

    async def _wait_for_room(self, subscription: Subscription) -> None:
        """Wait until the client has taken most of what it was told.

        Raises:
            EventsLost: It takes nothing.
        """
        while self._sender.unsent_bytes > limits.EVENTS_UNSENT_BYTES_MAX and not self._is_closed:
            self._room.clear()
            try:
                async with asyncio.timeout(_STALL_SECONDS):
                    await self._room.wait()
            except TimeoutError:
                raise subscription.too_slow(_STALL_SECONDS) from None

    def on_written(self) -> None:
        """The client took something."""
        self._room.set()

    def close(self) -> None:
        """The connection has ended."""
        self._is_closed = True
        self._room.set()
        for number in list(self._open):
            self._end(number)


class _Open:
    """A subscription that has not ended; it is made in a moment, or was."""

    __slots__ = ("is_over", "subscription")

    def __init__(self) -> None:
        self.subscription: Subscription | None = None
        self.is_over = False
        """Whether the client ended it, or is gone: it is told nothing more."""


def _messages(number: int, batch: Batch) -> bytes:
    """Return a batch as notifications: each event, and how far the subscriber is then."""
    told = [
        encode([2, EVENT, [number, e.index, e.number, e.at_ms, e.task_id, e.queue, e.state]])
        for e in batch.events
    ]
    position = batch.position
    told.append(encode([2, EVENT_MARK, [number, position.log_index, position.number]]))
    return b"".join(told)
