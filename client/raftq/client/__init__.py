"""The client library: queues and bytes, from asyncio or from blocking code.

`AsyncClient` and `Client` have the same methods. Every call has one deadline, is tried on any node
until then with the same ids, and ends with a typed error. This package imports `raftq.protocol`
only.
"""

from raftq.client.async_client import AsyncClient
from raftq.client.blocking import Client
from raftq.client.durations import Duration, seconds
from raftq.protocol.errors import (
    Conflict,
    ConnectionLost,
    DiskFull,
    Forbidden,
    InvalidRequest,
    LeaseLost,
    NoLeader,
    OutcomeUnknown,
    PayloadTooLarge,
    QueueFull,
    RaftqError,
    RequestError,
    UnavailableError,
    UnknownTask,
)
from raftq.protocol.messages import (
    AckItem,
    ClusterStatus,
    Consistency,
    EnqueuedTask,
    ExtendItem,
    FailItem,
    LeasedTask,
    NewTask,
    QueueStatus,
    RequeueItem,
    SettledTask,
    TaskState,
    TaskStatus,
)

__all__ = [
    "AckItem",
    "AsyncClient",
    "Client",
    "ClusterStatus",
    "Conflict",
    "ConnectionLost",
    "Consistency",
    "DiskFull",
    "Duration",
    "EnqueuedTask",
    "ExtendItem",
    "FailItem",
    "Forbidden",
    "InvalidRequest",
    "LeaseLost",
    "LeasedTask",
    "NewTask",
    "NoLeader",
    "OutcomeUnknown",
    "PayloadTooLarge",
    "QueueFull",
    "QueueStatus",
    "RaftqError",
    "RequestError",
    "RequeueItem",
    "SettledTask",
    "TaskState",
    "TaskStatus",
    "UnavailableError",
    "UnknownTask",
    "seconds",
]
