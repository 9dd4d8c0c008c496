"""Who is told of events on this node, and how much of the node's time that may take.

A subscriber asks for its next batch when it has passed on the one before. Those who wait are
looked after in rounds: one round after new entries, never more often than every few milliseconds,
with a bound on what it reads and tells, and whoever comes short is first in the next one. So no
number of subscribers, filters or events takes more than a share of the event loop; who cannot
follow at that pace falls behind what the ring keeps, and is cut off with `events_lost`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, NamedTuple, Protocol

from raftq.consensus.contract import ReplicaView
from raftq.core.applied import Applied
from raftq.protocol import limits
from raftq.protocol.errors import (
    EventsLost,
    Forbidden,
    NotReady,
    RaftqError,
    RateLimited,
    ShuttingDown,
)
from raftq.protocol.events import Position, TaskEvent
from raftq.server.events.ring import Cursor, EventRing, Wanted

_log = logging.getLogger(__name__)

_ROUND_SECONDS: Final = 0.01
"""Pause between two rounds."""
_STEPS_PER_ROUND: Final = 5_000
"""Groups of events that all cursors together look at in a round: about 2 ms."""
_EVENTS_PER_ROUND: Final = 1_000
"""Events that all subscribers together are told in a round: about 2 ms with their encoding."""
_MARK_SECONDS: Final = limits.EVENT_MARK_MS / 1_000
_WATCH_SECONDS: Final = 1.0
_UNREADY_SECONDS: Final = 3.0
"""How long a node may be without a leader, or behind, before its subscribers go elsewhere: an
election is shorter."""
_LAST_WORDS_SECONDS: Final = 1.0
"""How long a stopping node waits for subscribers to take why they are sent away."""


class Source(Protocol):
    """What the hub asks of the replica."""

    @property
    def base_index(self) -> int:
        """The log index that the machine began with."""
        ...

    def view(self) -> ReplicaView:
        """Return what this node knows right now."""
        ...


class Batch(NamedTuple):
    """What a subscriber is told next: perhaps nothing but how far it is."""

    events: list[TaskEvent]
    position: Position
    """Behind all events that were told, and all that were passed over."""


class Subscription:
    """One subscriber's place among the events. Use `EventHub.subscribe`; close it in the end."""

    def __init__(self, hub: "EventHub", cursor: Cursor, stands: Callable[[], bool]) -> None:
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self.cursor: Final = cursor
        self.stands: Final = stands
        """Whether what the subscriber was let in by still counts."""
        self._error: RaftqError | None = None
        self._waiting: asyncio.Future[Batch] | None = None

    @property
    def position(self) -> Position:
        """What was told so far."""
        return self.cursor.position

    async def next(self) -> Batch:
        """Wait for the next events, or for the time to say how far the subscriber is.

        Raises:
            EventsLost: The subscriber was too slow.
            ShuttingDown, NotReady: It goes on at another node.
            Forbidden: It is not let in any more.
        """
        if self._error is not None:
            raise self._error
        waiting: asyncio.Future[Batch] = self._loop.create_future()
        self._waiting = waiting
        timer = self._loop.call_later(_MARK_SECONDS, self._mark)
        self._hub.wait(self)
        try:
            return await waiting
        finally:
            timer.cancel()
            self._waiting = None
            self._hub.leave(self)

    @property
    def is_waiting(self) -> bool:
        """Whether a batch would reach the subscriber; else its events must not be read yet."""
        return self._waiting is not None and not self._waiting.done()

    def tell(self, events: list[TaskEvent]) -> None:
        """Give the subscriber its batch, if it waits for one."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(Batch(events, self.cursor.position))

    def _mark(self) -> None:
        self.tell([])

    def end(self, error: RaftqError) -> None:
        """Cut the subscriber off; it hears why when it asks for more."""
        self._error = self._error or error
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(self._error)

    def too_slow(self, seconds: float) -> EventsLost:
        """Return the error of a subscriber that took nothing for so long."""
        self._hub.cut_off_total += 1
        return EventsLost(f"this subscriber took nothing of what it was told for {seconds} s")

    def close(self) -> None:
        """End the subscription; harmless when repeated."""
        self.end(ShuttingDown("this subscription was ended"))
        self._hub.remove(self)


class EventHub:
    """The ring of this node and its subscribers.

    Args:
        source: This node's replica.
        acknowledged_index: Returns a log index by which every write was applied that was
            acknowledged before the call; takes a deadline.
    """

    def __init__(
        self, source: Source, acknowledged_index: Callable[[float], Awaitable[int]]
    ) -> None:
        self._source = source
        self._acknowledged_index = acknowledged_index
        self._loop = asyncio.get_running_loop()
        self._base_index = source.base_index
        self.ring: Final = EventRing(self._base_index)
        self._subscriptions: dict[Subscription, None] = {}
        self._opening = 0
        self._waiting: dict[Subscription, None] = {}
        """Who waits for a batch; whoever was looked after longest ago is first."""
        self._round: asyncio.TimerHandle | None = None
        self._round_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._unready_since: float | None = None
        self._closed: RaftqError | None = None
        self._pushers: set[asyncio.Task[None]] = set()
        self.cut_off_total = 0
        """Subscribers that were too slow, or asked for what is not kept."""

    def __len__(self) -> int:
        return len(self._subscriptions)

    # ------------------------------------------------------------ the hot path

    def on_applied(self, applied: Applied) -> None:
        """Take in an entry: all that is done when nobody has subscribed is to keep it."""
        if self._source.base_index != self._base_index:
            self._follow_machine()
        self.ring.append(applied)
        if self._waiting and self._round is None:
            self._begin_round()

    def _follow_machine(self) -> None:
        """Notice that the machine was replaced by a snapshot's."""
        if self._source.base_index != self._base_index:
            self._base_index = self._source.base_index
            self.ring.begin_anew(self._base_index)

    # ------------------------------------------------------------ subscribing

    async def subscribe(
        self,
        wanted: Wanted,
        position: Position | None,
        deadline: float,
        stands: Callable[[], bool],
    ) -> Subscription:
        """Return a new subscription.

        Args:
            wanted: Which events.
            position: Behind which it begins, known here already or not; None means now: behind
                every write that was acknowledged before this call.
            deadline: The loop-clock instant by which "now" must be known.
            stands: Whether what the subscriber was let in by still counts.

        Raises:
            EventsLost: This node does not keep events from so far back.
            RateLimited: This node has too many subscriptions.
            NoLeader: It is not known what "now" is.
            ShuttingDown: This node stops.
        """
        self._check_open()
        if position is None:
            self._opening += 1
            try:
                position = Position(await self._acknowledged_index(deadline))
            finally:
                self._opening -= 1
            self._check_open()
        self._follow_machine()
        try:
            cursor = Cursor(self.ring, position, wanted)
        except RaftqError:
            self.cut_off_total += 1
            raise
        subscription = Subscription(self, cursor, stands)
        self._subscriptions[subscription] = None
        if self._watch is None:
            self._watch = self._loop.call_later(_WATCH_SECONDS, self._watch_over)
        return subscription

    def _check_open(self) -> None:
        if self._closed is not None:
            raise self._closed
        if len(self._subscriptions) + self._opening >= limits.SUBSCRIPTIONS_MAX:
            raise RateLimited(
                f"this node has {limits.SUBSCRIPTIONS_MAX} subscriptions already; use another one",
                retry_after_ms=limits.RETRY_AFTER_MS,
            )

    def push(self, pushing: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run what passes a subscription's batches on; it ends when the hub is closed."""
        task = asyncio.ensure_future(pushing)
        self._pushers.add(task)
        task.add_done_callback(self._on_pushed)
        return task

    def _on_pushed(self, task: "asyncio.Task[None]") -> None:
        self._pushers.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("event_push_failed", exc_info=error)

    # ------------------------------------------------------------ rounds

    def wait(self, subscription: Subscription) -> None:
        """Look after a subscriber in the next round with something for it."""
        self._waiting[subscription] = None
        if self._round is None and subscription.cursor.is_behind:
            self._begin_round()

    def leave(self, subscription: Subscription) -> None:
        """The subscriber does not wait any more."""
        self._waiting.pop(subscription, None)

    def remove(self, subscription: Subscription) -> None:
        """The subscription has ended."""
        self._subscriptions.pop(subscription, None)
        self._waiting.pop(subscription, None)
        if not self._subscriptions and self._watch is not None:
            self._watch.cancel()
            self._watch = self._unready_since = None

    def _begin_round(self) -> None:
        """Look after who waits: soon, if the last round was long ago."""
        self._round = self._loop.call_at(self._round_at + _ROUND_SECONDS, self._look_after)

    def _look_after(self) -> None:
        self._round = None
        self._round_at = self._loop.time()
        events_left, steps_left = _EVENTS_PER_ROUND, _STEPS_PER_ROUND
        for subscription in list(self._waiting):
            if events_left <= 0 or steps_left <= 0:
                break
            del self._waiting[subscription]
            told, steps = self._look_after_one(
                subscription, min(events_left, limits.EVENTS_PER_BATCH_MAX), steps_left
            )
            events_left -= told
            steps_left -= steps + 1
        if any(each.cursor.is_behind for each in self._waiting):
            self._begin_round()

    def _look_after_one(
        self, subscription: Subscription, events_max: int, steps_max: int
    ) -> tuple[int, int]:
        """Give a subscriber what there is for it; without anything it waits on, at the end."""
        if not subscription.is_waiting:
            return 0, 0
        try:
            events, steps = subscription.cursor.read(events_max, steps_max)
        except RaftqError as error:
            self.cut_off_total += 1
            subscription.end(error)
            return 0, 1
        if events:
            subscription.tell(events)
        else:
            self._waiting[subscription] = None
        return len(events), steps

    # ------------------------------------------------------------ ending

    def _watch_over(self) -> None:
        """Send subscribers elsewhere when this node has learned nothing new for too long."""
        self._watch = self._loop.call_later(_WATCH_SECONDS, self._watch_over)
        reason = self._unready()
        if reason is not None:
            self._end_all(NotReady(reason))

    def _unready(self) -> str | None:
        """Return why this node has been of no use for a while."""
        reason = self._source.view().not_ready_reason
        now = self._loop.time()
        if reason is None:
            self._unready_since = None
        elif self._unready_since is None:
            self._unready_since = now
        elif now - self._unready_since >= _UNREADY_SECONDS:
            return reason
        return None

    def end_revoked(self) -> None:
        """Cut off subscribers whose token does not count any more."""
        for subscription in list(self._subscriptions):
            if not subscription.stands():
                subscription.end(
                    Forbidden("the token of this subscription does not count any more")
                )

    def close(self, error: RaftqError) -> None:
        """Send every subscriber, and those to come, elsewhere."""
        self._closed = error
        self._end_all(error)

    def _end_all(self, error: RaftqError) -> None:
        for subscription in list(self._subscriptions):
            subscription.end(error)

    async def stop(self) -> None:
        """End everything, and wait until what pushes has ended."""
        self.close(self._closed or ShuttingDown("this node stops; use another one"))
        for timer in (self._round, self._watch):
            if timer is not None:
                timer.cancel()
        if self._pushers:
            _, late = await asyncio.wait(self._pushers, timeout=_LAST_WORDS_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
