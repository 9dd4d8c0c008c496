"""When a replica looks next at what time alone brings: often while it works, seldom at rest.

A look at nothing, fifty times a second, would be most of what an idle node does. At rest the next
look is when the first thing falls due, and whatever happens meanwhile may bring it forward.
"""

import asyncio
from collections.abc import Callable
from typing import Final

BUSY_SECONDS: Final = 0.02
"""Between looks while something is under way."""
RESTING_SECONDS: Final = 0.1
"""The most between looks at rest; what is noticed by looking is then noticed so much later. Well
below the `STEP_MAX_MS` of the leader's clock, above which lease time is lost."""
_SOON_SECONDS: Final = 0.001
"""Not less, so that clocks that disagree a little cause no busy loop."""


class Timer:
    """Calls `look` once for each `plan`.

    Args:
        loop: The event loop.
        look: Looks, and plans the next look.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, look: Callable[[], None]) -> None:
        self._loop = loop
        self._look = look
        self._handle: asyncio.TimerHandle | None = None
        self._rests = False

    @property
    def is_open(self) -> bool:
        """Whether `plan` may change anything: no look is planned, or one from a rest."""
        return self._rests or self._handle is None

    def plan(self, due_seconds: float | None) -> None:
        """Plan the next look, or bring it forward; one that is planned is never put off.

        Args:
            due_seconds: Until the first thing falls due at rest; None while something is under way.
                What is overdue is not waited for: it is looked at as if something were under way.
        """
        self._rests = due_seconds is not None and due_seconds > 0
        seconds = BUSY_SECONDS
        if due_seconds is not None and due_seconds > 0:
            seconds = min(max(due_seconds, _SOON_SECONDS), RESTING_SECONDS)
        if self._handle is not None:
            if self._loop.time() + seconds >= self._handle.when():
                return
            self._handle.cancel()
        self._handle = self._loop.call_later(seconds, self._on_time)

    def cancel(self) -> None:
        """Look no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _on_time(self) -> None:
        self._handle = None
        self._rests = False
        self._look()
