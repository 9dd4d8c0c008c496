"""Linearizable reads of a task reflect what was acknowledged before they began.

Tasks are independent, and almost everything about one only grows: its token, its failures, its
crashes. So instead of searching for an order of all calls it is enough to hold each read between
what had certainly happened before it began and what may have happened before it ended.
"""

from collections.abc import Iterator
from math import inf

from raftq.protocol.calls import TaskCall
from raftq.protocol.errors import UnknownTask
from raftq.protocol.fields import Consistency, TaskState
from raftq.protocol.statuses import TaskStatus
from raftq.testing.checks.timeline import Timeline
from raftq.testing.checks.verdict import Violation
from raftq.testing.checks.views import Grant, Kind, Settling, TaskView, linearizable_reads
from raftq.testing.history import Operation


def check_reads(timeline: Timeline) -> Iterator[Violation]:
    """No linearizable read of a task is stale, or ahead of what may have happened."""
    for task in timeline.tasks.values():
        yield from _missed(timeline, task)
        if timeline.may_forget:
            continue  # After it was forgotten the task may begin anew.
        reads = list(linearizable_reads(task))
        for read, status in reads:
            for text, cause in _contradictions(timeline, task, read, status):
                yield Violation("stale-read", f"{task.name} {text}", [*cause, read])
        yield from _went_back(task, reads)


def _missed(timeline: Timeline, task: TaskView) -> Iterator[Violation]:
    created = task.acknowledged
    if created is None:
        return
    for read in task.reads:
        assert isinstance(read.call, TaskCall)
        is_missed = (
            read.error_code == UnknownTask.code
            and read.call.consistency is Consistency.LINEARIZABLE
            and created.operation.ended_before(read)
        )
        is_forgotten = timeline.may_forget and any(task.possible_acks())
        if is_missed and not is_forgotten:
            text = f"{task.name} was acknowledged, and then unknown"
            yield Violation("stale-read", text, [created.operation, read])


def _contradictions(
    timeline: Timeline, task: TaskView, read: Operation, status: TaskStatus
) -> Iterator[tuple[str, list[Operation]]]:
    begun_ms, ended_ms = read.invoked_at_ms, read.ended_at_ms or inf
    token = status.token or 0
    for grant in task.grants:
        if grant.known_by_ms < begun_ms and grant.token > token:
            yield f"had been leased with {grant.token}, and shows {status.token}", [grant.operation]
        if grant.granted_from_ms > ended_ms and grant.token <= token:
            yield f"shows {token} before that was granted", [grant.operation]
        if grant.token == token:
            yield from _of_lease(timeline, grant, read, status)
    failed = [g for g in task.grants if any(e.operation.ended_before(read) for e in _fails(g))]
    if status.failures < len(failed):
        text = f"had failed {len(failed)} times, and shows {status.failures}"
        yield text, [grant.operation for grant in failed]
    possible = sum(any(g.possible(Kind.FAIL, before_ms=ended_ms)) for g in task.grants)
    if status.failures > possible and not timeline.blind:
        yield f"shows {status.failures} failures of {possible} that were reported", []


def _fails(grant: Grant) -> Iterator[Settling]:
    return grant.accepted(Kind.FAIL)


def _of_lease(
    timeline: Timeline, grant: Grant, read: Operation, status: TaskStatus
) -> Iterator[tuple[str, list[Operation]]]:
    """Compare a read that shows a lease as the newest with what became of that lease."""
    ended_ms = read.ended_at_ms or inf
    for each in grant.accepted(Kind.ACK, Kind.FAIL, Kind.REQUEUE):
        if not each.operation.ended_before(read):
            continue
        if status.state is TaskState.LEASED:
            yield f"shows a lease that had ended by {each.kind}", [each.operation]
        if each.kind is Kind.ACK and status.state is not TaskState.DONE:
            yield f"is {status.state} after its ack", [each.operation]
    is_released = grant.may_be_released(ended_ms)
    is_running = ended_ms < grant.valid_until_ms(timeline.bounds) and not is_released
    if is_running and status.state is not TaskState.LEASED:
        yield f"is {status.state} while its newest lease runs", [grant.operation]
    if status.state is TaskState.SCHEDULED and not any(
        grant.possible(Kind.REQUEUE, before_ms=ended_ms)
    ):
        yield "is scheduled, and was not given back", [grant.operation]


def _went_back(task: TaskView, reads: list[tuple[Operation, TaskStatus]]) -> Iterator[Violation]:
    """Of two reads that do not overlap, the later shows at least as much."""
    ended = sorted(reads, key=lambda each: each[0].ended_at_ms or inf)
    place = 0
    greatest: dict[str, tuple[int, Operation]] = {}
    for read, status in reads:  # In the order in which they were invoked.
        while place < len(ended) and ended[place][0].ended_before(read):
            for what, number in _growing(ended[place][1]):
                if number > greatest.get(what, (-1, read))[0]:
                    greatest[what] = number, ended[place][0]
            place += 1
        for what, number in _growing(status):
            known, earlier = greatest.get(what, (-1, read))
            if number < known:
                text = f"the {what} of {task.name} went from {known} back to {number}"
                yield Violation("stale-read", text, [earlier, read])


def _growing(status: TaskStatus) -> list[tuple[str, int]]:
    return [
        ("token", status.token or 0),
        ("failures", status.failures),
        ("crashes", status.crashes),
        ("instant of the end", status.finished_at_ms or 0),
    ]
