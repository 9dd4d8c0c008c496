"""The state hash: FNV-1a on integers; the same on every platform."""

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Final

from raftq.core.task import READY, SCHEDULED, STATE_NUMBERS
from raftq.protocol.messages import NewTask

FIRST: Final = 0xCBF29CE484222325
"""Of a state in which nothing has happened."""
_PRIME: Final = 0x100000001B3
_MASK: Final = 2**64 - 1
_NO_TOKEN: Final = _PRIME * _PRIME
"""Multiplying by this folds in what was just combined, and then a token of 0."""
_READY: Final = STATE_NUMBERS[READY]
_SCHEDULED: Final = STATE_NUMBERS[SCHEDULED]
_halves: Final = Struct(">QQ").unpack
"""The two numbers that an id is folded in as."""


def fold(value: int, numbers: Iterable[int]) -> int:
    """Return a hash with numbers folded in."""
    for number in numbers:
        value = (value ^ number) * _PRIME & _MASK
    return value


def fold_tasks(
    value: int,
    first_sequence: int,
    tasks: Sequence[NewTask],
    crcs: Sequence[int],
    wall_now_ms: int,
) -> int:
    """Return a hash with new tasks folded in.

    The same as `fold` of, for each: CRC, both halves of the id, priority, attempts_max, sequence,
    state, no token, and for a scheduled one its instant. Written out, because it is most of what
    an enqueue costs; bits above the mask change none below, so it is not applied each time.
    """
    for sequence, (new, crc) in enumerate(zip(tasks, crcs, strict=True), first_sequence):
        high, low = _halves(new.id)
        value = ((value ^ crc) * _PRIME ^ high) * _PRIME & _MASK
        value = ((value ^ low) * _PRIME & _MASK ^ new.priority) * _PRIME
        value = ((value ^ new.attempts_max) * _PRIME & _MASK ^ sequence) * _PRIME
        if new.delay_ms:
            value = (value ^ _SCHEDULED) * _NO_TOKEN & _MASK
            value = (value ^ (wall_now_ms + new.delay_ms)) * _PRIME & _MASK
        else:
            value = (value ^ _READY) * _NO_TOKEN & _MASK
    return value
