"""Random integers of the operating system, fetched in blocks.

A system call for each id costs more than everything else about an id. Not safe on several threads
at a time. A forked process fetches a block of its own, so that no two processes make equal ids.
"""

import os
from typing import Final

_BLOCK_BYTES: Final = 4_096


class _Process:
    """Counts the forks that led to this process."""

    forks = 0


def _on_fork() -> None:
    _Process.forks += 1


os.register_at_fork(after_in_child=_on_fork)


class RandomBits:
    """Returns integers of so many random bits."""

    def __init__(self) -> None:
        self._block = b""
        self._at = 0
        self._forks = _Process.forks

    def __call__(self, bits: int) -> int:
        """Return an integer of at most `bits` bits, up to some hundreds."""
        size = (bits + 7) // 8
        if self._at + size > len(self._block) or self._forks != _Process.forks:
            self._block = os.urandom(_BLOCK_BYTES)
            self._at = 0
            self._forks = _Process.forks
        begin, self._at = self._at, self._at + size
        return int.from_bytes(self._block[begin : self._at], "big") >> (8 * size - bits)
