"""JSON answers of the HTTP API, as types: what is sent, and what the OpenAPI document promises.

Bytes become base64 while encoding.
"""

from uuid import UUID

from msgspec import Struct

from raftq.protocol.fields import TaskState
from raftq.protocol.options import QueueSettings
from raftq.protocol.replies import Enqueued, Leased
from raftq.protocol.statuses import Attempt, ClusterStatus, QueueStatus, TaskStatus
from raftq.server.control.options import OptionsBody, options_body
from raftq.server.http_bytes import text_of


class EnqueuedTaskAnswer(Struct, frozen=True):
    """A task after enqueue; `created` is false if it existed under this id."""

    id: UUID
    state: TaskState
    created: bool


class EnqueuedAnswer(Struct, frozen=True):
    """Answers an enqueue, in the order of its tasks; `index` is that of the log entry."""

    tasks: list[EnqueuedTaskAnswer]
    index: int


class LeaseAnswer(Struct, frozen=True):
    """A granted lease; `attempt` counts from 1."""

    task_id: UUID
    queue: str
    token: int
    attempt: int
    payload_base64: bytes
    lease_ms: int


class LeasesAnswer(Struct, frozen=True):
    """Answers a lease call; empty if no task became ready in time."""

    leases: list[LeaseAnswer]


class SettledAnswer(Struct, frozen=True):
    """The state of the task whose lease was settled or extended."""

    state: TaskState


class AttemptAnswer(Struct, frozen=True):
    """One run that did not succeed."""

    number: int
    worker: str
    began_at_ms: int
    ended_at_ms: int
    end: str
    error: str


class TaskAnswer(Struct, frozen=True):
    """One task; `result` and `progress` are null if there is none, or if it is not UTF-8 text.

    `lag_ms` tells how old a stale answer may be; it is null in others.
    """

    id: UUID
    queue: str
    state: TaskState
    priority: int
    failures: int
    crashes: int
    attempts: int
    attempts_max: int
    token: int | None
    result: str | None
    result_base64: bytes | None
    errors: list[str]
    not_before_at_ms: int
    enqueued_at_ms: int
    finished_at_ms: int | None
    history: list[AttemptAnswer]
    progress: str | None
    progress_base64: bytes | None
    worker: str | None
    options: OptionsBody | None
    sequence: int
    applied_index: int
    lag_ms: int | None


class QueueAnswer(Struct, frozen=True):
    """Tasks of a queue for each state; of its settings those that are not the defaults."""

    queue: str
    enqueued: int
    counts: dict[str, int]
    settings: QueueSettings
    payload_bytes: int
    oldest_ready_at_ms: int | None


class NodeAnswer(Struct, frozen=True):
    """One member as the answering node sees it."""

    id: str
    native_address: str
    http_address: str
    peer_address: str
    role: str
    reachable: bool
    is_voter: bool


class ClusterAnswer(Struct, frozen=True):
    """What the answering node knows about the cluster."""

    cluster_id: str
    node: str
    leader: str | None
    term: int
    commit_index: int
    applied_index: int
    state_hash: str
    nodes: list[NodeAnswer]


class LiveAnswer(Struct, frozen=True):
    """The event loop answers."""

    status: str = "ok"


class ReadyAnswer(Struct, frozen=True):
    """This node serves calls."""

    node: str
    leader: str | None
    status: str = "ok"


def enqueued_answer(reply: Enqueued) -> EnqueuedAnswer:
    """Return the answer to an enqueue."""
    return EnqueuedAnswer(
        [EnqueuedTaskAnswer(UUID(bytes=task.id), task.state, task.created) for task in reply.tasks],
        reply.index,
    )


def leases_answer(reply: Leased) -> LeasesAnswer:
    """Return the answer to a lease call."""
    return LeasesAnswer(
        [
            LeaseAnswer(
                UUID(bytes=lease.task_id),
                lease.queue,
                lease.token,
                lease.attempt,
                lease.payload,
                lease.lease_ms,
            )
            for lease in reply.leases
        ]
    )


def task_answer(status: TaskStatus) -> TaskAnswer:
    """Return the answer to a task read."""
    return TaskAnswer(
        id=UUID(bytes=status.id),
        queue=status.queue,
        state=status.state,
        priority=status.priority,
        failures=status.failures,
        crashes=status.crashes,
        attempts=status.attempts,
        attempts_max=status.attempts_max,
        token=status.token,
        result=text_of(status.result),
        result_base64=status.result,
        errors=status.errors,
        not_before_at_ms=status.not_before_at_ms,
        enqueued_at_ms=status.enqueued_at_ms,
        finished_at_ms=status.finished_at_ms,
        history=[_attempt(each) for each in status.history],
        progress=text_of(status.progress),
        progress_base64=status.progress,
        worker=status.worker,
        options=options_body(status.options),
        sequence=status.sequence,
        applied_index=status.applied_index,
        lag_ms=status.lag_ms,
    )


def _attempt(attempt: Attempt) -> AttemptAnswer:
    return AttemptAnswer(
        attempt.number,
        attempt.worker,
        attempt.began_at_ms,
        attempt.ended_at_ms,
        attempt.end,
        attempt.error,
    )


def queue_answer(status: QueueStatus) -> QueueAnswer:
    """Return the answer to a queue read."""
    return QueueAnswer(
        status.queue,
        status.enqueued,
        status.counts,
        status.settings,
        status.payload_bytes,
        status.oldest_ready_at_ms,
    )


def cluster_answer(status: ClusterStatus) -> ClusterAnswer:
    """Return the answer to a cluster read."""
    return ClusterAnswer(
        status.cluster_id,
        status.node,
        status.leader,
        status.term,
        status.commit_index,
        status.applied_index,
        status.state_hash,
        [
            NodeAnswer(
                node.id,
                node.native_address,
                node.http_address,
                node.peer_address,
                node.role,
                node.reachable,
                node.is_voter,
            )
            for node in status.nodes
        ],
    )
