"""Calls from other threads into an event loop, many of them for one wake-up.

Waking a loop costs a system call and a change of threads. Calls that come while the loop has not
yet looked join those that it was woken for.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class Crossing:
    """The way into one loop. Calls are executed in the order in which they came."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._is_woken = False

    def call(self, *functions: Callable[[], None]) -> None:
        """Have the loop call functions; safe on any thread. Nothing happens on a closed loop."""
        self._calls.extend(functions)
        if not self._is_woken:
            self._is_woken = True
            try:
                self._loop.call_soon_threadsafe(self._call_all)
            except RuntimeError:
                self._calls.clear()  # The loop is closed: nobody is left to be told.
            except BaseException:  # This thread's run was interrupted, like at its time limit.
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._call_all)  # Others rely on it.
                raise

    def _call_all(self) -> None:
        # Before the calls are taken: one that comes now either is taken or wakes the loop again.
        self._is_woken = False
        calls = self._calls
        for _ in range(len(calls)):
            calls.popleft()()


class Gathering:
    """A crossing as it is used from another loop: what that loop sends in one turn crosses once.

    Without it, the first call of many would wake the other thread, which would take the
    interpreter's lock from the one that has more to say: thirty changes of threads for a hundred
    tasks, and twice the time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, crossing: Crossing) -> None:
        self._loop = loop
        self._crossing = crossing
        self._calls: list[Callable[[], None]] = []

    def call(self, function: Callable[[], None]) -> None:
        """Have the other loop call a function; only on this side's own loop."""
        if not self._calls:
            self._loop.call_soon(self._cross)
        self._calls.append(function)

    def _cross(self) -> None:
        calls, self._calls = self._calls, []
        self._crossing.call(*calls)
