"""Commands and reads beyond the life cycle: control, settings, schedules, lists, explanations.

See `raftq.protocol.messages` for how all of them are encoded.
"""

from typing import Annotated

from msgspec import Meta, Struct

from raftq.protocol import limits
from raftq.protocol.fields import (
    Consistency,
    Count,
    DelayMs,
    Index,
    Instant,
    Key,
    Priority,
    QueueName,
    ScheduleName,
    SweepAction,
    TaskId,
    TaskIds,
    TaskState,
    WaitMs,
)
from raftq.protocol.options import KeyLimit, QueueChanges, Quota, Schedule, TaskFilter
from raftq.protocol.tasks import NewTask

# ---------------------------------------------------------------- commands


class Cancel(Struct, array_like=True, frozen=True, tag=9, forbid_unknown_fields=True):
    """Cancel tasks, waiting or leased. Each is judged on its own; `Settled` answers."""

    ids: TaskIds


class Confirm(Struct, array_like=True, frozen=True, tag=10, forbid_unknown_fields=True):
    """Let prepared tasks go on. Each is judged on its own; `Settled` answers."""

    ids: TaskIds


class Edit(Struct, array_like=True, frozen=True, tag=11, forbid_unknown_fields=True):
    """Change a task that waits; `Settled` with one item answers.

    At most one of `delay_ms`, counted from now, and `not_before_at_ms` may be given.
    """

    id: TaskId
    delay_ms: DelayMs | None = None
    not_before_at_ms: Instant | None = None
    priority: Priority | None = None


class Sweep(Struct, array_like=True, frozen=True, tag=12, forbid_unknown_fields=True):
    """Do one thing with many tasks; `Swept` answers, and tells where the next sweep goes on.

    `after` is the sequence behind which it begins. Tasks enqueued after `until` (0: all there
    are when it is applied) are left alone, so that a sweep in parts ends.
    """

    action: SweepAction
    filter: TaskFilter
    after: Index = 0
    until: Index = 0
    tasks_max: Annotated[int, Meta(ge=1, le=limits.TASKS_PER_SWEEP_MAX)] = (
        limits.TASKS_PER_SWEEP_MAX
    )
    to_queue: QueueName | None = None
    """Of `move`."""


class SetQueue(Struct, array_like=True, frozen=True, tag=13, forbid_unknown_fields=True):
    """Change settings of a queue, which is created if it is new; `Done` answers."""

    queue: QueueName
    changes: QueueChanges


class SetLimit(Struct, array_like=True, frozen=True, tag=14, forbid_unknown_fields=True):
    """Set what holds for a limit key; a limit of nothing removes it. `Done` answers."""

    key: Key
    limit: KeyLimit


class SetQuota(Struct, array_like=True, frozen=True, tag=15, forbid_unknown_fields=True):
    """Set the quota of the cluster; `Done` answers."""

    quota: Quota


class SetSchedule(Struct, array_like=True, frozen=True, tag=16, forbid_unknown_fields=True):
    """Create or replace a schedule; `Done` answers.

    Setting what is set already changes nothing, so a program may do it at each start.
    `next_at_ms` is the first tick, computed by the leader; a client leaves it 0.
    """

    name: ScheduleName
    schedule: Schedule
    next_at_ms: Instant = 0


class DeleteSchedule(Struct, array_like=True, frozen=True, tag=17, forbid_unknown_fields=True):
    """Delete a schedule; tasks that it enqueued stay. `Done` answers."""

    name: ScheduleName


class FireSchedule(Struct, array_like=True, frozen=True, tag=18, forbid_unknown_fields=True):
    """Enqueue the task of a tick. Proposed by the leader; a client cannot.

    It changes nothing unless the schedule has this revision and waits for this tick: that makes
    each tick fire once.
    """

    name: ScheduleName
    revision: Index
    tick_at_ms: Instant
    next_at_ms: Instant
    """The tick after it; 0 if there is none."""
    task: NewTask | None
    """None: the tick is left out."""
    skipped: Count = 0
    """Ticks that are left out between this one and the next."""


class EnqueuePart(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Tasks of one queue."""

    queue: QueueName
    tasks: Annotated[list[NewTask], Meta(min_length=1, max_length=limits.TASKS_PER_ENQUEUE_MAX)]


class EnqueueParts(Struct, array_like=True, frozen=True, tag=8, forbid_unknown_fields=True):
    """Add tasks to several queues, all or none; a task may depend on one before it.

    `Enqueued` answers, in the order of the parts and their tasks.
    """

    parts: Annotated[list[EnqueuePart], Meta(min_length=1, max_length=limits.BATCHES_MAX)]


# ---------------------------------------------------------------- reads


class ResultCall(Struct, array_like=True, frozen=True, tag=110, forbid_unknown_fields=True):
    """Read one task, waiting up to `wait_ms` for it to be over; `TaskStatus` answers.

    `min_index` asks for a state at least as new as that of a log index that a reply told;
    it lets any node answer, if `consistency` is stale.
    """

    task_id: TaskId
    wait_ms: WaitMs = 0
    consistency: Consistency = Consistency.LINEARIZABLE
    min_index: Index = 0


class TasksCall(Struct, array_like=True, frozen=True, tag=111, forbid_unknown_fields=True):
    """List tasks in the order of their enqueue; `TaskPage` answers.

    With `count_max` 0 they are counted only: a dry run of a sweep.
    """

    filter: TaskFilter
    after: Index = 0
    count_max: Annotated[int, Meta(ge=0, le=limits.TASKS_PER_SWEEP_MAX)] = 100
    consistency: Consistency = Consistency.LINEARIZABLE


class WhyCall(Struct, array_like=True, frozen=True, tag=112, forbid_unknown_fields=True):
    """Ask what holds a task back; `Why` answers."""

    task_id: TaskId
    consistency: Consistency = Consistency.LINEARIZABLE


class QueuesCall(Struct, array_like=True, frozen=True, tag=113, forbid_unknown_fields=True):
    """Read all queues; `QueueList` answers."""

    consistency: Consistency = Consistency.LINEARIZABLE


class SettingsCall(Struct, array_like=True, frozen=True, tag=114, forbid_unknown_fields=True):
    """Read the quota of the cluster and all key limits; `Settings` answers."""

    consistency: Consistency = Consistency.LINEARIZABLE


class SchedulesCall(Struct, array_like=True, frozen=True, tag=115, forbid_unknown_fields=True):
    """Read all schedules, or the one of a name; `ScheduleList` answers."""

    name: ScheduleName | None = None
    consistency: Consistency = Consistency.LINEARIZABLE


# ---------------------------------------------------------------- replies


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
