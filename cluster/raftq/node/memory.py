"""Giving memory back that the C library keeps.

Payloads and frames come and go in sizes for which glibc keeps freed pages: after a burst a node
with a few megabytes of caches stayed 60 MB larger for ever. Asked for it, glibc gives all of them
back, in some milliseconds.
"""

import asyncio
import ctypes
from collections.abc import Callable
from typing import Final

TRIM_SECONDS: Final = 5.0


def _find_trim() -> Callable[[int], int] | None:
    """Return glibc's malloc_trim; None with another C library."""
    found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return found


class MemoryTrimmer:
    """Trims every few seconds, on the running loop, until it is stopped."""

    def __init__(self) -> None:
        self._trim = _find_trim()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Trim from now on, if this C library can."""
        if self._trim is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(TRIM_SECONDS, self._run, self._trim)

    def _run(self, trim: Callable[[int], int]) -> None:
        trim(0)
        self.start()

    def stop(self) -> None:
        """End it."""
        if self._timer is not None:
            self._timer.cancel()
