"""Events of a broker in memory, for the clients' own iterators."""

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING

import msgspec

from raftq.client.endpoints import Address
from raftq.client.events import Follower
from raftq.protocol import codec
from raftq.protocol.errors import ConnectionLost
from raftq.protocol.events import Position, Subscribe, TaskEvent
from raftq.server.events.ring import Cursor, Wanted

if TYPE_CHECKING:
    from raftq.testing.memory.broker import MemoryBroker

_STEPS_AT_ONCE = 1_000


class MemoryLink:
    """A subscription at a broker in memory, read like one at a node.

    Args:
        broker: Who tells.
        cursor: Where it begins.
    """

    def __init__(self, broker: "MemoryBroker", cursor: Cursor) -> None:
        self._broker = broker
        self._cursor = cursor
        self._told: deque[TaskEvent | Position] = deque()
        self._waiting: Future[None] | None = None
        self._is_closed = False

    def told(self) -> TaskEvent | Position | None:
        """Return what comes next; None if there is nothing yet."""
        if not self._told and self._cursor.is_behind:
            with self._broker.lock:
                events, _ = self._cursor.read(_STEPS_AT_ONCE, _STEPS_AT_ONCE)
                self._told += [*events, self._cursor.position]
        return self._told.popleft() if self._told else None

    async def wait(self) -> None:
        """Wait until there is more.

        Raises:
            ConnectionLost: The link was closed.
        """
        self._waiting = self._broker.next_entry(self._cursor)
        await asyncio.wrap_future(self._waiting)
        if self._is_closed:
            raise ConnectionLost("this subscription was closed")

    def close(self) -> None:
        """End the subscription; who waits hears of it."""
        self._is_closed = True
        if self._waiting is not None:
            self._broker.wake(self._waiting)


class MemoryFollower(Follower):
    """Follows the events of a broker in memory, which is its only node.

    Args:
        broker: Who tells.
    """

    def __init__(self, broker: "MemoryBroker") -> None:
        super().__init__([("memory", 1)], broker.random, lambda: broker.clock.wall_ms / 1_000)
        self._broker = broker

    async def link(
        self, address: Address, timeout: float, asked: Subscribe
    ) -> tuple[MemoryLink, str, Position]:
        """Subscribe, as a node would let this client."""
        try:
            asked = msgspec.msgpack.decode(codec.encode(asked), type=Subscribe)
        except codec.MALFORMED as error:
            raise codec.invalid(f"subscribe: {error}") from None
        after = None
        if asked.after_index is not None:
            after = Position.after(asked.after_index, asked.after_number)
        wanted = Wanted(asked.queue, frozenset(asked.states), asked.task_id)
        cursor = self._broker.cursor(after, wanted)
        await asyncio.sleep(0)
        return MemoryLink(self._broker, cursor), "memory", cursor.position
