"""Following events: from one node to the next without a gap, and nothing twice.

Every node tells the same events with the same positions. So when a connection ends, or a node hangs
or stops, the next node is asked to go on behind what was received.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from random import Random
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self, TypeAlias

from raftq.client.calling import closed_error
from raftq.client.connection import PATIENCE_SECONDS
from raftq.client.credentials import Credentials
from raftq.client.endpoints import Address, Endpoints
from raftq.client.event_link import open_link
from raftq.protocol.errors import (
    ConnectionLost,
    EventsLost,
    Forbidden,
    NoLeader,
    OutcomeUnknown,
    RaftqError,
    UnavailableError,
)
from raftq.protocol.events import Position, Subscribe, TaskEvent
from raftq.protocol.fields import TaskState

_PAUSE_SECONDS: Final = 0.01
_PAUSE_MAX_SECONDS: Final = 0.2
_TRY_SECONDS: Final = 2.0
"""How long one node may try to learn what "now" is."""
_SUBSCRIPTION: Final = 1
"""Each has a connection of its own, so the number is always the same."""
_ELSEWHERE: Final = (UnavailableError, OutcomeUnknown, EventsLost)
"""What another node may do better."""
_Run: TypeAlias = Callable[[Callable[[object], Coroutine[Any, Any, bool | None]]], bool | None]


class WantedEvents(NamedTuple):
    """Which events to follow; what is left out does not matter."""

    queue: str | None = None
    states: Collection[TaskState] = ()
    task_id: bytes | None = None


class Link(Protocol):
    """One subscription; `EventLink` is one at a node."""

    def told(self) -> TaskEvent | Position | None:
        """Return what was told next; None if there is nothing yet."""
        ...

    async def wait(self) -> None:
        """Wait until more has come."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Follower:
    """Follows events for one client.

    Args:
        seeds: Addresses of nodes.
        random: Chooses among nodes, and jitters pauses.
        clock: Monotonic seconds.
        name: Who the client is, for the nodes' logs.
        credentials: What nodes ask of the client, and it of them.
    """

    def __init__(
        self,
        seeds: list[Address],
        random: Random,
        clock: Callable[[], float],
        name: str = "",
        credentials: Credentials | None = None,
    ) -> None:
        # Not the endpoints of calls: those go to the leader, and events are better had elsewhere.
        self.endpoints: Final = Endpoints(seeds, random, clock)
        self.random: Final = random
        self._name = name
        self._credentials = credentials or Credentials()
        self._open: set[Events] = set()
        self._is_closed = False

    def follow(self, wanted: WantedEvents, after: Position | None, timeout: float) -> "Events":
        """Return events to iterate over; nothing is asked before the first is wanted."""
        return Events(self, wanted, after, timeout)

    async def link(
        self, address: Address, timeout: float, asked: Subscribe
    ) -> tuple[Link, str, Position]:
        """Connect to a node and subscribe; return the link, the cluster and where it begins."""
        patience = min(timeout, PATIENCE_SECONDS)
        link, hello, begins = await open_link(
            address, self._name, self._credentials, patience, asked
        )
        self.endpoints.learn(hello.nodes, None)
        self.endpoints.succeeded(address)
        return link, hello.cluster_id, begins

    def enter(self, events: "Events") -> None:
        """Close these when the client is closed.

        Raises:
            InvalidRequest: It is closed already.
        """
        if self._is_closed:
            raise closed_error(may_have_happened=False)
        self._open.add(events)

    def leave(self, events: "Events") -> None:
        """These were closed."""
        self._open.discard(events)

    def close(self) -> None:
        """End everything that is being followed."""
        self._is_closed = True
        for events in list(self._open):
            events.end()


class Events:
    """Events to iterate over with `async for`, for ever or until they are closed.

    After an error the next iteration goes on from where it was, so that a program that caught
    `UnavailableError` only needs to go on. Entered with `async with`, the subscription begins
    there and not with the first iteration.
    """

    def __init__(
        self, follower: Follower, wanted: WantedEvents, after: Position | None, timeout: float
    ) -> None:
        self._follower = follower
        self._wanted = wanted
        self._timeout = timeout
        self._received = after
        """Behind everything that came; None before it is known what "now" is."""
        self._taken = after
        self._buffer: deque[TaskEvent] = deque()
        self._link: Link | None = None
        self._address: Address = ("", 0)
        """Of the node that the link leads to."""
        self._cluster = ""
        self._closed = asyncio.Event()

    @property
    def position(self) -> Position | None:
        """Behind the event returned last: where to go on later, in another program too.

        None before it is connected for the first time, if no position was given.
        """
        return self._taken

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskEvent:
        if not self._buffer and not await self.fill():
            raise StopAsyncIteration
        return self.take()

    async def begin(self) -> None:
        """Subscribe at a node, unless that is done.

        Raises:
            EventsLost: No node that can be reached keeps events from so far back.
            UnavailableError: No node could be reached in time.
        """
        if self._link is None:
            self._link = await self._connected()

    def take(self) -> TaskEvent:
        """Return the next event that has come."""
        event = self._buffer.popleft()
        self._taken = event.position if self._buffer else self._received
        return event

    @property
    def has_events(self) -> bool:
        """Whether an event can be taken at once."""
        return bool(self._buffer)

    async def fill(self) -> bool:
        """Wait until there are events to take; false if these were closed.

        Raises:
            EventsLost: No node that can be reached keeps what comes next.
            UnavailableError: No node could be reached in time.
        """
        tries = 0
        while not self._buffer and not self._closed.is_set():
            link = self._link
            try:
                if link is None:
                    link = self._link = await self._connected()
                if self._receive(link):
                    tries = 0
                else:
                    await link.wait()
            except (*_ELSEWHERE, Forbidden):
                if self._closed.is_set():
                    break
                if link is None:
                    raise
                self._follower.endpoints.failed(self._address)
                self._drop()
                await self._pause(tries)
                tries += 1
        return bool(self._buffer)

    def _receive(self, link: Link) -> bool:
        """Take over what a node has told; false if that is nothing."""
        has_come = False
        while (told := link.told()) is not None:
            has_come = True
            received = self._received
            assert received is not None, "a node that told something has told where it begins"
            position = told.position if isinstance(told, TaskEvent) else told
            if isinstance(told, TaskEvent) and position > received:
                self._buffer.append(told)
            self._received = max(position, received)
        if not self._buffer:
            self._taken = self._received
        return has_come

    async def close(self) -> None:
        """End the subscription; an iteration that waits ends. Harmless when repeated."""
        self.end()
        await asyncio.sleep(0)  # Let the transport close its socket.

    def end(self) -> None:
        """End the subscription without waiting for the socket to be closed."""
        self._closed.set()
        self._drop()
        self._follower.leave(self)

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    # ------------------------------------------------------------ connecting

    async def _connected(self) -> Link:
        """Subscribe at the node that serves best, trying others until the timeout.

        That events are lost is raised only when every other node was asked as well: each keeps
        them since its own start.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        self._follower.enter(self)
        endpoints, tries = self._follower.endpoints, 0
        lost: list[EventsLost] = []
        asked: set[Address] = set()
        while True:
            address = endpoints.choose()
            try:
                return await self._subscribed(address, deadline - loop.time())
            except _ELSEWHERE as error:
                last: RaftqError = error
                endpoints.failed(address)
            asked.add(address)
            lost += [last] if isinstance(last, EventsLost) else []
            if lost and asked >= set(endpoints.known):
                raise min(lost, key=_oldest_index)
            if self._closed.is_set() or loop.time() >= deadline:
                raise NoLeader(f"no node told events before the deadline ({last.message})")
            await self._pause(tries)
            tries += 1

    async def _subscribed(self, address: Address, timeout: float) -> Link:
        wanted, after = self._wanted, self._received
        asked = Subscribe(
            max(int(min(timeout, _TRY_SECONDS) * 1_000), 1),
            _SUBSCRIPTION,
            wanted.queue,
            list(wanted.states),
            wanted.task_id,
            None if after is None else after.log_index,
            None if after is None else after.number,
        )
        link, cluster, begins = await self._follower.link(address, max(timeout, 0.001), asked)
        try:
            self._judge(address, cluster)
        except RaftqError:
            link.close()
            raise
        self._cluster, self._address = cluster, address
        if after is None:
            self._received = self._taken = begins
        return link

    def _judge(self, address: Address, cluster: str) -> None:
        """Refuse a node that does not tell the events of the cluster that is followed.

        A cluster that is being founded has no name yet; nor has a node that is new in one.
        """
        if self._closed.is_set():
            raise ConnectionLost("these events were closed")
        if self._cluster and not cluster:
            raise NoLeader(f"{address[0]}:{address[1]} knows of no cluster yet")
        if self._cluster and self._cluster != cluster:
            raise EventsLost(f"another cluster answers at {address[0]}:{address[1]}")

    async def _pause(self, tries: int) -> None:
        """Pause for a moment, but not beyond `close`."""
        pause = min(_PAUSE_SECONDS * 2.0 ** min(tries, 16), _PAUSE_MAX_SECONDS)
        try:
            async with asyncio.timeout(pause * (0.5 + self._follower.random.random())):
                await self._closed.wait()
        except TimeoutError:
            pass


def _oldest_index(error: EventsLost) -> int:
    index = error.facts.get("oldest_index")
    return index if isinstance(index, int) else 2**63


class BlockingEvents:
    """The same for blocking code: iterate over it on one thread at a time."""

    def __init__(self, events: Events, run: "_Run") -> None:
        self._events = events
        self._run = run

    @property
    def position(self) -> Position | None:
        """Behind the event returned last; see `Events`."""
        return self._events.position

    def __enter__(self) -> Self:
        self._run(lambda _: self._events.begin())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> TaskEvent:
        if not self._events.has_events and not self._run(lambda _: self._events.fill()):
            raise StopIteration
        return self._events.take()

    def close(self) -> None:
        """End the subscription; harmless when repeated."""
        self._run(lambda _: self._events.close())
