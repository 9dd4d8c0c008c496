"""Wall clocks that are a day wrong.

One wrong clock in three must move nothing, because the log's wall time is the voters' median. So
the verdict makes no allowance for it: a delayed task that starts early, or never, is a violation.
"""

from typing import Final

from raftq.testing.chaos.arena import Arena
from raftq.testing.chaos.faults.fault import Fault, Need

_DAY_SECONDS: Final = 86_400.0
_SHIM: Final = frozenset({Need.SHIM})


def _step(arena: Arena, round_number: int, seconds: float) -> None:
    """Step the clock of the leader, or of a follower that is then one of the two nodes left."""
    leader = arena.leader()
    node = leader if round_number % 2 == 0 else arena.followers()[0]
    assert node.shim is not None
    for offset in (seconds, 0.0, seconds):
        arena.note(f"the clock of {node.id} is off by {offset:g} s")
        node.shim.step_clock(offset)
        arena.hold(2.0)
    if leader is not node:
        arena.note(f"{leader.id} is killed")
        leader.kill_at_once()
        arena.hold(2.5)
        leader.start()
        arena.hold(1.0)


def clock_ahead(arena: Arena, round_number: int) -> None:
    """Set the clock of one node a day ahead, right, and ahead again."""
    _step(arena, round_number, _DAY_SECONDS)


def clock_behind(arena: Arena, round_number: int) -> None:
    """Set the clock of one node back by a day, right, and back again."""
    _step(arena, round_number, -_DAY_SECONDS)


FAULTS: Final = (
    Fault("clock-ahead", "the wall clock of one node steps a day ahead", clock_ahead, _SHIM),
    Fault(
        "clock-behind",
        "the wall clock of one node steps a day back",
        clock_behind,
        _SHIM,
        # With the leader gone, the time goes on from what the next one had applied by then.
        wall_error_ms=400.0,
    ),
)
