"""The order within a queue, for tasks on their first delivery and without a delay.

A task that was certainly enqueued and that nobody can have leased stands in line. "Nobody" covers
leases that no client saw: they would have a token that is missing from those seen, between the
tokens known before the task was enqueued and the one in question.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Final

from raftq.protocol.calls import LeaseCall
from raftq.protocol.replies import Leased
from raftq.testing.checks.timeline import Timeline
from raftq.testing.checks.tokens import TokenLine
from raftq.testing.checks.verdict import Violation
from raftq.testing.checks.views import Grant, TaskView
from raftq.testing.history import Operation, Outcome

_LOOKED_AT: Final = 4
"""How many waiting tasks are compared with each delivered one, the youngest first."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A task from the moment at which it certainly stood in line."""

    task: TaskView
    queue: str
    priority: int
    operation: Operation
    asked_at_ms: float
    there_by_ms: float
    first: Grant | None


def _waiting_tasks(timeline: Timeline) -> list[_Waiting]:
    """Return the acknowledged tasks without a delay, whose priority is beyond doubt."""
    found: list[_Waiting] = []
    for task in timeline.tasks.values():
        created = task.acknowledged
        if created is None:
            continue
        creations = task.possible_creations()
        kinds = {(each.queue, each.new.priority, each.new.delay_ms) for each in creations}
        if kinds != {(created.queue, created.new.priority, 0)}:
            continue
        asked_at_ms = min(each.operation.invoked_at_ms for each in creations)
        ended_at_ms = created.operation.ended_at_ms
        assert ended_at_ms is not None
        first = task.grants[0] if task.grants else None
        found.append(
            _Waiting(
                task,
                created.queue,
                created.new.priority,
                created.operation,
                asked_at_ms,
                ended_at_ms,
                first,
            )
        )
    return found


class _Line:
    """The tasks of one queue and priority by the instant at which they stood in line, and which of
    them were not delivered yet; looking back from any place costs next to nothing."""

    def __init__(self, tasks: list[_Waiting]) -> None:
        self.tasks = sorted(tasks, key=lambda each: each.there_by_ms)
        self._there_by = [each.there_by_ms for each in self.tasks]
        self._places = {each.task.id: place for place, each in enumerate(self.tasks, 1)}
        self._previous = list(range(len(self.tasks) + 1))  # Of each place, itself if it waits.

    def deliver(self, task_id: bytes) -> None:
        """Take a task out."""
        place = self._places.get(task_id)
        if place is not None:
            self._previous[place] = place - 1

    def youngest(self, before_ms: float) -> Iterator[_Waiting]:
        """Yield the tasks that stood in line before an instant and were not delivered."""
        place = self._find(bisect_left(self._there_by, before_ms))
        while place:
            yield self.tasks[place - 1]
            place = self._find(place - 1)

    def _find(self, place: int) -> int:
        previous = self._previous
        while previous[place] != place:
            previous[place] = previous[previous[place]]
            place = previous[place]
        return place


def check_order(timeline: Timeline) -> Iterator[Violation]:
    """Higher priority first; within a priority, first in, first out."""
    tasks = _waiting_tasks(timeline)
    lines: dict[str, dict[int, list[_Waiting]]] = {}
    for each in tasks:
        lines.setdefault(each.queue, {}).setdefault(each.priority, []).append(each)
    sorted_lines = {
        queue: {priority: _Line(some) for priority, some in sorted(by_priority.items())}
        for queue, by_priority in lines.items()
    }
    delivered = [(each.first, each) for each in tasks if each.first is not None]
    for grant, each in sorted(delivered, key=lambda pair: pair[0].token):
        by_priority = sorted_lines[each.queue]
        by_priority[each.priority].deliver(each.task.id)
        if grant.attempt != 1:
            continue  # An unseen lease of it failed or ran out before: no longer in order.
        for priority, line in by_priority.items():
            if priority <= each.priority:
                yield from _overtaken(timeline.tokens, line, grant, each)


def _overtaken(
    tokens: TokenLine, line: _Line, grant: Grant, delivered: _Waiting
) -> Iterator[Violation]:
    """Find a task that must have been ahead of the delivered one and was not delivered before."""
    first_in = delivered.asked_at_ms
    for looked_at, waiting in enumerate(line.youngest(first_in)):
        if looked_at == _LOOKED_AT:
            return
        if not tokens.may_hide_one(tokens.floor(waiting.asked_at_ms), grant.token):
            rule = "fifo" if waiting.priority == delivered.priority else "priority"
            text = f"{delivered.task.name} overtook {waiting.task.name} in {delivered.queue}"
            yield Violation(rule, text, [waiting.operation, delivered.operation, grant.operation])
            return


def check_empty_answers(timeline: Timeline) -> Iterator[Violation]:
    """A lease call that does not wait is not answered "nothing" while something waits.

    Only calls during which no other lease call can have had the task promised are judged, and
    only those that do not wait: what a waiting call answers at its end is not confirmed.
    """
    by_queue: dict[str, _Line] = {}
    tasks: dict[str, list[_Waiting]] = {}
    for each in _waiting_tasks(timeline):
        tasks.setdefault(each.queue, []).append(each)
    for queue, some in tasks.items():
        by_queue[queue] = _Line(some)
    grants = sorted(timeline.grants.values(), key=lambda grant: grant.granted_from_ms)
    place = 0
    for operation in _alone(timeline):
        assert isinstance(operation.call, LeaseCall)
        ended_at_ms = operation.ended_at_ms or inf
        while place < len(grants) and grants[place].granted_from_ms <= ended_at_ms:
            line = by_queue.get(grants[place].queue)
            if line is not None:
                line.deliver(grants[place].task_id)
            place += 1
        ceiling = timeline.tokens.ceiling(ended_at_ms)
        for queue in operation.call.queues:
            if queue in by_queue:
                yield from _overlooked(timeline.tokens, by_queue[queue], operation, ceiling)


def _overlooked(
    tokens: TokenLine, line: _Line, operation: Operation, ceiling: float
) -> Iterator[Violation]:
    for looked_at, waiting in enumerate(line.youngest(operation.invoked_at_ms)):
        if looked_at == _LOOKED_AT:
            return
        if not tokens.may_hide_one(tokens.floor(waiting.asked_at_ms), ceiling):
            text = f"nothing was given out, but {waiting.task.name} was waiting in {waiting.queue}"
            yield Violation("false-empty", text, [waiting.operation, operation])
            return


def _alone(timeline: Timeline) -> Iterator[Operation]:
    """Yield the empty answers during which no other lease call can have been alive.

    A call that was slow or whose end is unknown may have been tried twice, and its first try may
    have had tasks promised that its client will never see.
    """
    bounds = timeline.bounds
    busy_until_ms = -inf
    calls = timeline.lease_calls
    for number, operation in enumerate(calls):
        assert isinstance(operation.call, LeaseCall)
        following_ms = calls[number + 1].invoked_at_ms if number + 1 < len(calls) else inf
        ended_at_ms, begun_at_ms = operation.ended_at_ms, operation.invoked_at_ms
        is_quick = (
            operation.outcome is Outcome.OK
            and ended_at_ms is not None
            and ended_at_ms - begun_at_ms < bounds.quick_ms
        )
        is_alone = busy_until_ms < begun_at_ms and ended_at_ms and ended_at_ms < following_ms
        reply = operation.reply
        is_empty = isinstance(reply, Leased) and not reply.leases and not reply.is_repeat
        if is_quick and is_alone and is_empty and operation.call.wait_ms == 0:
            yield operation
        ends_ms = ended_at_ms if is_quick and ended_at_ms else begun_at_ms + bounds.call_life_ms
        busy_until_ms = max(busy_until_ms, ends_ms)
