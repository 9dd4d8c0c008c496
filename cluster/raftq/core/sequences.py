"""Sequences of tasks in compact form: a line, and a heap by instant.

At most eight bytes for a task in a line, and one Python integer for one with an instant: an object
for each would weigh more than the task's row.
"""

from array import array
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final

from raftq.core.id_table import SEQUENCE_MAX

_BLOCK: Final = 1_024
_SEQUENCE_BITS: Final = SEQUENCE_MAX.bit_length()
_RUN_BITS: Final = 64 - _SEQUENCE_BITS
_RUN_MASK: Final = 2**_RUN_BITS - 1


class Line:
    """The ready tasks of one priority: first those that came back, then the others.

    The others are kept as runs of consecutive sequences, each one number, in blocks, so that a
    line which grows or is used up never costs the copying of all of it.
    """

    __slots__ = ("_blocks", "_returned", "_taken")

    def __init__(self) -> None:
        self._returned: list[int] = []
        """A heap."""
        self._blocks: list[array[int]] = []
        """Of numbers: the first sequence of a run, then the length of it. None is used up."""
        self._taken = 0
        """How many runs of the first block are used up."""

    def append(self, first: int, count: int) -> None:
        """Add consecutive sequences at the end."""
        blocks = self._blocks
        if blocks:
            last = blocks[-1][-1]
            length = last & _RUN_MASK
            if (last >> _RUN_BITS) + length == first and length + count <= _RUN_MASK:
                blocks[-1][-1] = last + count
                return
        while count:
            run = min(count, _RUN_MASK)  # A longer one would spill into the sequence.
            if not blocks or len(blocks[-1]) >= _BLOCK:
                blocks.append(array("Q"))
            blocks[-1].append(first << _RUN_BITS | run)
            first, count = first + run, count - run

    def put_back(self, sequence: int) -> None:
        """Add a task that came back, before those that did not."""
        heappush(self._returned, sequence)

    def first(self) -> int:
        """Return the sequence at the front, or 0."""
        if self._returned:
            return self._returned[0]
        return self._blocks[0][self._taken] >> _RUN_BITS if self._blocks else 0

    def pop(self) -> int:
        """Remove and return the sequence at the front, or 0."""
        if self._returned:
            return heappop(self._returned)
        if not self._blocks:
            return 0
        block = self._blocks[0]
        run = block[self._taken]
        if run & _RUN_MASK > 1:
            block[self._taken] = run + (1 << _RUN_BITS) - 1  # One further on, one less.
        else:
            self._taken += 1
            if self._taken == len(block):
                del self._blocks[0]
                self._taken = 0
        return run >> _RUN_BITS

    def returned(self) -> list[int]:
        """Return the tasks that came back, in order."""
        return sorted(self._returned)

    def waiting(self) -> Iterator[int]:
        """Yield the others, in order."""
        start = self._taken
        for block in self._blocks:
            for run in block[start:]:
                first = run >> _RUN_BITS
                yield from range(first, first + (run & _RUN_MASK))
            start = 0


class Starts:
    """The sequences of scheduled tasks, by the instant at which they become ready.

    Nothing leaves before its instant: no move from scheduled leads elsewhere.
    """

    def __init__(self) -> None:
        self._heap: list[int] = []

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at_ms: int, sequence: int) -> None:
        """Enter a task."""
        heappush(self._heap, at_ms << _SEQUENCE_BITS | sequence)

    def next_ms(self) -> int | None:
        """Return the earliest instant."""
        return self._heap[0] >> _SEQUENCE_BITS if self._heap else None

    def pop_due(self, now_ms: int) -> int:
        """Remove and return the first task of the earliest instant if that has come, or 0."""
        heap = self._heap
        if not heap or heap[0] >> _SEQUENCE_BITS > now_ms:
            return 0
        return heappop(heap) & SEQUENCE_MAX

    def __iter__(self) -> Iterator[int]:
        """Yield all sequences, in no order."""
        return (entry & SEQUENCE_MAX for entry in self._heap)
