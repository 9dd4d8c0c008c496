"""What a call is answered.

What the reads tell is in `statuses`. See `commands` for how all messages are encoded.
"""

from typing import TypeAlias

from msgspec import Struct

from raftq.protocol.fields import QueueName, TaskId, TaskState
from raftq.protocol.statuses import (
    ClusterStatus,
    NodeStatus,
    QueueList,
    QueueStatus,
    ScheduleList,
    Settings,
    TaskPage,
    TaskStatus,
    Why,
)


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


class Founded(Struct, array_like=True, frozen=True, tag=7):
    """Answers `FoundCluster` with the identity that counts."""

    cluster_id: str


class Done(Struct, array_like=True, frozen=True, tag=8):
    """Answers what sets something; `is_changed` is false if it was so already."""

    is_changed: bool
    index: int = 0
    """The log index of the entry."""


class Swept(Struct, array_like=True, frozen=True, tag=9):
    """Answers `Sweep`: how many tasks it changed, and where the next one goes on."""

    tasks: int
    next_after: int | None
    until: int
    """What the next one must give as `until`."""
    index: int = 0


CommandReply: TypeAlias = Enqueued | Leased | Settled | Rejected | Founded | Done | Swept
ReadReply: TypeAlias = (
    TaskStatus | QueueStatus | TaskPage | QueueList | Why | Settings | ScheduleList
)
Reply: TypeAlias = CommandReply | ReadReply | ClusterStatus


class HelloReply(Struct, array_like=True, frozen=True):
    """What a node answers to `hello`: who it is and where the others are."""

    version: int
    node: str
    cluster_id: str
    leader: str | None
    nodes: list[NodeStatus]
