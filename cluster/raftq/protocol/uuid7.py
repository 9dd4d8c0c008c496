"""UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, then randomness that grows within one of them.

Ids that sort by time keep the tasks of one producer in order. Clock and randomness are given, so
that a simulator can give its own. (Python has uuid7 from 3.14 on.)
"""

from collections.abc import Callable
from typing import Final

_RANDOM_BITS: Final = 74
_RANDOM_MASK: Final = (1 << _RANDOM_BITS) - 1
_STEP_BITS: Final = 32


class Uuid7:
    """Makes ids; each is greater than the one before.

    Args:
        wall_ms: Wall clock, milliseconds since 1970.
        random_bits: Returns an integer of that many random bits.
    """

    def __init__(self, wall_ms: Callable[[], int], random_bits: Callable[[int], int]) -> None:
        self._wall_ms = wall_ms
        self._random_bits = random_bits
        self._last_ms = -1
        self._last_random = 0

    def __call__(self) -> bytes:
        """Return a new id, 16 bytes."""
        now_ms = max(self._wall_ms(), 0)  # A clock before 1970 has no place in an id.
        if now_ms > self._last_ms:
            self._last_ms = now_ms
            self._last_random = self._random_bits(_RANDOM_BITS)
        else:  # The same millisecond, or a clock that was set back: count on from the last id.
            self._last_random += 1 + self._random_bits(_STEP_BITS)
            if self._last_random > _RANDOM_MASK:
                self._last_ms += 1
                self._last_random = self._random_bits(_RANDOM_BITS)
        high, low = self._last_random >> 62, self._last_random & ((1 << 62) - 1)
        value = self._last_ms << 80 | 7 << 76 | high << 64 | 2 << 62 | low
        return value.to_bytes(16, "big")
