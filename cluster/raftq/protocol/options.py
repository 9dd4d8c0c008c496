"""What a task, a queue, a limit and a schedule can be told.

All but `NewTask` travel as maps in which defaults are left out: most tasks have few of many
options, and a program in another language reads names.
"""

from typing import Annotated, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from raftq.protocol import limits
from raftq.protocol.fields import (
    AttemptsMaxOrDefault,
    BackoffKind,
    BackoffMs,
    Count,
    CrashesMax,
    DelayMs,
    Instant,
    Key,
    MissedRuns,
    OnConflict,
    OnParentFailure,
    Overlap,
    Payload,
    Priority,
    QueueName,
    ResultTtlMs,
    TaskId,
    TaskState,
)


class Backoff(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The pause before a retry: `base_ms` as `kind` says, at most `max_ms`.

    The jitter takes up to `jitter_percent` of the pause away. It follows from task id and attempt,
    so that every replica computes the same and many tasks that failed together are spread.
    """

    base_ms: BackoffMs = 1_000
    kind: BackoffKind = BackoffKind.EXPONENTIAL
    max_ms: BackoffMs = 10 * limits.MINUTE_MS
    jitter_percent: Annotated[int, Meta(ge=0, le=100)] = 20


class TaskOptions(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Everything about a task that most tasks do without.

    `expires_at_ms` and `expires_after_ms` (counted from the enqueue) drop a task that was not
    leased by then; the earlier one counts.
    """

    expires_at_ms: Instant = 0
    expires_after_ms: DelayMs = 0
    backoff: Backoff | None = None
    """None means the queue's."""
    crashes_max: CrashesMax = 0
    unique_key: Key | None = None
    on_conflict: OnConflict = OnConflict.REJECT
    unique_ms: DelayMs = 0
    """How long the key is taken from the enqueue on; 0 means until the task is over."""
    order_key: Key | None = None
    limit_key: Key | None = None
    fair_key: Key | None = None
    depends_on: Annotated[list[TaskId], Meta(max_length=limits.PARENTS_MAX)] = []
    on_parent_failure: OnParentFailure = OnParentFailure.CANCEL
    result_ttl_ms: ResultTtlMs = 0
    """How long the outcome is kept, `RETRY_MEMORY_MS` at least; 0 means the queue's."""
    confirm_within_ms: Annotated[int, Meta(ge=0, le=limits.CONFIRM_MS_MAX)] = 0
    """Above 0 the task is prepared only, and must be confirmed in time."""
    check_queue: QueueName | None = None
    """Where a prepared task goes that was not confirmed in time; None means that it expires."""


class NewTask(Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """A task to enqueue. `delay_ms` counts from the wall time of its log entry.

    Of `delay_ms` and `not_before_at_ms` the later counts.
    """

    id: TaskId
    payload: Payload
    priority: Priority = limits.PRIORITY_DEFAULT
    delay_ms: DelayMs = 0
    attempts_max: AttemptsMaxOrDefault = 0
    not_before_at_ms: Instant = 0
    options: TaskOptions | None = None


class Rate(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A token bucket: `count` starts in each `per_ms`, and up to `burst` at once after a pause."""

    count: Annotated[int, Meta(ge=1, le=limits.RATE_MAX)]
    per_ms: Annotated[int, Meta(ge=1, le=limits.RATE_PERIOD_MS_MAX)] = 1_000
    burst: Annotated[int, Meta(ge=1, le=limits.BURST_MAX)] = 1


Concurrency: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]
Weights: TypeAlias = Annotated[
    dict[Key, Annotated[int, Meta(ge=1, le=limits.WEIGHT_MAX)]],
    Meta(max_length=limits.FAIR_WEIGHTS_MAX),
]
AgeingMs: TypeAlias = Annotated[int, Meta(ge=0, le=limits.AGEING_MS_MAX)]


class QueueSettings(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a queue is run; the defaults are those of a queue that nobody set."""

    paused: bool = False
    """While true nothing of it is leased; enqueues and settlements go on."""
    concurrency: Concurrency | None = None
    """Tasks that may be leased at a time; None means any number."""
    rate: Rate | None = None
    """How fast tasks may be leased."""
    attempts_max: Annotated[int, Meta(ge=1, le=limits.ATTEMPTS_MAX_LIMIT)] = (
        limits.ATTEMPTS_MAX_DEFAULT
    )
    crashes_max: Annotated[int, Meta(ge=1, le=limits.CRASHES_MAX_LIMIT)] = limits.CRASHES_MAX
    backoff: Backoff = Backoff(base_ms=0)
    result_ttl_ms: Annotated[int, Meta(ge=1, le=limits.RESULT_TTL_MS_MAX)] = (
        limits.RESULT_RETENTION_MS
    )
    ageing_ms: AgeingMs = limits.AGEING_MS_DEFAULT
    """How much waiting counts as much as one step of priority; 0 means that none does."""
    tasks_max: Count | None = None
    """Unfinished tasks that it may hold."""
    payload_bytes_max: Count | None = None
    """Payload bytes of its unfinished tasks."""
    enqueue_rate: Rate | None = None
    """How fast tasks may be enqueued."""
    fair_weights: Weights = {}
    """Share of each fair key; a key that is not here has 1."""


class QueueChanges(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """New values of a queue's settings; what is left out stays as it is."""

    paused: bool | UnsetType = UNSET
    concurrency: Concurrency | UnsetType | None = UNSET
    rate: Rate | UnsetType | None = UNSET
    attempts_max: Annotated[int, Meta(ge=1, le=limits.ATTEMPTS_MAX_LIMIT)] | UnsetType = UNSET
    crashes_max: Annotated[int, Meta(ge=1, le=limits.CRASHES_MAX_LIMIT)] | UnsetType = UNSET
    backoff: Backoff | UnsetType = UNSET
    result_ttl_ms: Annotated[int, Meta(ge=1, le=limits.RESULT_TTL_MS_MAX)] | UnsetType = UNSET
    ageing_ms: AgeingMs | UnsetType = UNSET
    tasks_max: Count | UnsetType | None = UNSET
    payload_bytes_max: Count | UnsetType | None = UNSET
    enqueue_rate: Rate | UnsetType | None = UNSET
    fair_weights: Weights | UnsetType = UNSET


class Quota(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the whole cluster may hold and take in; None means that only the program's own limits
    hold."""

    tasks_max: Count | None = None
    payload_bytes_max: Count | None = None
    enqueue_rate: Rate | None = None


class KeyLimit(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What holds for all tasks of one limit key together, in whatever queues they are."""

    concurrency: Concurrency | None = None
    rate: Rate | None = None


class Schedule(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """When a task is enqueued again and again, and what task.

    Exactly one of `cron` and `every_ms` is set.
    """

    queue: QueueName
    payload: Payload
    cron: Annotated[str, Meta(max_length=limits.SCHEDULE_TEXT_CHARACTERS_MAX)] | None = None
    """Five fields: minute, hour, day of the month, month, day of the week."""
    timezone: Annotated[str, Meta(max_length=limits.SCHEDULE_TEXT_CHARACTERS_MAX)] = "UTC"
    """Of `cron`, as the IANA names it."""
    every_ms: Annotated[int, Meta(ge=1_000, le=limits.DELAY_MS_MAX)] | None = None
    missed: MissedRuns = MissedRuns.ONE
    overlap: Overlap = Overlap.ALLOW
    jitter_ms: Annotated[int, Meta(ge=0, le=limits.JITTER_MS_MAX)] = 0
    """Each run starts up to so much later, by its tick and the schedule's name."""
    paused: bool = False
    priority: Priority = limits.PRIORITY_DEFAULT
    attempts_max: AttemptsMaxOrDefault = 0
    options: TaskOptions | None = None


class TaskFilter(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which tasks: those that match everything that is given."""

    queue: QueueName | None = None
    states: Annotated[list[TaskState], Meta(max_length=16)] = []
    unique_key: Key | None = None
    order_key: Key | None = None
    limit_key: Key | None = None
    fair_key: Key | None = None
    priority: Priority | None = None
    enqueued_before_ms: Instant = 0
    enqueued_after_ms: Instant = 0
    error_contains: Annotated[str, Meta(max_length=256)] | None = None
    """Text in the newest error."""
