"""A heap of integers from which any can be taken out.

What is taken out from the middle is marked only, and dropped when it comes to the front or when
the marks outnumber the rest: memory follows what is there.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Final

SPARE_MARKS: Final = 1_000
"""So many marks are never worth a clean-up."""


class NumberHeap:
    """Integers above 0, each there at most once, smallest first."""

    __slots__ = ("_heap", "_removed")

    def __init__(self) -> None:
        self._heap: list[int] = []
        """The first is never a removed one."""
        self._removed: set[int] = set()

    def __len__(self) -> int:
        return len(self._heap) - len(self._removed)

    def push(self, number: int) -> None:
        """Add a number that is not there."""
        if self._removed and number in self._removed:
            self._removed.remove(number)
        else:
            heappush(self._heap, number)

    def first(self) -> int:
        """Return the smallest number, or 0."""
        return self._heap[0] if self._heap else 0

    def pop(self) -> int:
        """Remove and return the smallest number; there must be one."""
        number = heappop(self._heap)
        if self._removed:
            self._clean()
        return number

    def remove(self, number: int) -> None:
        """Remove a number that is there."""
        assert self._heap, "nothing is left to remove"
        if number == self._heap[0]:
            self.pop()
            return
        assert number not in self._removed, "a number is removed twice"
        self._removed.add(number)
        self._clean()

    def _clean(self) -> None:
        """Drop removed numbers at the front, and all if they are the greater part."""
        heap, removed = self._heap, self._removed
        while heap and heap[0] in removed:
            removed.remove(heappop(heap))
        if len(removed) > len(self) + SPARE_MARKS:
            self._heap = [number for number in heap if number not in removed]
            heapify(self._heap)
            self._removed = set()

    def __iter__(self) -> Iterator[int]:
        """Yield all numbers, in no order."""
        removed = self._removed
        return (number for number in self._heap if number not in removed)
