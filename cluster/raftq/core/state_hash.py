"""The state hash: FNV-1a on integers; the same on every platform.

A number is folded in by `(hash ^ number) * PRIME & MASK`. Bits above the mask change none below, so
what folds in many numbers at once leaves it out now and then.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

from raftq.core.task import LEASED, READY, SCHEDULED, STATE_NUMBERS
from raftq.protocol.options import NewTask

FIRST: Final = 0xCBF29CE484222325
"""Of a state in which nothing has happened."""
PRIME: Final = 0x100000001B3
MASK: Final = 2**64 - 1
_NO_TOKEN: Final = PRIME * PRIME
"""Multiplying by this folds in what was just combined, and then a token of 0."""
_READY: Final = STATE_NUMBERS[READY]
_SCHEDULED: Final = STATE_NUMBERS[SCHEDULED]
_LEASED: Final = STATE_NUMBERS[LEASED]
_halves: Final = Struct(">QQ").unpack
"""The two numbers that an id is folded in as."""


def fold_lease(value: int, sequence: int, token: int, deadline_ms: int) -> int:
    """Return a hash with a granted lease folded in: sequence, state, token, deadline."""
    value = ((value ^ sequence) * PRIME & MASK ^ _LEASED) * PRIME
    return ((value ^ token) * PRIME & MASK ^ deadline_ms) * PRIME & MASK


def fold_move(value: int, sequence: int, state: int, token: int) -> int:
    """Return a hash with a task's new state folded in."""
    value = ((value ^ sequence) * PRIME & MASK ^ state) * PRIME
    return (value ^ token) * PRIME & MASK


def fold_tasks(
    value: int,
    first_sequence: int,
    tasks: Sequence[NewTask],
    crcs: Sequence[int],
    wall_now_ms: int,
) -> int:
    """Return a hash with new tasks folded in.

    Of each: CRC, both halves of the id, priority, attempts_max, sequence, state, token (0), and of
    a scheduled one its instant.
    """
    for sequence, (new, crc) in enumerate(zip(tasks, crcs, strict=True), first_sequence):
        high, low = _halves(new.id)
        value = ((value ^ crc) * PRIME ^ high) * PRIME & MASK
        value = ((value ^ low) * PRIME & MASK ^ new.priority) * PRIME
        value = ((value ^ new.attempts_max) * PRIME & MASK ^ sequence) * PRIME
        if new.delay_ms:
            value = (value ^ _SCHEDULED) * _NO_TOKEN & MASK
            value = (value ^ (wall_now_ms + new.delay_ms)) * PRIME & MASK
        else:
            value = (value ^ _READY) * _NO_TOKEN & MASK
    return value
