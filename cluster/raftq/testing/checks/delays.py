"""A delayed task is never early."""

from collections.abc import Iterator
from math import inf

from raftq.protocol.commands import RequeueItem
from raftq.testing.checks.timeline import Timeline
from raftq.testing.checks.verdict import Violation
from raftq.testing.checks.views import Grant, Kind, TaskView
from raftq.testing.history import Operation


def check_delays(timeline: Timeline) -> Iterator[Violation]:
    """No lease of a task is granted before the delay of its enqueue or requeue is over.

    A delay counts in wall time from the log entry, which is younger than the call; the wall clocks
    of two leaders may differ by what the bounds say.
    """
    for task in timeline.tasks.values():
        due = _enqueue_due(task)
        for grant in task.grants:
            if due is not None:
                due_at_ms, cause = due
                if grant.known_by_ms < due_at_ms - timeline.bounds.wall_error_ms:
                    yield Violation(
                        "early",
                        f"{task.name} was leased by {grant.known_by_ms:g} ms; it was not due "
                        f"before {due_at_ms:g} ms",
                        [cause, grant.operation],
                    )
            due = _later(due, _requeue_due(grant))


def _enqueue_due(task: TaskView) -> tuple[float, Operation] | None:
    """Return when a task is due at the earliest, whichever of its enqueues created it."""
    creations = task.possible_creations()
    if any(each.new.delay_ms == 0 for each in creations):
        return None
    dues = [
        (each.operation.invoked_at_ms + each.new.delay_ms, each.operation) for each in creations
    ]
    return min(dues, key=lambda each: each[0], default=None)


def _requeue_due(grant: Grant) -> tuple[float, Operation] | None:
    """Return when a task that was given back is due again, if it certainly was given back."""
    if not any(grant.accepted(Kind.REQUEUE)):
        return None
    dues = [
        (each.operation.invoked_at_ms + each.item.delay_ms, each.operation)
        for each in grant.possible(Kind.REQUEUE)
        if isinstance(each.item, RequeueItem)
    ]
    return min(dues, key=lambda each: each[0])


def _later(
    one: tuple[float, Operation] | None, other: tuple[float, Operation] | None
) -> tuple[float, Operation] | None:
    return max((one, other), key=lambda each: -inf if each is None else each[0])
