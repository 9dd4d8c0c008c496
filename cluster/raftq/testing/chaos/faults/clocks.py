"""Wall clocks that are a day wrong."""

from typing import Final

from raftq.testing.chaos.arena import Arena
from raftq.testing.chaos.faults.fault import Fault, Need

_DAY_SECONDS: Final = 86_400.0
_SHIM: Final = frozenset({Need.SHIM})


def _step(arena: Arena, round_number: int, seconds: float) -> None:
    node = arena.leader() if round_number % 2 == 0 else arena.followers()[0]
    assert node.shim is not None
    arena.note(f"the clock of {node.id} steps by {seconds:g} s")
    arena.wall_error_ms = abs(seconds) * 1_000
    node.shim.step_clock(seconds)
    arena.hold(2.5)
    if arena.leader() is not node:
        other = arena.leader()
        arena.note(f"{other.id} is killed, so that {node.id} may lead")
        other.kill_at_once()
        arena.hold(1.5)
        other.start()
        arena.hold(1.0)


def clock_ahead(arena: Arena, round_number: int) -> None:
    """Set the clock of one node a day ahead; then the others follow it, because the log's wall time
    never goes back: else delayed tasks would wait for a day."""
    _step(arena, round_number, _DAY_SECONDS)
    for node in arena.nodes:
        assert node.shim is not None
        node.shim.step_clock(_DAY_SECONDS)


def clock_behind(arena: Arena, round_number: int) -> None:
    """Set the clock of one node back by a day, then right again."""
    _step(arena, round_number, -_DAY_SECONDS)
    for node in arena.nodes:
        assert node.shim is not None
        node.shim.step_clock(0)


FAULTS: Final = (
    Fault("clock-ahead", "the wall clock of one node steps a day ahead", clock_ahead, _SHIM),
    Fault("clock-behind", "the wall clock of one node steps a day back", clock_behind, _SHIM),
)
