"""The types of single fields: every range and pattern that a message is checked by.

Ranges and patterns are checked while decoding, in C: what has been decoded can be trusted.
"""

from enum import StrEnum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from raftq.protocol import limits

NAME_PATTERN: Final = r"^[A-Za-z0-9._-]{1,128}\Z"
WORKER_PATTERN: Final = r"^[A-Za-z0-9._:@/-]{1,128}\Z"

TaskId: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]
"""A UUIDv7 made by the producer, as 16 bytes: enqueue is idempotent by it."""
QueueName: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN)]
WorkerName: TypeAlias = Annotated[str, Meta(pattern=WORKER_PATTERN)]
RequestId: TypeAlias = Annotated[str, Meta(pattern=WORKER_PATTERN)]
MemberId: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN)]
PeerAddress: TypeAlias = Annotated[str, Meta(min_length=3, max_length=260)]
"""`host:port`"""
ClusterId: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN)]
Token: TypeAlias = Annotated[int, Meta(ge=1, le=limits.TOKEN_MAX)]
"""Fencing token: one integer that grows over all leases of the cluster."""
LeaseMs: TypeAlias = Annotated[int, Meta(ge=limits.LEASE_MS_MIN, le=limits.LEASE_MS_MAX)]
DelayMs: TypeAlias = Annotated[int, Meta(ge=0, le=limits.DELAY_MS_MAX)]
Priority: TypeAlias = Annotated[int, Meta(ge=0, le=limits.PRIORITY_MAX)]
AttemptsMax: TypeAlias = Annotated[int, Meta(ge=1, le=limits.ATTEMPTS_MAX_LIMIT)]
Payload: TypeAlias = Annotated[bytes, Meta(max_length=limits.PAYLOAD_BYTES_MAX)]
ResultBytes: TypeAlias = Annotated[bytes, Meta(max_length=limits.RESULT_BYTES_MAX)]
ErrorText: TypeAlias = Annotated[str, Meta(max_length=limits.ERROR_TEXT_CHARACTERS_MAX)]
LeaseCount: TypeAlias = Annotated[int, Meta(ge=1, le=limits.LEASES_PER_CALL_MAX)]
WaitMs: TypeAlias = Annotated[int, Meta(ge=0, le=limits.WAIT_MS_MAX)]
TimeoutMs: TypeAlias = Annotated[int, Meta(ge=1, le=limits.TIMEOUT_MS_MAX)]
Queues: TypeAlias = Annotated[
    list[QueueName], Meta(min_length=1, max_length=limits.QUEUES_PER_LEASE_MAX)
]
Key: TypeAlias = Annotated[str, Meta(min_length=1, max_length=limits.KEY_CHARACTERS_MAX)]
"""A unique, order, limit or fair key: any text of the application."""
Instant: TypeAlias = Annotated[int, Meta(ge=0, le=limits.INSTANT_MS_MAX)]
"""Wall time of the cluster in milliseconds since 1970; 0 means none."""
Progress: TypeAlias = Annotated[bytes, Meta(max_length=limits.PROGRESS_BYTES_MAX)]
AttemptsMaxOrDefault: TypeAlias = Annotated[int, Meta(ge=0, le=limits.ATTEMPTS_MAX_LIMIT)]
"""0 means the queue's."""
CrashesMax: TypeAlias = Annotated[int, Meta(ge=0, le=limits.CRASHES_MAX_LIMIT)]
"""0 means the queue's."""
ResultTtlMs: TypeAlias = Annotated[int, Meta(ge=0, le=limits.RESULT_TTL_MS_MAX)]
BackoffMs: TypeAlias = Annotated[int, Meta(ge=0, le=limits.BACKOFF_MS_MAX)]
TaskIds: TypeAlias = Annotated[
    list[TaskId], Meta(min_length=1, max_length=limits.TASKS_PER_CONTROL_MAX)
]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Index: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""Of a log entry."""
ScheduleName: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN)]


class TaskState(StrEnum):
    """The states of a task; the legal moves between them are in `raftq.core.task`."""

    SCHEDULED = "scheduled"
    BLOCKED = "blocked"
    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Consistency(StrEnum):
    """How fresh a read must be."""

    LINEARIZABLE = "linearizable"
    """Reflects every write acknowledged before the read began, on any node."""
    STALE = "stale"
    """What the answering node has applied."""


class OnConflict(StrEnum):
    """What an enqueue does when another live task has its unique key."""

    REJECT = "reject"
    """Refuse the whole enqueue with `key_taken`."""
    EXISTING = "existing"
    """Answer with the task that has the key; create none."""
    REPLACE = "replace"
    """Cancel the task that has the key, if it is not being run, and take the key."""


class OnParentFailure(StrEnum):
    """What becomes of a task when one that it depends on does not succeed."""

    CANCEL = "cancel"
    RUN = "run"
    """Run all the same: the parent is over."""
    WAIT = "wait"
    """Wait for a dead parent to be redriven; cancel if it never can be."""


class BackoffKind(StrEnum):
    """How the pause before a retry grows with the number of failures n, from 1."""

    FIXED = "fixed"
    """base"""
    LINEAR = "linear"
    """base * n"""
    EXPONENTIAL = "exponential"
    """base * 2^(n-1)"""


class SweepAction(StrEnum):
    """What a sweep does with each task that it finds."""

    CANCEL = "cancel"
    """Cancel it, unless it is over."""
    REDRIVE = "redrive"
    """Of a dead task: begin anew, with no failures."""
    DISCARD = "discard"
    """Of a dead task: give it up for good."""
    MOVE = "move"
    """Of a task that is not leased and not over: into another queue."""


class MissedRuns(StrEnum):
    """What a schedule does about ticks that passed while the cluster was down."""

    SKIP = "skip"
    ONE = "one"
    """Run once, for the newest of them."""
    ALL = "all"


class Overlap(StrEnum):
    """What a schedule does at a tick while the task of an earlier one is not over."""

    ALLOW = "allow"
    SKIP = "skip"
    """Leave the tick out."""
    REPLACE = "replace"
    """Cancel the earlier task."""
