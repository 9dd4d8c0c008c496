"""The newest commands of the log, in memory: what followers and the next applies need now."""

from typing import Final

from raftq.protocol import limits

_OVERHEAD_BYTES: Final = 150
"""Of one command in memory, roughly."""


class NewestCommands:
    """An unbroken run of commands that ends with the newest, bounded in bytes.

    A command that is not written yet is kept whatever its size: it is nowhere else.
    """

    def __init__(self) -> None:
        self._commands: dict[int, bytes] = {}
        self._first = 0
        """Index of the oldest; a dict searches for its first key past all emptied places."""
        self._bytes = 0

    def get(self, index: int) -> bytes | None:
        """Return a command if it is in memory."""
        return self._commands.get(index)

    def add(self, index: int, command: bytes, written_index: int) -> None:
        """Add the newest command, and let the oldest go that are written."""
        if not self._commands:
            self._first = index
        assert index == self._first + len(self._commands), f"command {index} leaves a gap"
        self._commands[index] = command
        self._bytes += len(command) + _OVERHEAD_BYTES
        while self._bytes > limits.LOG_CACHE_BYTES and self._first <= written_index:
            self._forget_first()

    def cut_from(self, index: int) -> None:
        """Forget the commands from an index on."""
        while self._commands and (newest := self._first + len(self._commands) - 1) >= index:
            self._forget(newest)

    def drop_before(self, index: int) -> None:
        """Forget the commands before an index."""
        while self._commands and self._first < index:
            self._forget_first()

    def _forget_first(self) -> None:
        self._forget(self._first)
        self._first += 1

    def _forget(self, index: int) -> None:
        self._bytes -= len(self._commands.pop(index)) + _OVERHEAD_BYTES
