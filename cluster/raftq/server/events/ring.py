"""The newest events of this node, by log index.

Keeping an entry's events costs one tuple, whatever they are: the machine's own list is kept, and
nobody looks into it before a subscriber asks. Whoever reads holds a `Cursor`, which is a place in
the ring and no copy of anything, so a slow reader costs nothing and loses its place in the end.

Invariant: everything behind `floor` is here.
"""

from collections import deque
from collections.abc import Collection, Sequence
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from raftq.core.applied import Applied, Event
from raftq.protocol import limits
from raftq.protocol.errors import EventsLost
from raftq.protocol.events import WHOLE, Position, TaskEvent
from raftq.protocol.fields import TaskState

_IDS: Final = itemgetter(2)
_IDS_PER_STEP: Final = 32
"""Ids that are searched at the cost of looking at one group of events."""
Kept: TypeAlias = tuple[int, int, list[Event]]
"""(log index, wall time, what became of tasks)"""


class Wanted(NamedTuple):
    """Which events: those that match everything that is given; no state means all."""

    queue: str | None = None
    states: Collection[TaskState] = ()
    task_id: bytes | None = None

    def takes(self, state: TaskState, queue: str) -> bool:
        """Whether events of this state and queue are among them."""
        is_queue = self.queue is None or self.queue == queue
        return is_queue and (not self.states or state in self.states)


class EventRing:
    """The newest events, at most `kept_max`; but all of the newest entry, however many.

    Args:
        base_index: The log index after which entries are going to be told.
        kept_max: Events, not entries.
    """

    def __init__(self, base_index: int = 0, kept_max: int = limits.EVENTS_KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._entries: deque[Kept] = deque()
        self._kept = 0
        self.begins = 0
        """The number of the first entry that is here; entries with events are numbered from 0."""
        self.floor = Position(base_index)
        self.newest_index = base_index

    def append(self, applied: Applied) -> None:
        """Take in what an entry did; called for each, with events or without."""
        self.newest_index = applied.index
        events = applied.events
        if events and (count := _count(events)):
            self._entries.append((applied.index, applied.wall_at_ms, events))
            self._kept += count
            if self._kept > self._kept_max:
                self._drop()

    def begin_anew(self, base_index: int) -> None:
        """Forget everything: the machine was replaced, and what led to it is not known here."""
        self.begins += len(self._entries)
        self._entries.clear()
        self._kept = 0
        self.floor = Position(base_index)
        self.newest_index = base_index

    def _drop(self) -> None:
        entries = self._entries
        while self._kept > self._kept_max and len(entries) > 1:
            index, _, events = entries.popleft()
            count = _count(events)
            self.begins += 1
            self._kept -= count
            self.floor = Position(index, count)

    @property
    def ends(self) -> int:
        """The number that the next entry with events gets."""
        return self.begins + len(self._entries)

    def entry(self, number: int) -> Kept:
        """Return an entry that is here."""
        return self._entries[number - self.begins]

    def first_from(self, index: int) -> int:
        """Return the number of the first entry of a log index, or of the first one behind it."""
        low, high = 0, len(self._entries)
        while low < high:
            middle = (low + high) // 2
            if self._entries[middle][0] < index:
                low = middle + 1
            else:
                high = middle
        return self.begins + low

    def check(self, position: Position) -> None:
        """Raise an error unless everything behind a position is here, or still to come.

        Raises:
            EventsLost: Some is not here any more; `oldest_index` is the first that is whole.
        """
        if position < self.floor:
            oldest = self.floor.log_index + 1
            raise EventsLost(
                f"this node keeps no events before log index {oldest}, and {position.text} is "
                f"before that; read the present state, then go on behind {oldest - 1}",
                oldest_index=oldest,
            )


def _count(events: list[Event]) -> int:
    return sum(map(len, map(_IDS, events)))


class Cursor:
    """A reader's place in a ring.

    Args:
        ring: What is read.
        position: Behind which it begins; may be one that this node has not reached.
        wanted: Which events.

    Raises:
        EventsLost: The ring does not reach back so far.
    """

    def __init__(self, ring: EventRing, position: Position, wanted: Wanted) -> None:
        ring.check(position)
        self._ring = ring
        self._wanted = wanted
        self._behind = position
        """Behind which the next entry begins."""
        self._next = ring.first_from(position.log_index + (position.seen == WHOLE))
        self._entry: Kept | None = None
        """The entry that is being read; dropped from the ring, it is still read to its end."""
        self._group = self._offset = self._number = 0
        """Where in that entry: in which group, how far in it, and the number of its first event."""

    @property
    def position(self) -> Position:
        """Everything up to here was read."""
        seen = self._number + self._offset
        return Position(self._entry[0], seen) if self._entry is not None and seen else self._behind

    @property
    def is_behind(self) -> bool:
        """Whether there is something to read."""
        return self._entry is not None or self._next < self._ring.ends

    def read(self, events_max: int, steps_max: int) -> tuple[list[TaskEvent], int]:
        """Return the next events, and how many steps it took to find them.

        Args:
            events_max: The most events.
            steps_max: The most groups of events that are looked at.

        Raises:
            EventsLost: This reader was too slow.
        """
        found: list[TaskEvent] = []
        steps = 0
        while steps < steps_max and len(found) < events_max:
            entry = self._entry or self._next_entry()
            if entry is None:
                break
            steps += self._read_group(entry, events_max, found)
        return found, steps

    def _next_entry(self) -> Kept | None:
        """Go to the next entry that has something behind the position.

        Raises:
            EventsLost: It was dropped before it was read.
        """
        ring = self._ring
        ring.check(self._behind)
        self._next = max(self._next, ring.begins)
        while self._next < ring.ends:
            entry = ring.entry(self._next)
            self._next += 1
            if Position(entry[0]) > self._behind and self._enter(entry):
                return entry
        self._behind = max(self._behind, Position(ring.newest_index))
        return None

    def _enter(self, entry: Kept) -> bool:
        """Begin an entry behind what was seen of it; False if that is all of it."""
        index, _, events = entry
        seen = self._behind.seen if index == self._behind.log_index else 0
        self._group = self._offset = self._number = 0
        for _, _, ids in events:
            if self._number + len(ids) > seen:
                self._offset = seen - self._number
                self._entry = entry
                return True
            self._number += len(ids)
            self._group += 1
        return False

    def _read_group(self, entry: Kept, events_max: int, found: list[TaskEvent]) -> int:
        """Read the group of events that is next, or a part of it; return what it cost in steps."""
        index, at_ms, events = entry
        state, queue, ids = events[self._group]
        begin, end, steps = self._offset, len(ids), 1
        wanted = self._wanted
        if wanted.takes(state, queue):
            if wanted.task_id is None:
                end = min(end, begin + events_max - len(found))
                chosen: Sequence[int] = range(begin, end)
            else:
                steps += len(ids) // _IDS_PER_STEP
                chosen = [at for at in range(begin, end) if ids[at] == wanted.task_id]
            number = self._number
            found += [TaskEvent(index, number + at, at_ms, ids[at], queue, state) for at in chosen]
        if end < len(ids):
            self._offset = end
        else:
            self._leave_group(entry)
        return steps

    def _leave_group(self, entry: Kept) -> None:
        index, _, events = entry
        self._number += len(events[self._group].ids)
        self._offset = 0
        self._group += 1
        if self._group == len(events):
            self._entry = None
            self._behind = Position(index)
