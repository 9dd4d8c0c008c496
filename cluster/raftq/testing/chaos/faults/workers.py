"""Workers that die or freeze in the middle of their tasks."""

from typing import Final

from raftq.testing.chaos.arena import Arena, Plan
from raftq.testing.chaos.faults.fault import Fault

_WITH_VICTIM: Final = Plan(workers_apart=True)


def kill_workers(arena: Arena, _round: int) -> None:
    """Kill workers again and again, while they have tasks."""
    victim = arena.client("victim")
    for life in range(2, 5):
        arena.hold(arena.random.uniform(0.5, 1.5))
        arena.note(f"{victim.name} is killed")
        victim.kill()
        victim = arena.start_client(f"victim{life}", "worker,worker,runner", arena.nodes[-1])
    arena.hold(1.0)


def freeze_workers(arena: Arena, _round: int) -> None:
    """Freeze workers for longer than their leases last: then they ack what is another's."""
    victim = arena.client("victim")
    for _ in range(3):
        arena.note(f"{victim.name} is frozen")
        victim.pause()
        arena.hold(arena.plan.load.lease * arena.random.uniform(1.2, 2.0))
        victim.resume()
        arena.hold(0.8)


FAULTS: Final = (
    Fault("kill-workers", "SIGKILL of workers in mid-task", kill_workers, plan=_WITH_VICTIM),
    Fault(
        "freeze-workers", "SIGSTOP of workers past their leases", freeze_workers, plan=_WITH_VICTIM
    ),
)
