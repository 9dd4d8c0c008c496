"""A history, sorted by what it is about: tasks, leases, settlements.

Two facts about calls decide what may be concluded from them:
- a call is tried again inside the client and inside the cluster, so it may be applied more than
  once, and a late copy of it may be applied even after it was answered;
- therefore leases may have been granted that no client ever saw. Their tokens are missing from the
  sequence of tokens seen (`raftq.testing.checks.tokens`).
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final

from raftq.protocol import limits
from raftq.protocol.calls import LeaseCall, QueueCall, TaskCall
from raftq.protocol.commands import (
    Ack,
    AckItem,
    Enqueue,
    Extend,
    Fail,
    FailItem,
    Requeue,
    Settlement,
)
from raftq.protocol.replies import Enqueued, Leased, LeasedTask, Settled
from raftq.testing.checks.tokens import TokenLine
from raftq.testing.checks.verdict import Bounds
from raftq.testing.checks.views import Creation, Grant, Item, Kind, Settling, TaskView, end_ms
from raftq.testing.history import Operation

_KINDS: Final[dict[type[Settlement], Kind]] = {
    Ack: Kind.ACK,
    Fail: Kind.FAIL,
    Requeue: Kind.REQUEUE,
    Extend: Kind.EXTEND,
}


class Timeline:
    """A history, sorted.

    Args:
        operations: The history, in the order of invocation.
        bounds: Decide whether the cluster may have forgotten finished tasks.
    """

    def __init__(self, operations: Iterable[Operation], bounds: Bounds) -> None:
        self.bounds = bounds
        self.operations = list(operations)
        self.tasks: dict[bytes, TaskView] = {}
        self.grants: dict[int, Grant] = {}
        self.lease_calls: list[Operation] = []
        self.queue_reads: list[Operation] = []
        self.clashes: list[tuple[Grant, Operation, LeasedTask]] = []
        """Replies that name a known token for something else."""
        self.blind: dict[int, list[Settling]] = {}
        """Settlements that may have happened, with tokens that no reply had named."""
        self._settlings: list[Settling] = []
        self._first_asked: dict[tuple[str, str], float] = {}
        for operation in self.operations:
            self._sort(operation)
        self.may_forget = self._may_forget()
        self._attach_settlings()
        for task in self.tasks.values():
            task.grants.sort(key=lambda grant: grant.token)
        self.tokens = TokenLine(
            (grant.token, grant.granted_from_ms, grant.known_by_ms)
            for grant in self.grants.values()
        )

    def task(self, task_id: bytes) -> TaskView:
        """Return the view of a task id."""
        found = self.tasks.get(task_id)
        if found is None:
            found = self.tasks[task_id] = TaskView(task_id)
        return found

    def blind_of(self, kind: Kind) -> list[Settling]:
        """Return the settlements of one kind that may have settled any task."""
        return [each for some in self.blind.values() for each in some if each.kind is kind]

    # ------------------------------------------------------------ sorting

    def _sort(self, operation: Operation) -> None:
        match operation.call:
            case Enqueue() as call:
                reply = operation.reply
                known = reply.tasks if isinstance(reply, Enqueued) else []
                for new, answer in zip_longest(call.tasks, known[: len(call.tasks)]):
                    self._sort_creation(Creation(operation, call.queue, new, answer))
            case LeaseCall() as call:
                self._sort_lease(operation, call)
            case TaskCall(task_id=task_id):
                self.task(task_id).reads.append(operation)
            case QueueCall():
                self.queue_reads.append(operation)
            case Ack() | Fail() | Requeue() | Extend() as call:
                reply = operation.reply
                outcomes = reply.items if isinstance(reply, Settled) else []
                items: Sequence[Item] = call.items
                for item, outcome in zip_longest(items, outcomes[: len(items)]):
                    may = operation.may_have_happened
                    settling = Settling(operation, _KINDS[type(call)], item, outcome, may)
                    self._settlings.append(settling)
            case _:
                pass  # Of members, settings, options and lists: other checks judge these.

    def _sort_creation(self, creation: Creation) -> None:
        task = self.task(creation.new.id)
        task.creations.append(creation)
        if creation.reply is not None:
            known = task.acknowledged
            if known is None or end_ms(creation.operation) < end_ms(known.operation):
                task.acknowledged = creation

    def _sort_lease(self, operation: Operation, call: LeaseCall) -> None:
        self.lease_calls.append(operation)
        request = (call.worker, call.request_id)
        asked_ms = self._first_asked.setdefault(request, operation.invoked_at_ms)
        if not isinstance(operation.reply, Leased):
            return
        assert operation.ended_at_ms is not None
        for leased in operation.reply.leases:
            grant = self.grants.get(leased.token)
            if grant is None:
                grant = Grant(
                    leased.task_id,
                    leased.queue,
                    leased.token,
                    leased.attempt,
                    asked_ms,
                    operation.ended_at_ms,
                )
                self.grants[leased.token] = grant
                self.task(leased.task_id).grants.append(grant)
            elif _is_other(grant, leased) or _request(grant.operation) != request:
                self.clashes.append((grant, operation, leased))
                continue
            grant.replies.append((operation, leased))
            grant.known_by_ms = min(grant.known_by_ms, operation.ended_at_ms)

    def _attach_settlings(self) -> None:
        for settling in self._settlings:
            grant = self.grants.get(settling.token)
            if settling.is_refused and settling.kind is Kind.ACK:
                # An ack that had counted in an earlier try is answered "done" while remembered.
                settling.may_have_happened = self.may_forget
            if grant is not None:
                grant.settlings.append(settling)
            elif settling.may_have_happened:
                self.blind.setdefault(settling.token, []).append(settling)

    def _may_forget(self) -> bool:
        """Return whether a finished task may have been forgotten: by age, number or bytes."""
        acks = [each.item for each in self._settlings if isinstance(each.item, AckItem)]
        fails = [each.item for each in self._settlings if isinstance(each.item, FailItem)]
        kept_bytes = sum(len(item.result or b"") for item in acks)
        kept_bytes += sum(len(item.error) for item in fails)
        times = [operation.invoked_at_ms for operation in self.operations]
        times += [each.ended_at_ms for each in self.operations if each.ended_at_ms is not None]
        passed_ms = max(times, default=0.0) - min(times, default=0.0)
        wall_ms = passed_ms + self.bounds.wall_error_ms
        is_one_too_many = len(acks) >= limits.RESULTS_KEPT_MAX
        return (
            wall_ms >= limits.RESULT_RETENTION_MS
            or (is_one_too_many and wall_ms >= limits.RETRY_MEMORY_MS)
            or kept_bytes >= limits.RESULT_BYTES_KEPT_MAX
        )


def _is_other(grant: Grant, leased: LeasedTask) -> bool:
    return (grant.task_id, grant.queue, grant.attempt) != (
        leased.task_id,
        leased.queue,
        leased.attempt,
    )


def _request(operation: Operation) -> tuple[str, str]:
    assert isinstance(operation.call, LeaseCall)
    return operation.call.worker, operation.call.request_id
