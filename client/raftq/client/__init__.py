"""The client library: queues and bytes, from asyncio or from blocking code.

`AsyncClient` and `Client` have the same methods. Every call has one deadline, is tried on any node
until then with the same ids, and ends with a typed error. This package imports `raftq.protocol`
only.
"""

from raftq.client.async_client import AsyncClient
from raftq.client.blocking import Client
from raftq.client.durations import Duration, seconds
from raftq.client.events import BlockingEvents, Events
from raftq.client.keywords.filters import FilterKeywords
from raftq.client.keywords.moments import Moment
from raftq.client.keywords.new_tasks import Parts, PreparedKeywords, TaskKeywords
from raftq.client.keywords.rates import backoff
from raftq.client.parts.configuring import QueueKeywords
from raftq.protocol.commands import AckItem, EnqueuePart, ExtendItem, FailItem, RequeueItem
from raftq.protocol.errors import (
    Conflict,
    ConnectionLost,
    DiskFull,
    EventsLost,
    Forbidden,
    ForgottenTask,
    InvalidRequest,
    KeyTaken,
    LeaseLost,
    NoLeader,
    OutcomeUnknown,
    PayloadTooLarge,
    QueueFull,
    RaftqError,
    RateLimited,
    RequestError,
    TaskCancelled,
    UnavailableError,
    UnknownSchedule,
    UnknownTask,
)
from raftq.protocol.events import Position, TaskEvent
from raftq.protocol.fields import (
    BackoffKind,
    Consistency,
    MissedRuns,
    OnConflict,
    OnParentFailure,
    Overlap,
    TaskState,
)
from raftq.protocol.options import (
    Backoff,
    KeyLimit,
    NewTask,
    QueueSettings,
    Quota,
    Rate,
    Schedule,
    TaskOptions,
)
from raftq.protocol.replies import EnqueuedTask, LeasedTask, SettledTask
from raftq.protocol.statuses import (
    Attempt,
    ClusterStatus,
    LimitStatus,
    QueueStatus,
    Reason,
    ScheduleStatus,
    TaskPage,
    TaskStatus,
    Why,
)

__all__ = [
    "AckItem",
    "AsyncClient",
    "Attempt",
    "Backoff",
    "BackoffKind",
    "BlockingEvents",
    "Client",
    "ClusterStatus",
    "Conflict",
    "ConnectionLost",
    "Consistency",
    "DiskFull",
    "Duration",
    "EnqueuePart",
    "EnqueuedTask",
    "Events",
    "EventsLost",
    "ExtendItem",
    "FailItem",
    "FilterKeywords",
    "Forbidden",
    "ForgottenTask",
    "InvalidRequest",
    "KeyLimit",
    "KeyTaken",
    "LeaseLost",
    "LeasedTask",
    "LimitStatus",
    "MissedRuns",
    "Moment",
    "NewTask",
    "NoLeader",
    "OnConflict",
    "OnParentFailure",
    "OutcomeUnknown",
    "Overlap",
    "Parts",
    "PayloadTooLarge",
    "Position",
    "PreparedKeywords",
    "QueueFull",
    "QueueKeywords",
    "QueueSettings",
    "QueueStatus",
    "Quota",
    "RaftqError",
    "Rate",
    "RateLimited",
    "Reason",
    "RequestError",
    "RequeueItem",
    "Schedule",
    "ScheduleStatus",
    "SettledTask",
    "TaskCancelled",
    "TaskEvent",
    "TaskKeywords",
    "TaskOptions",
    "TaskPage",
    "TaskState",
    "TaskStatus",
    "UnavailableError",
    "UnknownSchedule",
    "UnknownTask",
    "Why",
    "backoff",
    "seconds",
]
