"""What applying an entry gives: replies, and what others may wait for.

A granted lease is told without its payload, because of all replicas only the one that answers
needs it: `Machine.answer` adds it.
"""

from typing import NamedTuple, TypeAlias

from msgspec import Struct

from raftq.protocol.fields import QueueName, TaskId, TaskState
from raftq.protocol.replies import Done, Enqueued, Founded, Rejected, Settled, Swept


class GrantedTask(Struct, frozen=True, gc=False):
    """A granted lease, and what finds and proves the task's payload."""

    task_id: TaskId
    queue: QueueName
    token: int
    attempt: int
    lease_ms: int
    sequence: int
    payload_bytes: int
    payload_crc: int


class Granted(Struct, frozen=True):
    """The reply to `Lease`, before its payloads are read."""

    leases: list[GrantedTask]
    is_repeat: bool = False


AppliedReply: TypeAlias = Enqueued | Granted | Settled | Rejected | Founded | Done | Swept


class Event(NamedTuple):
    """Tasks of a queue that came into a state together."""

    state: TaskState
    queue: QueueName
    ids: list[TaskId]


class Applied(Struct):
    """What one entry did: `replies` to its commands, in order, and what others may wait for."""

    replies: list[AppliedReply] = []
    rejected: Rejected | None = None
    """Why the whole entry was refused; then nothing changed and there are no replies."""
    ready: list[QueueName] = []
    """Queues of which more can be leased than before."""
    finished: list[TaskId] = []
    """Tasks that are over."""
    index: int = 0
    """Of the entry in the log."""
    wall_at_ms: int = 0
    events: list[Event] = []
    """What became of tasks, in order."""
    errors: int = 0
    """Commands that met a bug; each was answered with `internal`."""
