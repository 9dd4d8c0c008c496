"""What a check is told besides the records, and what it answers."""

from dataclasses import dataclass, field
from math import inf

from raftq.testing.history import Operation


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, with the calls that show it."""

    rule: str
    message: str
    operations: list[Operation] = field(default_factory=list[Operation])

    def __str__(self) -> str:
        return "\n    ".join([f"{self.rule}: {self.message}", *map(str, self.operations)])


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the harness did to clocks, and what it demands after the faults.

    Leave nothing out: a clock that ran wrong without being named here gives false alarms.
    """

    wall_error_ms: float = 0.0
    """The most by which one wall clock at one instant was ahead of another, or of itself, at
    another, real time subtracted: skews, drifts and steps together. From an hour on (the retention
    of outcomes) tasks may be forgotten at any time, and the rules that need memory rest."""
    lease_drift: float = 0.0
    """By which fraction a monotonic clock of a node may run faster than the harness's."""
    healed_at_ms: float | None = None
    """When the last fault ended; None if the run was never healed."""
    recovery_ms: float = inf
    """How soon after that a command must succeed."""
    quick_ms: float = 5.0
    """A call that was answered sooner was tried once: the pause before a second try is longer."""
    other_queues: frozenset[str] = frozenset()
    """Queues that are used by clients whose calls are not in the history."""
    call_life_ms: float = inf
    """No copy of a call is alive in the cluster or the network for longer than this."""
