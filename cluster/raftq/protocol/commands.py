"""What changes the queue machine: commands, and the log entries that carry them.

A message is a msgspec struct, encoded as a MessagePack array, `[tag, field, …]`, with trailing
fields optional, so a field can be added at the end without breaking anybody. Ranges and patterns
are checked while decoding, in C: what has been decoded can be trusted. Why msgspec:
docs/decisions/0002-msgspec.md.

Three kinds:
- a *command* changes the queue machine and is written to the log; those beyond a task's life
  are in `control`;
- a *call* is what a client asks for (`calls`): every command except `Lease`, whose call form
  `LeaseCall` can also wait, and the reads;
- a *reply* answers a call (`replies`; what the reads tell is in `statuses`).

The types of fields are in `fields`, what a task, queue or schedule can be told in `options`.
"""

from collections.abc import Iterator
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from raftq.protocol import limits
from raftq.protocol.control import (
    Cancel,
    Confirm,
    DeleteSchedule,
    Edit,
    FireSchedule,
    SetLimit,
    SetQueue,
    SetQuota,
    SetSchedule,
    Sweep,
)
from raftq.protocol.fields import (
    ClusterId,
    DelayMs,
    ErrorText,
    LeaseCount,
    LeaseMs,
    Progress,
    QueueName,
    Queues,
    RequestId,
    ResultBytes,
    Token,
    WorkerName,
)
from raftq.protocol.options import NewTask


class EnqueuePart(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Tasks of one queue."""

    queue: QueueName
    tasks: Annotated[list[NewTask], Meta(min_length=1, max_length=limits.TASKS_PER_ENQUEUE_MAX)]


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
    """The pause before the retry; None means the backoff, of a crash as of a failure."""
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


class Enqueue(Struct, array_like=True, frozen=True, tag=1, forbid_unknown_fields=True):
    """Add tasks to a queue, all or none. Ids within one call must differ."""

    queue: QueueName
    tasks: Annotated[list[NewTask], Meta(min_length=1, max_length=limits.TASKS_PER_ENQUEUE_MAX)]


class EnqueueParts(Struct, array_like=True, frozen=True, tag=8, forbid_unknown_fields=True):
    """Add tasks to several queues, all or none; a task may depend on one before it.

    `Enqueued` answers, in the order of the parts and their tasks.
    """

    parts: Annotated[list[EnqueuePart], Meta(min_length=1, max_length=limits.BATCHES_MAX)]


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


Settlement: TypeAlias = Ack | Fail | Requeue | Extend
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
