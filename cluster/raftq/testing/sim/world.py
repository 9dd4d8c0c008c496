"""The world: one virtual clock, one queue of events, one seed.

Owns the order in which things happen. Does not own what happens. Invariants: nothing here or
above reads a real clock, sleeps, or draws a number from anything but the seed, so the same seed
gives the same run, byte for byte, on every machine.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftq.testing.sim.loop import Process

WALL_AT_MS = 1_800_000_000_000
"""The wall clock, milliseconds since 1970, when a world begins."""

_LOOK_SECONDS = 0.005


class World:
    """Virtual time and everything that is due.

    Args:
        seed: Decides everything.
    """

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.now = 0.0
        """Seconds since the world began."""
        self.current: Process | None = None
        """The process whose code runs at this moment."""
        self.processes: list[Process] = []
        """Every process that ever lived, so that the end of the world can end them in order."""
        self.trace: list[str] = []
        """What happened, one line each, readable."""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._until = 0.0

    def chance(self, purpose: str) -> Random:
        """Return a source of chance for one purpose; others are not changed by its use."""
        return Random(f"{self.seed}/{purpose}")

    @property
    def now_ms(self) -> float:
        """Milliseconds since the world began."""
        return self.now * 1_000

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do something at an instant, or now if that has passed."""
        self._sequence += 1
        heappush(self._events, (max(when, self.now), self._sequence, action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later."""
        self.at(self.now + seconds, action)

    def note(self, text: str) -> None:
        """Write a line into the trace."""
        self.trace.append(f"{self.now:10.6f} {text}")

    def run(self, until: float, is_over: Callable[[], bool] = lambda: False) -> None:
        """Let everything happen that is due before an instant, or until a condition holds.

        The condition is looked at every few milliseconds.
        """
        events = self._events
        look_at = self.now
        self._until = until
        while events and events[0][0] <= until:
            if events[0][0] >= look_at:
                if is_over():
                    return
                look_at = self.now + _LOOK_SECONDS
            self.now, _, action = heappop(events)
            action()
        self.now = max(self.now, until)

    def skip_to(self, when: float) -> bool:
        """Move on to an instant, unless something is due before it."""
        if when > self._until or (self._events and self._events[0][0] <= when):
            return False
        self.now = max(self.now, when)
        return True

    def end(self) -> None:
        """End every process, so that nothing of this world runs when its objects are freed."""
        self._events.clear()
        for process in self.processes:
            process.bury()
        self.processes.clear()
