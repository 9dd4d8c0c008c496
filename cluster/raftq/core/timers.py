"""Things that fall due: a heap with lazy removal and a bound on its garbage."""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

_GARBAGE_MAX: Final = 1_000
"""Obsolete entries beyond the number of live ones after which the heap is rebuilt."""


class Timers(Generic[Item]):
    """Items by instant and number; an item whose instant changed leaves its old entry behind.

    Args:
        due_of: Returns (instant in ms, number) of an item as it is now, or None if nothing of it
            falls due any more. The number is the item's own. Entries that differ are skipped.
    """

    def __init__(self, due_of: Callable[[Item], tuple[int, int] | None]) -> None:
        self._due_of = due_of
        self._heap: list[tuple[int, int, int, Item]] = []
        self._entries = 0  # Numbers equal entries, so that items are never compared.
        self.live = 0
        """How many items have a valid entry; kept by the owner through `add` and `forget`."""

    def add(self, at_ms: int, number: int, item: Item) -> None:
        """Enter an item that had no entry, with what `due_of` returns of it."""
        self.live += 1
        self.move(at_ms, number, item)

    def move(self, at_ms: int, number: int, item: Item) -> None:
        """Enter the new instant of an item; its old entry becomes obsolete."""
        self._entries += 1
        heappush(self._heap, (at_ms, number, self._entries, item))
        if len(self._heap) > 2 * self.live + _GARBAGE_MAX:
            self._rebuild()

    def _rebuild(self) -> None:
        """Keep one entry of each item: one that was moved away and back has several."""
        valid = {entry[:2]: entry for entry in self._heap if self._is_valid(entry)}
        self._heap = list(valid.values())
        heapify(self._heap)

    def forget(self) -> None:
        """Count one item less: nothing of it falls due any more."""
        self.live -= 1

    def next_ms(self) -> int | None:
        """Return the earliest instant at which something falls due."""
        heap = self._heap
        while heap and not self._is_valid(heap[0]):
            heappop(heap)
        return heap[0][0] if heap else None

    def pop_due(self, now_ms: int) -> Item | None:
        """Remove and return the earliest item due by `now_ms`, or None."""
        next_ms = self.next_ms()
        if next_ms is None or next_ms > now_ms:
            return None
        self.live -= 1
        return heappop(self._heap)[3]

    def _is_valid(self, entry: tuple[int, int, int, Item]) -> bool:
        return self._due_of(entry[3]) == entry[:2]
