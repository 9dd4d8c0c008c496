"""What was acknowledged stays: tasks until they are done, outcomes for ever."""

from collections.abc import Iterator, Mapping
from math import inf

from raftq.core.machine import Machine
from raftq.protocol.commands import AckItem
from raftq.protocol.fields import TaskState
from raftq.testing.checks.timeline import Timeline
from raftq.testing.checks.verdict import Violation
from raftq.testing.checks.views import Kind, TaskView, linearizable_reads, states_told, status_of
from raftq.testing.history import Operation

_FINAL = (TaskState.DONE, TaskState.DEAD, TaskState.CANCELLED, TaskState.EXPIRED)
_WAITING = (TaskState.SCHEDULED, TaskState.BLOCKED, TaskState.READY, TaskState.LEASED)


def check_lost(
    timeline: Timeline, machines: Mapping[str, Machine], newest: str | None, *, is_drained: bool
) -> Iterator[Violation]:
    """An acknowledged task is in the final state until it is done.

    Args:
        timeline: What clients saw.
        machines: The final machines.
        newest: The node whose machine has applied everything; None if there is none.
        is_drained: Whether no task may be waiting at the end.
    """
    if newest is None:
        return
    machine = machines[newest]
    for task in timeline.tasks.values():
        created = task.acknowledged
        status = machine.task(task.id)
        if status is None:
            is_forgotten = timeline.may_forget and any(task.possible_acks())
            if created is not None and not is_forgotten:
                text = f"{task.name} was acknowledged and is not on {newest}"
                yield Violation("lost", text, [created.operation])
        elif is_drained and status.state in _WAITING:
            operations = [each.operation for each in task.creations]
            text = f"{task.name} is still {status.state} after the drain"
            yield Violation("undrained", text, operations)


def check_done(timeline: Timeline) -> Iterator[Violation]:
    """A task whose ack was accepted is never given out again and is acked by one token."""
    if timeline.may_forget:
        return  # It may be forgotten, enqueued again and leased again.
    for task in timeline.tasks.values():
        ack = task.accepted_ack()
        if ack is None:
            continue
        ended_at_ms = ack.operation.ended_at_ms or inf
        for grant in task.grants:
            if grant.granted_from_ms > ended_at_ms:
                text = f"{task.name} was leased after its ack was accepted"
                yield Violation("resurrected", text, [ack.operation, grant.operation])
            others = (each for each in grant.settlings if each.kind is ack.kind)
            for each in others:
                if each.is_accepted and each.token != ack.token:
                    text = f"{task.name} was acked with the tokens {ack.token} and {each.token}"
                    yield Violation("double-ack", text, [ack.operation, each.operation])


def check_outcomes(
    timeline: Timeline, machines: Mapping[str, Machine], newest: str | None
) -> Iterator[Violation]:
    """A done task was acked by somebody, with the result that is shown."""
    for task in timeline.tasks.values():
        for read in task.reads:
            status = status_of(read)
            if status is not None and status.state is TaskState.DONE:
                yield from _outcome(timeline, task, status.token, status.result, read)
        status = None if newest is None else machines[newest].task(task.id)
        if status is not None and status.state is TaskState.DONE:
            yield from _outcome(timeline, task, status.token, status.result, None)


def _outcome(
    timeline: Timeline,
    task: TaskView,
    token: int | None,
    result: bytes | None,
    read: Operation | None,
) -> Iterator[Violation]:
    acks = [each for each in task.possible_acks() if each.token == token]
    acks += [each for each in timeline.blind.get(token or 0, []) if each.kind is Kind.ACK]
    where = [] if read is None else [read]
    before_ms = inf if read is None or read.ended_at_ms is None else read.ended_at_ms
    acks = [each for each in acks if each.operation.invoked_at_ms <= before_ms]
    if not acks:
        text = f"{task.name} is done by the token {token}, with which nobody had acked it"
        yield Violation("phantom-done", text, where)
        return
    results = [each.item.result for each in acks if isinstance(each.item, AckItem)]
    if result not in results:
        text = f"{task.name} shows the result {result!r:.60}, acked was {results[0]!r:.60}"
        yield Violation("wrong-result", text, [*where, *(each.operation for each in acks)])


def check_terminal(timeline: Timeline) -> Iterator[Violation]:
    """A task that was seen done or dead is never seen in another state later."""
    if timeline.may_forget:
        return
    for task in timeline.tasks.values():
        told = [(read, status.state) for read, status in linearizable_reads(task)]
        told += states_told(task)
        final = [
            (operation.ended_at_ms, operation, state)
            for operation, state in told
            if state in _FINAL and operation.ended_at_ms is not None
        ]
        if not final:
            continue
        ended_at_ms, first, final_state = min(final, key=lambda each: each[0])
        for operation, state in told:
            if operation.invoked_at_ms > ended_at_ms and state is not final_state:
                text = f"{task.name} was {final_state}, and then {state}"
                yield Violation("terminal-changed", text, [first, operation])
        for grant in task.grants:
            if grant.granted_from_ms > ended_at_ms and final_state is not TaskState.DONE:
                text = f"{task.name} was leased after it was {final_state}"
                yield Violation("resurrected", text, [first, grant.operation])
