"""What is asked and what is answered: calls, commands, replies and log entries.

All are msgspec structs encoded as MessagePack arrays, `[tag, field, …]`, with trailing fields
optional, so a field can be added at the end without breaking anybody. Ranges and patterns are
checked while decoding, in C: what has been decoded can be trusted. Why msgspec:
docs/decisions/0002-msgspec.md.

Three kinds:
- a *command* changes the queue machine and is written to the log (`Command`);
- a *call* is what a client asks for (`Call`): every command except `Lease`, whose call form
  `LeaseCall` can also wait, and the reads;
- a *reply* answers a call (`Reply`).
"""

from enum import StrEnum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

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


# ---------------------------------------------------------------- parts of commands


class NewTask(Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """A task to enqueue. `delay_ms` counts from the wall time of its log entry."""

    id: TaskId
    payload: Payload
    priority: Priority = limits.PRIORITY_DEFAULT
    delay_ms: DelayMs = 0
    attempts_max: AttemptsMax = limits.ATTEMPTS_MAX_DEFAULT


class AckItem(Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """One lease to acknowledge, with the result to keep."""

    token: Token
    result: ResultBytes | None = None


class FailItem(Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """One lease whose run failed; the machine decides between retry and dead."""

    token: Token
    error: ErrorText


class RequeueItem(Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """One lease to give back; burns no attempt."""

    token: Token
    delay_ms: DelayMs = 0


class ExtendItem(Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """One lease to prolong: its new deadline is `lease_ms` from now."""

    token: Token
    lease_ms: LeaseMs


# ---------------------------------------------------------------- commands


class Enqueue(Struct, array_like=True, frozen=True, tag=1, forbid_unknown_fields=True):
    """Add tasks to a queue, all or none. Ids within one call must differ."""

    queue: QueueName
    tasks: Annotated[list[NewTask], Meta(min_length=1, max_length=limits.TASKS_PER_ENQUEUE_MAX)]


class Lease(Struct, array_like=True, frozen=True, tag=2, forbid_unknown_fields=True):
    """Grant up to `count` leases from the queues, tried in the order given.

    The same (`worker`, `request_id`) again returns the same leases that are still held.
    """

    queues: Queues
    count: LeaseCount
    lease_ms: LeaseMs
    worker: WorkerName
    request_id: RequestId


class Ack(Struct, array_like=True, frozen=True, tag=3, forbid_unknown_fields=True):
    """Record tasks as done. Each item is judged on its own."""

    items: Annotated[list[AckItem], Meta(min_length=1, max_length=limits.SETTLEMENTS_PER_CALL_MAX)]


class Fail(Struct, array_like=True, frozen=True, tag=4, forbid_unknown_fields=True):
    """Record failed runs. Each item is judged on its own."""

    items: Annotated[list[FailItem], Meta(min_length=1, max_length=limits.SETTLEMENTS_PER_CALL_MAX)]


class Requeue(Struct, array_like=True, frozen=True, tag=5, forbid_unknown_fields=True):
    """Give leases back. Each item is judged on its own."""

    items: Annotated[
        list[RequeueItem], Meta(min_length=1, max_length=limits.SETTLEMENTS_PER_CALL_MAX)
    ]


class Extend(Struct, array_like=True, frozen=True, tag=6, forbid_unknown_fields=True):
    """Prolong leases. Each item is judged on its own."""

    items: Annotated[
        list[ExtendItem], Meta(min_length=1, max_length=limits.SETTLEMENTS_PER_CALL_MAX)
    ]


class FoundCluster(Struct, array_like=True, frozen=True, tag=7, forbid_unknown_fields=True):
    """Give the cluster its identity; the first one counts, later ones change nothing.

    Proposed by a leader whose machine has none, so that a data folder can never be mistaken for
    one of another cluster.
    """

    cluster_id: ClusterId


Command: TypeAlias = Enqueue | Lease | Ack | Fail | Requeue | Extend | FoundCluster
Settlement: TypeAlias = Ack | Fail | Requeue | Extend


EntryVersion: TypeAlias = Annotated[int, Meta(ge=0, le=2**16)]


class Entry(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One log entry: the leader's two times and the commands to apply, in order.

    `lease_advance_ms` is how far lease time moves before the commands are applied;
    `wall_at_ms` is the leader's wall clock. An entry without commands only carries the time.
    """

    version: EntryVersion
    lease_advance_ms: Annotated[int, Meta(ge=0, le=limits.LEASE_TIME_STEP_MAX_MS)]
    wall_at_ms: Annotated[int, Meta(ge=0, le=2**53)]
    commands: list[Command]


# ---------------------------------------------------------------- calls that are not commands


class LeaseCall(Struct, array_like=True, frozen=True, tag=102, forbid_unknown_fields=True):
    """Ask for leases, waiting up to `wait_ms` for a task to become ready."""

    queues: Queues
    count: LeaseCount
    lease_ms: LeaseMs
    worker: WorkerName
    request_id: RequestId
    wait_ms: WaitMs = 0

    def command(self) -> Lease:
        """Return what is written to the log when there is something to grant."""
        return Lease(self.queues, self.count, self.lease_ms, self.worker, self.request_id)


class TaskCall(Struct, array_like=True, frozen=True, tag=103, forbid_unknown_fields=True):
    """Read one task."""

    task_id: TaskId
    consistency: Consistency = Consistency.LINEARIZABLE


class QueueCall(Struct, array_like=True, frozen=True, tag=104, forbid_unknown_fields=True):
    """Read the counts of one queue."""

    queue: QueueName
    consistency: Consistency = Consistency.LINEARIZABLE


class ClusterCall(Struct, array_like=True, frozen=True, tag=105, forbid_unknown_fields=True):
    """Read what the answering node knows about the cluster."""


class AddMember(Struct, array_like=True, frozen=True, tag=106, forbid_unknown_fields=True):
    """Add a node to the cluster; it becomes a voter when it has caught up.

    Of a member, replace the address. Repeating it changes nothing.
    """

    id: MemberId
    peer_address: PeerAddress


class RemoveMember(Struct, array_like=True, frozen=True, tag=107, forbid_unknown_fields=True):
    """Remove a member from the cluster; repeating it changes nothing."""

    id: MemberId


class TransferLeadership(Struct, array_like=True, frozen=True, tag=108, forbid_unknown_fields=True):
    """Hand leadership to a voter, or to the one that is furthest along."""

    to: MemberId | None = None


MembersCall: TypeAlias = AddMember | RemoveMember | TransferLeadership
Call: TypeAlias = (
    Enqueue
    | LeaseCall
    | Ack
    | Fail
    | Requeue
    | Extend
    | TaskCall
    | QueueCall
    | ClusterCall
    | MembersCall
)


# ---------------------------------------------------------------- replies


class EnqueuedTask(Struct, array_like=True, frozen=True, gc=False):
    """A task after enqueue; `created` is false if it already existed under this id."""

    id: TaskId
    state: TaskState
    created: bool


class LeasedTask(Struct, array_like=True, frozen=True, gc=False):
    """A granted lease. `attempt` counts from 1; `lease_ms` runs from the grant."""

    task_id: TaskId
    queue: QueueName
    token: int
    attempt: int
    payload: bytes
    lease_ms: int


class SettledTask(Struct, array_like=True, frozen=True, gc=False):
    """The outcome of one item: the task's state, or the error code that refused it."""

    state: TaskState | None
    error_code: str = ""


class Enqueued(Struct, array_like=True, frozen=True, tag=1):
    """Answers `Enqueue`, in the order of its tasks."""

    tasks: list[EnqueuedTask]


class Leased(Struct, array_like=True, frozen=True, tag=2):
    """Answers `Lease`; empty if nothing was ready.

    `is_repeat` tells that the request was granted before: these are the leases of it that are
    still held, perhaps none.
    """

    leases: list[LeasedTask]
    is_repeat: bool = False


class Settled(Struct, array_like=True, frozen=True, tag=3):
    """Answers `Ack`, `Fail`, `Requeue`, `Extend`, in the order of their items."""

    items: list[SettledTask]


class Rejected(Struct, array_like=True, frozen=True, tag=4):
    """The whole command was refused and changed nothing; `code` is one of `errors`."""

    code: str
    message: str


class TaskStatus(Struct, array_like=True, frozen=True, tag=103):
    """Answers `TaskCall`."""

    id: TaskId
    queue: QueueName
    state: TaskState
    priority: int
    failures: int
    """Runs that ended with `fail`."""
    crashes: int
    """Leases that ran out."""
    attempts: int
    """Runs begun, without those that were given back."""
    attempts_max: int
    token: int | None
    """The newest lease's fencing token; None before the first lease."""
    result: bytes | None
    errors: list[str]
    """The newest reasons of failure, oldest first."""
    not_before_at_ms: int
    enqueued_at_ms: int
    finished_at_ms: int | None


class QueueStatus(Struct, array_like=True, frozen=True, tag=104):
    """Answers `QueueCall`: tasks per state since the cluster began (forgotten ones counted)."""

    queue: QueueName
    enqueued: int
    counts: dict[str, int]


class NodeStatus(Struct, array_like=True, frozen=True):
    """One member as the answering node sees it."""

    id: str
    native_address: str
    http_address: str
    peer_address: str
    role: str
    """`leader`, `follower`, `candidate` or, for a member out of reach, `unknown`."""
    reachable: bool
    is_voter: bool = True
    """False for a learner: it gets the log, and counts in no majority until it has caught up."""


class ClusterStatus(Struct, array_like=True, frozen=True, tag=105):
    """Answers `ClusterCall`, and tells what came of `AddMember`, `RemoveMember` and
    `TransferLeadership`."""

    cluster_id: str
    node: str
    leader: str | None
    term: int
    commit_index: int
    applied_index: int
    state_hash: str
    nodes: list[NodeStatus]


class Founded(Struct, array_like=True, frozen=True, tag=7):
    """Answers `FoundCluster` with the identity that counts."""

    cluster_id: str


CommandReply: TypeAlias = Enqueued | Leased | Settled | Rejected | Founded
Reply: TypeAlias = CommandReply | TaskStatus | QueueStatus | ClusterStatus


# ---------------------------------------------------------------- the native hello


class HelloReply(Struct, array_like=True, frozen=True):
    """What a node answers to `hello`: who it is and where the others are."""

    version: int
    node: str
    cluster_id: str
    leader: str | None
    nodes: list[NodeStatus]
