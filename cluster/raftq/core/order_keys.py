"""The lines of order keys: the first task of a line holds the key, the others are blocked.

A task keeps its place from when it enters until it is over.
"""

from collections import OrderedDict
from collections.abc import Iterator


class OrderKeys:
    """Sequences by key, in the order in which they entered."""

    def __init__(self) -> None:
        self._lines: dict[str, OrderedDict[int, None]] = {}

    def enter(self, key: str, sequence: int) -> bool:
        """Give a task a place, unless it has one; tell whether it holds the key."""
        line = self._lines.setdefault(key, OrderedDict())
        line.setdefault(sequence)
        return next(iter(line)) == sequence

    def leave(self, key: str, sequence: int) -> int:
        """Take a task that is over out; return who holds the key because of that, or 0."""
        line = self._lines.get(key)
        if line is None or sequence not in line:
            return 0
        was_holder = next(iter(line)) == sequence
        del line[sequence]
        if not line:
            del self._lines[key]
            return 0
        return next(iter(line)) if was_holder else 0

    def holder(self, key: str) -> int:
        """Return who holds a key, or 0."""
        line = self._lines.get(key)
        return next(iter(line)) if line else 0

    def before(self, key: str, sequence: int) -> int:
        """Return how many stand before a task; by a scan."""
        line = self._lines.get(key) or OrderedDict[int, None]()
        return next((count for count, each in enumerate(line) if each == sequence), 0)

    def __iter__(self) -> Iterator[tuple[str, list[int]]]:
        """Yield (key, sequences) of every line, by key."""
        for key in sorted(self._lines):
            yield key, list(self._lines[key])

    def restore(self, key: str, sequences: list[int]) -> None:
        """Enter a line, or the next part of it, as it was yielded."""
        self._lines.setdefault(key, OrderedDict()).update(dict.fromkeys(sequences))
