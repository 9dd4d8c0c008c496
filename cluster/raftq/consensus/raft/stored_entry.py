"""A log entry whose command is read from the disk when somebody asks for it."""

from collections.abc import Callable
from typing import TypeAlias

from raftq.storage.journal import JournalEntry


class StoredEntry:
    """Looks like a `JournalEntry`.

    PySyncObj asks for many entries only to see their indexes and terms.
    """

    __slots__ = ("_read", "index", "term")

    def __init__(self, index: int, term: int, read: Callable[[int], bytes]) -> None:
        self.index = index
        self.term = term
        self._read = read

    @property
    def command(self) -> bytes:
        """The command, read anew each time."""
        return self._read(self.index)

    def __getitem__(self, position: int) -> bytes | int:
        if position == 1:
            return self.index
        return self.term if position == 2 else self.command

    def __eq__(self, other: object) -> bool:
        """Compare with an entry of any kind."""
        if not isinstance(other, JournalEntry | StoredEntry):
            return NotImplemented
        is_same_place = (self.index, self.term) == (other.index, other.term)
        return is_same_place and self.command == other.command

    def __hash__(self) -> int:
        return hash((self.index, self.term))


LogEntry: TypeAlias = JournalEntry | StoredEntry
