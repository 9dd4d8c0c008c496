"""The same ids again change nothing and get the same answer."""

from collections.abc import Iterator
from math import inf
from typing import TypeAlias

from raftq.protocol import limits
from raftq.protocol.calls import LeaseCall
from raftq.protocol.commands import Enqueue
from raftq.protocol.errors import Conflict
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import Leased
from raftq.testing.checks.timeline import Timeline
from raftq.testing.checks.verdict import Violation
from raftq.testing.checks.views import Creation, TaskView
from raftq.testing.history import Operation

_Request: TypeAlias = tuple[str, str]


def check_enqueues(timeline: Timeline) -> Iterator[Violation]:
    """One id, one task: created once, and a conflict exactly if something else has the id."""
    for task in timeline.tasks.values():
        if not timeline.may_forget:
            yield from _created_once(task)
        for each in task.creations:
            if each.reply is not None and each.reply.created:
                expected = TaskState.SCHEDULED if each.new.delay_ms else TaskState.READY
                if each.reply.state is not expected:
                    text = f"{task.name} was created {each.reply.state} instead of {expected}"
                    yield Violation("wrong-state", text, [each.operation])
    yield from _unjust_conflicts(timeline)


def _created_once(task: TaskView) -> Iterator[Violation]:
    acknowledged = [each for each in task.creations if each.reply is not None]
    created = [each for each in acknowledged if each.reply is not None and each.reply.created]
    if len(created) > 1:
        text = f"{task.name} was created {len(created)} times"
        yield Violation("duplicate-task", text, [each.operation for each in created])
    if len({_content(each) for each in acknowledged}) > 1:
        text = f"{task.name} was enqueued with two contents or in two queues"
        yield Violation("conflict-missed", text, [each.operation for each in acknowledged])


def _content(creation: Creation) -> tuple[str, bytes]:
    return creation.queue, creation.new.payload


def _unjust_conflicts(timeline: Timeline) -> Iterator[Violation]:
    for operation in timeline.operations:
        call = operation.call
        if isinstance(call, Enqueue) and operation.error_code == Conflict.code:
            tasks = [timeline.task(new.id) for new in call.tasks]
            others = [
                each
                for task, new in zip(tasks, call.tasks, strict=True)
                for each in task.possible_creations(operation.ended_at_ms or inf)
                if _content(each) != (call.queue, new.payload)
            ]
            if not others:
                text = "a conflict, though nothing else was enqueued under these ids"
                yield Violation("unjust-conflict", text, [operation])


def check_requests(timeline: Timeline) -> Iterator[Violation]:
    """A repeated lease request gets the leases that it got first, and no others."""
    requests: dict[_Request, list[Operation]] = {}
    asked: dict[str, set[str]] = {}
    for operation in timeline.lease_calls:
        assert isinstance(operation.call, LeaseCall)
        request = operation.call.worker, operation.call.request_id
        requests.setdefault(request, []).append(operation)
        asked.setdefault(operation.call.worker, set()).add(operation.call.request_id)
    if not _all_are_remembered(timeline, len(requests)):
        return
    for (worker, request_id), operations in requests.items():
        if len(operations) > 1 and len(asked[worker]) <= limits.LEASE_REQUESTS_KEPT_PER_WORKER:
            yield from _same_answer(f"{worker} {request_id}", operations)


def _all_are_remembered(timeline: Timeline, requests: int) -> bool:
    """Return whether the memory of requests is certainly large enough for all of them."""
    tokens = max(timeline.grants, default=0)
    return requests < limits.LEASE_REQUESTS_KEPT_MAX and tokens < limits.LEASE_TOKENS_KEPT_MAX


def _same_answer(name: str, operations: list[Operation]) -> Iterator[Violation]:
    begun_ms = operations[0].invoked_at_ms
    if operations[-1].invoked_at_ms - begun_ms >= limits.WORKER_FORGOTTEN_AFTER_MS / 2:
        return
    answers = [
        (operation, operation.reply)
        for operation in operations
        if isinstance(operation.reply, Leased) and operation.reply.leases
    ]
    firsts = [(operation, reply) for operation, reply in answers if not reply.is_repeat]
    if len(firsts) > 1:
        text = f"the request {name} was granted {len(firsts)} times"
        yield Violation("retry-mismatch", text, [operation for operation, _ in firsts])
    for first, reply in firsts:
        granted = {lease.token for lease in reply.leases}
        for operation, other in answers:
            if other.is_repeat and not {lease.token for lease in other.leases} <= granted:
                text = f"the request {name} was repeated and got other leases"
                yield Violation("retry-mismatch", text, [first, operation])
