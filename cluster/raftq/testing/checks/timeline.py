"""A history, sorted by what it is about: tasks, leases, settlements.

Two facts about calls decide what may be concluded from them:
- a call is tried again inside the client and inside the cluster, so it may be applied more than
  once, and a late copy of it may be applied even after it was answered;
- therefore leases may have been granted that no client ever saw. Their tokens are missing from the
  sequence of tokens seen (`raftq.testing.checks.tokens`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import zip_longest
from math import inf
from typing import Final, TypeAlias

from raftq.protocol import limits
from raftq.protocol.messages import (
    Ack,
    AckItem,
    ClusterCall,
    Consistency,
    Enqueue,
    Enqueued,
    EnqueuedTask,
    Extend,
    ExtendItem,
    Fail,
    FailItem,
    LeaseCall,
    Leased,
    LeasedTask,
    NewTask,
    QueueCall,
    Requeue,
    RequeueItem,
    Settled,
    SettledTask,
    Settlement,
    TaskCall,
    TaskState,
    TaskStatus,
)
from raftq.testing.checks.tokens import TokenLine
from raftq.testing.checks.verdict import Bounds
from raftq.testing.history import Operation

Item: TypeAlias = AckItem | FailItem | RequeueItem | ExtendItem

_ROUNDING_MS: Final = 2.0
"""Lease time is counted in whole milliseconds, so a fraction may be carried into a lease."""


class Kind(StrEnum):
    """What a settlement asks for."""

    ACK = "ack"
    FAIL = "fail"
    REQUEUE = "requeue"
    EXTEND = "extend"


_KINDS: Final[dict[type[Settlement], Kind]] = {
    Ack: Kind.ACK,
    Fail: Kind.FAIL,
    Requeue: Kind.REQUEUE,
    Extend: Kind.EXTEND,
}


@dataclass(slots=True, eq=False)
class Creation:
    """One task of one enqueue call."""

    operation: Operation
    queue: str
    new: NewTask
    reply: EnqueuedTask | None


@dataclass(slots=True, eq=False)
class Settling:
    """One item of an ack, fail, requeue or extend call."""

    operation: Operation
    kind: Kind
    item: Item
    outcome: SettledTask | None
    may_have_happened: bool

    @property
    def token(self) -> int:
        """Of the lease that it is about."""
        return self.item.token

    @property
    def is_accepted(self) -> bool:
        """Whether the client was told that it counts."""
        return self.outcome is not None and self.outcome.state is not None

    @property
    def is_refused(self) -> bool:
        """Whether the client was told that the lease is over."""
        return self.outcome is not None and self.outcome.state is None


@dataclass(slots=True, eq=False)
class Grant:
    """One lease that a client was told of, by one reply or several."""

    task_id: bytes
    queue: str
    token: int
    attempt: int
    granted_from_ms: float
    """The earliest instant at which it can have been granted."""
    known_by_ms: float
    """It was granted before this instant."""
    replies: list[tuple[Operation, LeasedTask]] = field(
        default_factory=list[tuple[Operation, LeasedTask]]
    )
    settlings: list[Settling] = field(default_factory=list[Settling])

    @property
    def operation(self) -> Operation:
        """The first call that was told of it."""
        return self.replies[0][0]

    def accepted(self, *kinds: Kind) -> Iterator[Settling]:
        """Yield the settlements of some kinds that certainly took effect."""
        return (each for each in self.settlings if each.kind in kinds and each.is_accepted)

    def possible(self, *kinds: Kind, before_ms: float = inf) -> Iterator[Settling]:
        """Yield those that may have taken effect before an instant."""
        for each in self.settlings:
            is_early = each.operation.invoked_at_ms <= before_ms
            if each.kind in kinds and each.may_have_happened and is_early:
                yield each

    def may_be_released(self, before_ms: float, besides: Settling | None = None) -> bool:
        """Return whether somebody may have given up the lease before an instant."""
        released = self.possible(Kind.ACK, Kind.FAIL, Kind.REQUEUE, before_ms=before_ms)
        return any(each is not besides for each in released)

    def valid_until_ms(self, bounds: Bounds) -> float:
        """Return an instant before which the lease certainly did not run out.

        Lease time is never faster than real time, and a grant or an extension counts from an
        instant after its call was invoked. Extensions set the deadline, so one with a shorter
        lease that may have taken effect later brings it down.
        """
        extensions = [each for each in self.possible(Kind.EXTEND)]
        shortest = min((_lease_ms(each) for each in extensions), default=inf)
        known = [(operation, leased.lease_ms) for operation, leased in self.replies]
        known += [(each.operation, _lease_ms(each)) for each in extensions if each.is_accepted]
        return (
            max(
                operation.invoked_at_ms + min(lease_ms, shortest) / (1 + bounds.lease_drift)
                for operation, lease_ms in known
            )
            - _ROUNDING_MS
        )


@dataclass(slots=True, eq=False)
class TaskView:
    """All that was asked and heard about one task id."""

    id: bytes
    creations: list[Creation] = field(default_factory=list[Creation])
    acknowledged: Creation | None = None
    """The enqueue that was acknowledged first, if any was."""
    grants: list[Grant] = field(default_factory=list[Grant])
    """By token."""
    reads: list[Operation] = field(default_factory=list[Operation])

    @property
    def name(self) -> str:
        """For messages."""
        return f"task {self.id.hex()}"

    def possible_creations(self, before_ms: float = inf) -> list[Creation]:
        """Return the enqueues that may have taken effect before an instant."""
        return [
            each
            for each in self.creations
            if each.operation.invoked_at_ms <= before_ms and each.operation.may_have_happened
        ]

    def settlings(self) -> Iterator[tuple[Grant, Settling]]:
        """Yield all settlements with their leases."""
        return ((grant, each) for grant in self.grants for each in grant.settlings)

    def accepted_ack(self) -> Settling | None:
        """Return the accepted ack that was answered first, if any was."""
        acks = (each for grant in self.grants for each in grant.accepted(Kind.ACK))
        return min(acks, key=lambda each: _end(each.operation), default=None)

    def possible_acks(self, before_ms: float = inf) -> Iterator[Settling]:
        """Yield the acks that may have taken effect before an instant."""
        for grant in self.grants:
            yield from grant.possible(Kind.ACK, before_ms=before_ms)


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
            case ClusterCall():
                pass
            case Ack() | Fail() | Requeue() | Extend() as call:
                reply = operation.reply
                outcomes = reply.items if isinstance(reply, Settled) else []
                items: Sequence[Item] = call.items
                for item, outcome in zip_longest(items, outcomes[: len(items)]):
                    may = operation.may_have_happened
                    settling = Settling(operation, _KINDS[type(call)], item, outcome, may)
                    self._settlings.append(settling)

    def _sort_creation(self, creation: Creation) -> None:
        task = self.task(creation.new.id)
        task.creations.append(creation)
        if creation.reply is not None:
            known = task.acknowledged
            if known is None or _end(creation.operation) < _end(known.operation):
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
        return (
            passed_ms + self.bounds.wall_error_ms >= limits.RESULT_RETENTION_MS
            or len(acks) >= limits.RESULTS_KEPT_MAX
            or kept_bytes >= limits.RESULT_BYTES_KEPT_MAX
        )


def status_of(read: Operation) -> TaskStatus | None:
    """Return what a read of a task answered, if it found one."""
    return read.reply if isinstance(read.reply, TaskStatus) else None


def linearizable_reads(task: TaskView) -> Iterator[tuple[Operation, TaskStatus]]:
    """Yield the reads of a task that promise freshness and found it."""
    for read in task.reads:
        assert isinstance(read.call, TaskCall)
        status = status_of(read)
        if status is not None and read.call.consistency is Consistency.LINEARIZABLE:
            yield read, status


def states_told(task: TaskView) -> Iterator[tuple[Operation, TaskState]]:
    """Yield every answer that named the state of a task at some instant of its call."""
    for creation in task.creations:
        if creation.reply is not None:
            yield creation.operation, creation.reply.state
    for _, settling in task.settlings():
        if settling.outcome is not None and settling.outcome.state is not None:
            yield settling.operation, settling.outcome.state


def _end(operation: Operation) -> float:
    return inf if operation.ended_at_ms is None else operation.ended_at_ms


def _lease_ms(extension: Settling) -> int:
    assert isinstance(extension.item, ExtendItem)
    return extension.item.lease_ms


def _is_other(grant: Grant, leased: LeasedTask) -> bool:
    return (grant.task_id, grant.queue, grant.attempt) != (
        leased.task_id,
        leased.queue,
        leased.attempt,
    )


def _request(operation: Operation) -> tuple[str, str]:
    assert isinstance(operation.call, LeaseCall)
    return operation.call.worker, operation.call.request_id
