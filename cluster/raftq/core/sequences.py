"""Sequences of tasks in compact form: a line, and a heap by instant.

At most eight bytes for a task in a line, and one Python integer for one with an instant: an object
for each would weigh more than the task's row.

A task that is taken out from the middle is marked only, and dropped when it comes to the front or
when the marks outnumber the rest: memory follows what is there.
"""

from array import array
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final

from raftq.core.id_table import SEQUENCE_MAX
from raftq.core.number_heap import SPARE_MARKS, NumberHeap

SEQUENCE_BITS: Final = SEQUENCE_MAX.bit_length()
_BLOCK: Final = 1_024
_RUN_BITS: Final = 64 - SEQUENCE_BITS
_RUN_MASK: Final = 2**_RUN_BITS - 1


class _Returned:
    """The tasks of a line that came back, by sequence."""

    __slots__ = ("heap", "members")

    def __init__(self) -> None:
        self.heap: list[int] = []
        """Has all members; what is none is dead, and never at the front."""
        self.members: set[int] = set()
        """Tells whether a task is here, which its sequence alone does not."""

    def add(self, sequence: int) -> None:
        self.members.add(sequence)
        heappush(self.heap, sequence)

    def remove(self, sequence: int) -> None:
        self.members.remove(sequence)
        self.clean()

    def clean(self) -> None:
        """Drop what is dead at the front, and all of it if it is the greater part."""
        heap, members = self.heap, self.members
        while heap and heap[0] not in members:
            heappop(heap)
        # A member that was removed and added again has two entries: this comes earlier then.
        if len(heap) > 2 * len(members) + SPARE_MARKS:
            self.heap = sorted(members)


class Line:
    """The ready tasks of one priority: first those that came back, then the others.

    The others are kept as runs of consecutive sequences: the first run as two integers, because
    most of the time it is the only one, and each other one as one number, in blocks, so that a
    line which grows or is used up never costs the copying of all of it.
    """

    __slots__ = (
        "_behind",
        "_blocks",
        "_first",
        "_left",
        "_marked",
        "_marks",
        "_returned",
        "_taken",
    )

    def __init__(self) -> None:
        self._returned: _Returned | None = None
        """None if it would be empty."""
        self._first = 0
        """The front of the others, or 0; never a marked one."""
        self._left = 0
        """The length of the run that begins there."""
        self._blocks: list[array[int]] = []
        """Of numbers: the first sequence of a run, then the length of it. None is used up."""
        self._taken = 0
        """How many runs of the first block are used up."""
        self._behind = 0
        """Sequences in the blocks, marked ones included."""
        self._marks: dict[int, int] | None = None
        """How many of the places of a sequence among the others are dead: the first ones, because
        a task that was removed may be added again. None if there are no marks."""
        self._marked = 0
        """Their sum."""

    def __len__(self) -> int:
        others = self._left + self._behind - self._marked
        return others if self._returned is None else others + len(self._returned.members)

    def append(self, first: int, count: int) -> None:
        """Add consecutive sequences at the end; none of them is in the line."""
        behind = self._behind
        if not behind:
            left = self._left
            if not left:
                self._first, self._left = first, count
                return
            if self._first + left == first:
                self._left = left + count
                return
        self._behind = behind + count
        blocks = self._blocks
        if blocks:
            block = blocks[-1]
            last = block[-1]
            length = last & _RUN_MASK
            if (last >> _RUN_BITS) + length == first and length + count <= _RUN_MASK:
                block[-1] = last + count
                return
            if count <= _RUN_MASK and len(block) < _BLOCK:
                block.append(first << _RUN_BITS | count)
                return
        self._append_runs(first, count)

    def _append_runs(self, first: int, count: int) -> None:
        blocks = self._blocks
        while count:
            run = min(count, _RUN_MASK)  # A longer one would spill into the sequence.
            if not blocks or len(blocks[-1]) >= _BLOCK:
                blocks.append(array("Q"))
            blocks[-1].append(first << _RUN_BITS | run)
            first, count = first + run, count - run

    def put_back(self, sequence: int) -> None:
        """Add a task that came back, before those that did not; it is not in the line."""
        if self._returned is None:
            self._returned = _Returned()
        self._returned.add(sequence)

    def first(self) -> int:
        """Return the sequence at the front, or 0."""
        return self._first if self._returned is None else self._returned.heap[0]

    def pop(self) -> int:
        """Remove and return the sequence at the front, or 0."""
        if self._returned is not None:
            return self._pop_returned(self._returned)
        sequence, left = self._first, self._left
        if left > 1:
            self._first, self._left = sequence + 1, left - 1
        elif self._behind:
            self._next_run()
        else:
            self._first = self._left = 0
        if self._marks is not None:
            self._clean()
        return sequence

    def _pop_returned(self, returned: _Returned) -> int:
        heap, members = returned.heap, returned.members
        sequence = heappop(heap)
        members.remove(sequence)
        if not members:
            self._returned = None
        elif len(heap) != len(members):
            returned.clean()
        return sequence

    def _next_run(self) -> None:
        """Go on to the run behind the first one, which is used up."""
        block, taken = self._blocks[0], self._taken
        run = block[taken]
        self._first = run >> _RUN_BITS
        self._left = left = run & _RUN_MASK
        self._behind -= left
        taken += 1
        if taken == len(block):
            del self._blocks[0]
            taken = 0
        self._taken = taken

    def remove(self, sequence: int) -> None:
        """Take out a task that is in the line, wherever it stands."""
        returned = self._returned
        if returned is not None and sequence in returned.members:
            returned.remove(sequence)
            if not returned.members:
                self._returned = None
            return
        assert self._left, f"task {sequence} is not in line"
        if self._marks is None:
            self._marks = {}
        self._marks[sequence] = self._marks.get(sequence, 0) + 1
        self._marked += 1
        self._clean()

    def _clean(self) -> None:
        """Drop marked tasks at the front, and all if they are the greater part."""
        marks = self._marks
        assert marks is not None
        while dead := marks.get(self._first):
            if dead == 1:
                del marks[self._first]
            else:
                marks[self._first] = dead - 1
            self._marked -= 1
            self._left -= 1
            self._first += 1
            if not self._left and self._behind:
                self._next_run()
        if not self._left:
            self._first = 0
        live = self._left + self._behind - self._marked
        if self._marked > live + SPARE_MARKS:
            self._rebuild(list(self.waiting()))
        if not self._marked:
            self._marks = None

    def _rebuild(self, waiting: list[int]) -> None:
        """Begin anew with these that did not come back, and no marks."""
        self._first = self._left = self._taken = self._behind = self._marked = 0
        self._blocks = []
        for sequence in waiting:
            self.append(sequence, 1)

    def returned(self) -> list[int]:
        """Return the tasks that came back, in order."""
        return [] if self._returned is None else sorted(self._returned.members)

    def waiting(self) -> Iterator[int]:
        """Yield the others, in order."""
        if self._marks is None:
            for run in self._runs():
                yield from run
            return
        marks = dict(self._marks)
        for run in self._runs():
            for sequence in run:
                if dead := marks.get(sequence):
                    marks[sequence] = dead - 1
                else:
                    yield sequence

    def _runs(self) -> Iterator[range]:
        yield range(self._first, self._first + self._left)
        start = self._taken
        for block in self._blocks:
            for run in block[start:]:
                first = run >> _RUN_BITS
                yield range(first, first + (run & _RUN_MASK))
            start = 0

    def __iter__(self) -> Iterator[int]:
        """Yield all in the order in which they would be given out."""
        yield from self.returned()
        yield from self.waiting()


class Starts:
    """The sequences of scheduled tasks, by the instant at which they become ready."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap = NumberHeap()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at_ms: int, sequence: int) -> None:
        """Enter a task that is not there with this instant."""
        self._heap.push(at_ms << SEQUENCE_BITS | sequence)

    def remove(self, at_ms: int, sequence: int) -> None:
        """Take out a task that is there with this instant."""
        self._heap.remove(at_ms << SEQUENCE_BITS | sequence)

    def next_ms(self) -> int | None:
        """Return the earliest instant."""
        first = self._heap.first()
        return first >> SEQUENCE_BITS if first else None

    def pop_due(self, now_ms: int) -> int:
        """Remove and return the first task of the earliest instant if that has come, or 0."""
        first = self._heap.first()
        if not first or first >> SEQUENCE_BITS > now_ms:
            return 0
        return self._heap.pop() & SEQUENCE_MAX

    def __iter__(self) -> Iterator[int]:
        """Yield all sequences, in no order."""
        return (entry & SEQUENCE_MAX for entry in self._heap)
