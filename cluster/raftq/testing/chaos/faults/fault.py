"""What a fault is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from raftq.testing.chaos.arena import Arena, Plan


class Need(StrEnum):
    """What a fault needs of the machine."""

    NETWORK = "network namespaces"
    DISKS = "loop-mounted disks"
    SHIM = "a C compiler"


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which things go wrong.

    `act` makes it, under load, and may leave it standing: the round heals everything after.
    """

    name: str
    summary: str
    act: Callable[[Arena, int], None]
    """Called with the arena and the number of the round, which chooses among variants."""
    needs: frozenset[Need] = frozenset()
    plan: Plan = field(default_factory=Plan)
    recovery_ms: float = 10_000.0
    """Once healed, a command is committed within this time."""
    wall_error_ms: float = 50.0
    """By so much wall time may be off: a node tells its clock with each heartbeat."""
