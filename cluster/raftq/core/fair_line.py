"""A line shared fairly by the tasks' fair keys: stride scheduling.

Each key has a virtual time. The task that is given out is of the key whose virtual time is least
(the first by its text, if several are equal), and moves that time on by a step that is smaller the
greater the weight of the key. So each key that has tasks in line gets its share of what is given
out, however many tasks it has.

The *present* of a line is the virtual time at which a task was taken last. A key joins there, so
that it neither makes up for the time in which it had no tasks nor waits for others to catch up; but
if its own virtual time is ahead of the present, that counts: leaving for a moment pays nothing. It
is remembered until the present has caught up with it, or the line is empty (then nobody is there to
be treated unfairly, and all begin anew).
"""

from collections.abc import Callable, Iterator, Mapping
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from raftq.core.number_heap import SPARE_MARKS
from raftq.core.sequences import Line

_STEP: Final = 1_000_000
"""Of a key with the weight 1; a multiple of most weights in use."""


class _Share:
    """The part of a line that is one key's; never empty."""

    __slots__ = ("line", "virtual")

    def __init__(self, virtual: int, line: Line) -> None:
        self.virtual = virtual
        self.line = line


class FairLine:
    """The ready tasks of one priority, some of which have fair keys; "" is the key of the others.

    Within a key: first those that came back, then the others. A task that comes back is counted
    again when it is given out again.

    Args:
        weights: Returns the weight of each key that has one other than 1, as it is now.
        line: The tasks that are there already, with the key "".
    """

    __slots__ = ("_absent", "_absent_heap", "_heap", "_shares", "_weights", "present")

    def __init__(self, weights: Callable[[], Mapping[str, int]], line: Line | None = None) -> None:
        self._weights = weights
        self._shares: dict[str, _Share] = {}
        self._heap: list[tuple[int, str]] = []
        """Has (virtual time, key) of every share; what matches none is dead, and not in front."""
        self._absent: dict[str, int] = {}
        """Virtual times of keys that have no tasks and are ahead of the present."""
        self._absent_heap: list[tuple[int, str]] = []
        """The same, earliest first; may hold dead entries."""
        self.present = 0
        """The virtual time at which a task was taken last."""
        if line is not None and len(line):
            self._join("", line)

    def __len__(self) -> int:
        return sum(len(share.line) for share in self._shares.values())

    def is_blank(self) -> bool:
        """Tell whether it is like a new one: no tasks, and no virtual times that matter."""
        return not self._shares and not self._absent

    def _line(self, key: str) -> Line:
        """Return the line of a key, to which a task is added."""
        share = self._shares.get(key)
        return self._join(key, Line()) if share is None else share.line

    def _join(self, key: str, line: Line) -> Line:
        virtual = max(self.present, self._absent.pop(key, 0))
        self._shares[key] = _Share(virtual, line)
        heappush(self._heap, (virtual, key))
        if len(self._heap) > 2 * len(self._shares) + SPARE_MARKS:
            self._heap = [(share.virtual, each) for each, share in self._shares.items()]
            heapify(self._heap)
        return line

    def append(self, first: int, count: int, key: str = "") -> None:
        """Add consecutive sequences at the end of their key's part."""
        self._line(key).append(first, count)

    def put_back(self, sequence: int, key: str = "") -> None:
        """Add a task that came back, before those of its key that did not."""
        self._line(key).put_back(sequence)

    def first(self) -> int:
        """Return the sequence at the front, or 0."""
        return self._shares[self._heap[0][1]].line.first() if self._heap else 0

    def pop(self) -> int:
        """Remove and return the sequence at the front, or 0."""
        if not self._heap:
            return 0
        self.present, key = self._heap[0]
        share = self._shares[key]
        sequence = share.line.pop()
        share.virtual += _STEP // self._weights().get(key, 1)
        heapreplace(self._heap, (share.virtual, key))
        if not share.line.first():
            self._leave(key, share)
        self._clean()
        return sequence

    def remove(self, sequence: int, key: str = "") -> None:
        """Take out a task that is in the line, wherever it stands; its key's time stays."""
        share = self._shares[key]
        share.line.remove(sequence)
        if not share.line.first():
            self._leave(key, share)
            self._clean()

    def _leave(self, key: str, share: _Share) -> None:
        """A key has no tasks any more."""
        del self._shares[key]
        if share.virtual > self.present:
            self._absent[key] = share.virtual
            heappush(self._absent_heap, (share.virtual, key))

    def _clean(self) -> None:
        """Restore what holds of the heaps, and forget the absent keys that do not matter."""
        heap, shares = self._heap, self._shares
        if not shares:
            self._heap, self._absent, self._absent_heap, self.present = [], {}, [], 0
            return
        while (share := shares.get(heap[0][1])) is None or share.virtual != heap[0][0]:
            heappop(heap)
        absent, times = self._absent, self._absent_heap
        # Those who are ahead the least are forgotten first, if there are too many.
        while times and (times[0][0] <= self.present or len(absent) > len(shares) + SPARE_MARKS):
            virtual, key = heappop(times)
            if absent.get(key) == virtual:
                del absent[key]
        if len(times) > 2 * len(absent) + SPARE_MARKS:
            self._absent_heap = sorted((virtual, key) for key, virtual in absent.items())

    def returned(self) -> Iterator[int]:
        """Yield the tasks that came back, key by key."""
        for key in sorted(self._shares):
            yield from self._shares[key].line.returned()

    def waiting(self) -> Iterator[int]:
        """Yield the others, key by key."""
        for key in sorted(self._shares):
            yield from self._shares[key].line.waiting()

    def part(self, key: str) -> Line | None:
        """Return a key's part of the line, if it has tasks."""
        share = self._shares.get(key)
        return None if share is None else share.line

    def __iter__(self) -> Iterator[int]:
        """Yield all in the order in which they would be given out."""
        weights = self._weights()
        heap = sorted((share.virtual, key) for key, share in self._shares.items())
        parts = {key: iter(share.line) for key, share in self._shares.items()}
        while heap:
            virtual, key = heap[0]
            if sequence := next(parts[key], 0):
                yield sequence
                heapreplace(heap, (virtual + _STEP // weights.get(key, 1), key))
            else:
                heappop(heap)

    def virtual_times(self) -> list[tuple[str, int]]:
        """Return the virtual time of every key that counts, by the keys' texts."""
        times = [(key, share.virtual) for key, share in self._shares.items()]
        times += self._absent.items()
        return sorted(times)

    def restore_time(self, present: int, key: str, virtual: int) -> None:
        """Enter the present of the line and the virtual time of a key, before its tasks."""
        self.present = present
        if key not in self._shares:
            self._absent[key] = virtual
            heappush(self._absent_heap, (virtual, key))
