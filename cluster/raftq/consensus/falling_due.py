"""What of a machine has fallen due by a leader's clock, though no entry has brought the time."""

from math import inf

from raftq.consensus.leader_clock import LeaderClock
from raftq.core.machine import Machine


def time_is_due(machine: Machine, clock: LeaderClock) -> bool:
    """Tell whether the machine has something to do as soon as an entry brings the time."""
    lease_due_ms = machine.next_lease_deadline_ms()
    wall_due_at_ms = machine.next_wall_due_at_ms()
    lease_now_ms = machine.lease_now_ms + clock.pending_lease_ms
    is_lease_due = lease_due_ms is not None and lease_due_ms <= lease_now_ms
    return is_lease_due or (wall_due_at_ms is not None and wall_due_at_ms <= clock.wall_ms)


def schedule_is_due(machine: Machine, clock: LeaderClock) -> bool:
    """Tell whether a tick has come; only a command judges it, an entry without one does not."""
    next_at_ms = machine.next_schedule_at_ms()
    return next_at_ms is not None and next_at_ms <= clock.wall_ms


def due_seconds(machine: Machine, clock: LeaderClock) -> float:
    """Return how long it takes until one of these falls due, if no entry comes before.

    Lease time may stand still and wall time may be set, so it may be due later, or sooner.
    """
    lease_due_ms = machine.next_lease_deadline_ms()
    lease_now_ms = machine.lease_now_ms + clock.pending_lease_ms
    in_ms = inf if lease_due_ms is None else lease_due_ms - lease_now_ms
    at_ms = [machine.next_wall_due_at_ms(), machine.next_schedule_at_ms()]
    if at_ms != [None, None]:
        in_ms = min(in_ms, min(each for each in at_ms if each is not None) - clock.wall_ms)
    return in_ms / 1_000
