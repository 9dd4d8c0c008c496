"""What the reads tell: of tasks, of queues and their settings, of schedules, of the cluster.

See `commands` for how all messages are encoded.
"""

from msgspec import Struct

from raftq.protocol.fields import QueueName, TaskId, TaskState
from raftq.protocol.options import KeyLimit, QueueSettings, Quota, Schedule, TaskOptions


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


class TaskPage(Struct, array_like=True, frozen=True, tag=111):
    """Answers `TasksCall`."""

    tasks: list[TaskStatus]
    matched: int
    """How many of those looked at match; more than `tasks` if only counted."""
    next_after: int | None
    """What the next call must give as `after`; None if all were looked at."""


class Reason(Struct, array_like=True, frozen=True):
    """One rule that holds a task back."""

    rule: str
    """`not_before`, `parents`, `order_key`, `limit_key`, `unconfirmed`, `priority`, `behind`,
    `paused`, `queue_concurrency`, `queue_rate`, `leased`, `over` or `nothing`."""
    text: str
    facts: dict[str, int | str | list[str]]


class Why(Struct, array_like=True, frozen=True, tag=112):
    """Answers `WhyCall`; the first reason is the one that must go first."""

    id: TaskId
    state: TaskState
    reasons: list[Reason]


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
    next_after: str | None = None
    """What the next call must give as `after`; None if these are the last."""


class LimitStatus(Struct, array_like=True, frozen=True):
    """A limit key that is set or in use."""

    key: str
    limit: KeyLimit
    leased: int
    parked: int
    """Tasks that wait for the key."""


class Settings(Struct, array_like=True, frozen=True, tag=114):
    """Answers `SettingsCall`."""

    quota: Quota
    limits: list[LimitStatus]
    next_after: str | None = None
    """What the next call must give as `after`; None if these are the last."""


class ScheduleStatus(Struct, array_like=True, frozen=True):
    """One schedule and where it stands."""

    name: str
    schedule: Schedule
    revision: int
    next_at_ms: int | None
    last_tick_at_ms: int | None
    last_task: TaskId | None
    runs: int
    skipped: int
    """Ticks that were left out: missed, or because of an overlap."""


class ScheduleList(Struct, array_like=True, frozen=True, tag=115):
    """Answers `SchedulesCall`, by name."""

    schedules: list[ScheduleStatus]
    next_after: str | None = None
    """What the next call must give as `after`; None if these are the last."""


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
