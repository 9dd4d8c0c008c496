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

The types of fields are in `fields`, what a task, queue or schedule can be told in `options`, and
control and its reads in `control`; this module names them all.
"""

from collections.abc import Iterator
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from raftq.protocol import limits
from raftq.protocol.control import (
    Cancel,
    Confirm,
    DeleteSchedule,
    Done,
    Edit,
    EnqueuePart,
    EnqueueParts,
    FireSchedule,
    LimitStatus,
    QueuesCall,
    Reason,
    ResultCall,
    ScheduleList,
    SchedulesCall,
    ScheduleStatus,
    SetLimit,
    SetQueue,
    SetQuota,
    SetSchedule,
    Settings,
    SettingsCall,
    Sweep,
    Swept,
    TasksCall,
    Why,
    WhyCall,
)
from raftq.protocol.fields import (
    NAME_PATTERN,
    WORKER_PATTERN,
    AttemptsMax,
    AttemptsMaxOrDefault,
    BackoffKind,
    BackoffMs,
    ClusterId,
    Consistency,
    Count,
    CrashesMax,
    DelayMs,
    ErrorText,
    Index,
    Instant,
    Key,
    LeaseCount,
    LeaseMs,
    MemberId,
    MissedRuns,
    OnConflict,
    OnParentFailure,
    Overlap,
    Payload,
    PeerAddress,
    Priority,
    Progress,
    QueueName,
    Queues,
    RequestId,
    ResultBytes,
    ResultTtlMs,
    ScheduleName,
    SweepAction,
    TaskId,
    TaskIds,
    TaskState,
    TimeoutMs,
    Token,
    WaitMs,
    WorkerName,
)
from raftq.protocol.options import (
    AgeingMs,
    Backoff,
    Concurrency,
    KeyLimit,
    QueueChanges,
    QueueSettings,
    Quota,
    Rate,
    Schedule,
    TaskFilter,
    TaskOptions,
    Weights,
)
from raftq.protocol.tasks import NewTask

__all__ = [
    "NAME_PATTERN",
    "WORKER_PATTERN",
    "Ack",
    "AckItem",
    "AddMember",
    "AgeingMs",
    "Attempt",
    "AttemptsMax",
    "AttemptsMaxOrDefault",
    "Backoff",
    "BackoffKind",
    "BackoffMs",
    "Call",
    "Cancel",
    "ClusterCall",
    "ClusterId",
    "ClusterStatus",
    "Command",
    "CommandReply",
    "Concurrency",
    "Confirm",
    "Consistency",
    "ControlCommand",
    "Count",
    "CrashesMax",
    "DelayMs",
    "DeleteSchedule",
    "Done",
    "Edit",
    "Enqueue",
    "EnqueuePart",
    "EnqueueParts",
    "Enqueued",
    "EnqueuedTask",
    "Entry",
    "EntryVersion",
    "ErrorText",
    "Extend",
    "ExtendItem",
    "Fail",
    "FailItem",
    "FireSchedule",
    "FoundCluster",
    "Founded",
    "HelloReply",
    "Index",
    "Instant",
    "Key",
    "KeyLimit",
    "Lease",
    "LeaseCall",
    "LeaseCount",
    "LeaseMs",
    "Leased",
    "LeasedTask",
    "LimitStatus",
    "MemberId",
    "MembersCall",
    "MissedRuns",
    "NewTask",
    "NodeStatus",
    "OnConflict",
    "OnParentFailure",
    "Overlap",
    "Payload",
    "PeerAddress",
    "Priority",
    "Progress",
    "QueueCall",
    "QueueChanges",
    "QueueList",
    "QueueName",
    "QueueSettings",
    "QueueStatus",
    "Queues",
    "QueuesCall",
    "Quota",
    "Rate",
    "ReadCall",
    "ReadReply",
    "Reason",
    "Rejected",
    "RemoveMember",
    "Reply",
    "RequestId",
    "Requeue",
    "RequeueItem",
    "ResultBytes",
    "ResultCall",
    "ResultTtlMs",
    "Schedule",
    "ScheduleList",
    "ScheduleName",
    "ScheduleStatus",
    "SchedulesCall",
    "SetLimit",
    "SetQueue",
    "SetQuota",
    "SetSchedule",
    "Settings",
    "SettingsCall",
    "Settled",
    "SettledTask",
    "Settlement",
    "Sweep",
    "SweepAction",
    "Swept",
    "TaskCall",
    "TaskFilter",
    "TaskId",
    "TaskIds",
    "TaskOptions",
    "TaskPage",
    "TaskState",
    "TaskStatus",
    "TasksCall",
    "TimeoutMs",
    "Token",
    "TransferLeadership",
    "WaitMs",
    "Weights",
    "Why",
    "WhyCall",
    "WorkerName",
]

# ---------------------------------------------------------------- parts of commands


class AckItem(Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """One lease to acknowledge, with the result to keep."""

    token: Token
    result: ResultBytes | None = None
    follow_ups: Annotated[list[EnqueuePart], Meta(max_length=limits.BATCHES_MAX)] = []
    """Tasks to enqueue in the same log entry: with the result, or not at all."""


class FailItem(Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """One lease whose run failed; the machine decides between retry and dead."""

    token: Token
    error: ErrorText
    delay_ms: DelayMs | None = None
    """The pause before the retry; None means the task's backoff."""
    is_final: bool = False
    """Whether no retry can help: the task is dead."""
    is_crash: bool = False
    """Whether the worker's process died of it: counted as a crash, not as a failure."""


class RequeueItem(Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """One lease to give back; burns no attempt."""

    token: Token
    delay_ms: DelayMs = 0


class ExtendItem(Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """One lease to prolong: its new deadline is `lease_ms` from now."""

    token: Token
    lease_ms: LeaseMs
    progress: Progress | None = None
    """What the worker has to say about how far it is; None leaves it as it is."""


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


ControlCommand: TypeAlias = (
    EnqueueParts
    | Cancel
    | Confirm
    | Edit
    | Sweep
    | SetQueue
    | SetLimit
    | SetQuota
    | SetSchedule
    | DeleteSchedule
)
"""What clients may send beyond the life cycle."""
Command: TypeAlias = (
    Enqueue | Lease | Ack | Fail | Requeue | Extend | FoundCluster | ControlCommand | FireSchedule
)
Settlement: TypeAlias = Ack | Fail | Requeue | Extend


def new_tasks(command: Command) -> Iterator[NewTask]:
    """Yield every task that a command may create."""
    match command:
        case Enqueue(tasks=tasks):
            yield from tasks
        case EnqueueParts(parts=parts):
            for part in parts:
                yield from part.tasks
        case Ack(items=items):
            for item in items:
                for part in item.follow_ups:
                    yield from part.tasks
        case FireSchedule(task=task) if task is not None:
            yield task
        case _:
            return


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
    min_index: Index = 0
    """See `ResultCall`."""


class QueueCall(Struct, array_like=True, frozen=True, tag=104, forbid_unknown_fields=True):
    """Read the counts of one queue."""

    queue: QueueName
    consistency: Consistency = Consistency.LINEARIZABLE


class ClusterCall(Struct, array_like=True, frozen=True, tag=105, forbid_unknown_fields=True):
    """Read what the answering node knows about the cluster."""


ReadCall: TypeAlias = (
    TaskCall
    | QueueCall
    | ResultCall
    | TasksCall
    | WhyCall
    | QueuesCall
    | SettingsCall
    | SchedulesCall
)
"""What a node answers from its machine."""


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
    | ControlCommand
    | ReadCall
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
    """Answers `Enqueue` and `EnqueueParts`, in the order of their tasks."""

    tasks: list[EnqueuedTask]
    index: int = 0
    """The log index of the entry; a read that gives it as `min_index` sees these tasks."""


class Leased(Struct, array_like=True, frozen=True, tag=2):
    """Answers `Lease`; empty if nothing was ready.

    `is_repeat` tells that the request was granted before: these are the leases of it that are
    still held, perhaps none.
    """

    leases: list[LeasedTask]
    is_repeat: bool = False


class Settled(Struct, array_like=True, frozen=True, tag=3):
    """Answers `Ack`, `Fail`, `Requeue`, `Extend`, `Cancel`, `Confirm`, `Edit`, in the order of
    their items."""

    items: list[SettledTask]
    index: int = 0


class Rejected(Struct, array_like=True, frozen=True, tag=4):
    """The whole command was refused and changed nothing; `code` is one of `errors`."""

    code: str
    message: str
    retry_after_ms: int = 0
    """When another try may succeed; 0 if none can tell."""


class Attempt(Struct, array_like=True, frozen=True, gc=False):
    """One run of a task that did not succeed."""

    number: int
    worker: str
    began_at_ms: int
    ended_at_ms: int
    end: str
    """`failed`, `crashed`, `lease ran out` or `cancelled`."""
    error: str


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
    history: list[Attempt] = []
    """The newest attempts that did not succeed, oldest first."""
    progress: bytes | None = None
    """What the newest lease told last."""
    worker: str | None = None
    """Who runs it, or ran it last, if that is known."""
    options: TaskOptions | None = None
    sequence: int = 0
    """Its place among all tasks of the cluster, from 1."""
    applied_index: int = 0
    """The log index of the state that this was read from."""
    lag_ms: int | None = None
    """Of a stale read: how long ago this node last heard that it was up to date, at most; None if
    the read is not stale."""


class QueueStatus(Struct, array_like=True, frozen=True, tag=104):
    """Answers `QueueCall`: tasks per state since the cluster began (forgotten ones counted)."""

    queue: QueueName
    enqueued: int
    counts: dict[str, int]
    settings: QueueSettings = QueueSettings()
    payload_bytes: int = 0
    """Of unfinished tasks."""
    oldest_ready_at_ms: int | None = None
    """When the task that is given out next became ready."""


class QueueList(Struct, array_like=True, frozen=True, tag=113):
    """Answers `QueuesCall`, oldest queue first."""

    queues: list[QueueStatus]


class TaskPage(Struct, array_like=True, frozen=True, tag=111):
    """Answers `TasksCall`."""

    tasks: list[TaskStatus]
    matched: int
    """How many of those looked at match; more than `tasks` if only counted."""
    next_after: int | None
    """What the next call must give as `after`; None if all were looked at."""


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


CommandReply: TypeAlias = Enqueued | Leased | Settled | Rejected | Founded | Done | Swept
ReadReply: TypeAlias = (
    TaskStatus | QueueStatus | TaskPage | QueueList | Why | Settings | ScheduleList
)
Reply: TypeAlias = CommandReply | ReadReply | ClusterStatus


# ---------------------------------------------------------------- the native hello


class HelloReply(Struct, array_like=True, frozen=True):
    """What a node answers to `hello`: who it is and where the others are."""

    version: int
    node: str
    cluster_id: str
    leader: str | None
    nodes: list[NodeStatus]
