"""Attempts are counted, in order, and bounded."""

from collections.abc import Iterator
from itertools import pairwise

from raftq.protocol import limits
from raftq.protocol.fields import TaskState
from raftq.testing.checks.timeline import Timeline
from raftq.testing.checks.verdict import Violation
from raftq.testing.checks.views import Grant, Kind, TaskView, status_of


def check_attempts(timeline: Timeline) -> Iterator[Violation]:
    """A task is delivered as often as it may be, with rising attempts; dead only when used up."""
    if timeline.may_forget:
        return  # A task that is enqueued again after it was forgotten begins anew.
    for task in timeline.tasks.values():
        creations = task.possible_creations()
        if not creations:
            continue
        yield from _attempt_order(timeline, task)
        yield from _over_delivery(task, max(each.new.attempts_max for each in creations))
        yield from _dead_early(task, min(each.new.attempts_max for each in creations))


def _attempt_order(timeline: Timeline, task: TaskView) -> Iterator[Violation]:
    for earlier, later in pairwise(task.grants):
        step = later.attempt - earlier.attempt
        is_next = not timeline.tokens.may_hide_one(earlier.token, later.token)
        is_given_back = any(earlier.possible(Kind.REQUEUE))
        is_wrong = step < 0 or (is_next and (step > 1 or (step == 0 and not is_given_back)))
        if is_wrong:
            yield Violation(
                "attempt-order",
                f"{task.name} was delivered as attempt {earlier.attempt} (token {earlier.token}) "
                f"and then as attempt {later.attempt} (token {later.token})",
                [earlier.operation, later.operation],
            )


def _over_delivery(task: TaskView, attempts_max: int) -> Iterator[Violation]:
    failed: list[Grant] = []
    for grant in task.grants:
        last = attempts_max + limits.CRASHES_MAX - 1
        if len(failed) >= attempts_max or grant.attempt > last:
            yield Violation(
                "over-delivery",
                f"{task.name} was delivered as attempt {grant.attempt} after {len(failed)} "
                f"failures of at most {attempts_max}",
                [*(each.operation for each in failed), grant.operation],
            )
            return
        if any(grant.accepted(Kind.FAIL)):
            failed.append(grant)


def _dead_early(task: TaskView, attempts_max: int) -> Iterator[Violation]:
    failures = 0
    for grant in task.grants:
        failures += any(grant.possible(Kind.FAIL))
        for each in grant.accepted(Kind.FAIL):
            is_dead = each.outcome is not None and each.outcome.state is TaskState.DEAD
            if is_dead and failures < attempts_max:
                text = f"{task.name} is dead after {failures} of {attempts_max} failures"
                yield Violation("dead-early", text, [each.operation])
    for read in task.reads:
        status = status_of(read)
        if status is None or status.state is not TaskState.DEAD:
            continue
        if status.failures < status.attempts_max and status.crashes < limits.CRASHES_MAX:
            text = f"{task.name} is dead after {status.failures} failures, {status.crashes} crashes"
            yield Violation("dead-early", text, [read])
