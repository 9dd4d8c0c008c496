"""Commands beyond a task's life: they change waiting tasks, settings and schedules.

See `commands` for how all messages are encoded.
"""

from typing import Annotated

from msgspec import Meta, Struct

from raftq.protocol import limits
from raftq.protocol.fields import (
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
)
from raftq.protocol.options import KeyLimit, NewTask, QueueChanges, Quota, Schedule, TaskFilter


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
