"""Only what was enqueued exists, and it is what was enqueued."""

from collections.abc import Iterator, Mapping
from math import inf

from raftq.core.machine import Machine
from raftq.protocol.calls import LeaseCall
from raftq.protocol.commands import Enqueue
from raftq.protocol.statuses import TaskStatus
from raftq.testing.checks.timeline import Timeline
from raftq.testing.checks.verdict import Violation
from raftq.testing.checks.views import Creation, Grant, TaskView, status_of
from raftq.testing.history import Operation


def check_existence(timeline: Timeline) -> Iterator[Violation]:
    """A task that is delivered or read was enqueued before, like that, into that queue."""
    for task in timeline.tasks.values():
        for grant in task.grants:
            creations = task.possible_creations(grant.known_by_ms)
            if not creations:
                yield _phantom(task, "delivered", grant.operation)
                continue
            yield from _content(task, grant, creations)
        for read in task.reads:
            status = status_of(read)
            if status is None:
                continue
            creations = task.possible_creations(read.ended_at_ms or inf)
            if not creations:
                yield _phantom(task, "read", read)
            elif not any(_is_like(status, each) for each in creations):
                text = f"{task.name} was read with other settings than it was enqueued with"
                yield Violation("wrong-settings", text, [creations[0].operation, read])


def _phantom(task: TaskView, how: str, operation: Operation) -> Violation:
    if not task.creations:
        return Violation("phantom", f"{task.name} was {how} and never enqueued", [operation])
    first = task.creations[0].operation
    rule = "phantom" if task.possible_creations() else "failed-enqueue-visible"
    why = "before it was enqueued" if task.possible_creations() else "though its enqueue failed"
    return Violation(rule, f"{task.name} was {how} {why}", [first, operation])


def _content(task: TaskView, grant: Grant, creations: list[Creation]) -> Iterator[Violation]:
    for operation, leased in grant.replies:
        assert isinstance(operation.call, LeaseCall)
        if all(each.new.payload != leased.payload for each in creations):
            text = f"{task.name} was delivered with another payload than it was enqueued with"
            yield Violation("wrong-payload", text, [creations[0].operation, operation])
        is_asked = leased.queue in operation.call.queues
        if not is_asked or all(each.queue != leased.queue for each in creations):
            text = f"{task.name} was delivered from the queue {leased.queue}"
            yield Violation("wrong-queue", text, [creations[0].operation, operation])


def _is_like(status: TaskStatus, creation: Creation) -> bool:
    new = creation.new
    return (status.queue, status.priority, status.attempts_max) == (
        creation.queue,
        new.priority,
        new.attempts_max,
    )


def check_batches(
    timeline: Timeline, machines: Mapping[str, Machine], newest: str | None
) -> Iterator[Violation]:
    """All tasks of one enqueue exist at the end, or none."""
    if newest is None or timeline.may_forget:
        return
    for operation in timeline.operations:
        call = operation.call
        if not isinstance(call, Enqueue) or len(call.tasks) == 1:
            continue
        alone = [new.id for new in call.tasks if len(timeline.task(new.id).creations) == 1]
        found = [machines[newest].task(task_id) is not None for task_id in alone]
        if any(found) and not all(found):
            text = f"{sum(found)} of {len(found)} tasks of one enqueue exist on {newest}"
            yield Violation("torn-batch", text, [operation])
