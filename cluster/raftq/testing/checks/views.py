"""The parts of a history: enqueued tasks, leases, settlements, and all about one task id."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Final, TypeAlias

from raftq.protocol.calls import TaskCall
from raftq.protocol.commands import AckItem, ExtendItem, FailItem, RequeueItem
from raftq.protocol.fields import Consistency, TaskState
from raftq.protocol.options import NewTask
from raftq.protocol.replies import EnqueuedTask, LeasedTask, SettledTask
from raftq.protocol.statuses import TaskStatus
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
        return min(acks, key=lambda each: end_ms(each.operation), default=None)

    def possible_acks(self, before_ms: float = inf) -> Iterator[Settling]:
        """Yield the acks that may have taken effect before an instant."""
        for grant in self.grants:
            yield from grant.possible(Kind.ACK, before_ms=before_ms)


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


def end_ms(operation: Operation) -> float:
    """Return when a call ended; infinity if it never did."""
    return inf if operation.ended_at_ms is None else operation.ended_at_ms


def _lease_ms(extension: Settling) -> int:
    assert isinstance(extension.item, ExtendItem)
    return extension.item.lease_ms
