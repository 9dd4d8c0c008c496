"""Random integers of the operating system, fetched in blocks.

A system call for each id costs more than everything else about an id. Not safe on several threads
at a time. A forked process fetches a block of its own, so that no two processes make equal ids.
"""

import os
from array import array
from typing import Final

_BLOCK_BYTES: Final = 4_096
_WORD: Final = "I"
_WORD_BITS: Final = 8 * array(_WORD).itemsize


class _Process:
    """Counts the forks that led to this process."""

    forks = 0


def _on_fork() -> None:
    _Process.forks += 1


os.register_at_fork(after_in_child=_on_fork)


class RandomBits:
    """Returns integers of so many random bits."""

    def __init__(self) -> None:
        self._words = iter(array(_WORD))
        self._forks = _Process.forks

    def __call__(self, bits: int) -> int:
        """Return an integer of so many bits."""
        value = 0
        missing = bits
        while missing > 0:
            value = value << _WORD_BITS | self._word()
            missing -= _WORD_BITS
        return value >> -missing

    def _word(self) -> int:
        word = next(self._words, None) if self._forks == _Process.forks else None
        if word is None:
            self._words = iter(array(_WORD, os.urandom(_BLOCK_BYTES)))
            self._forks = _Process.forks
            word = next(self._words)
        return word
