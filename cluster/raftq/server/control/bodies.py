"""JSON bodies of the control resources, as types: what is accepted.

`PUT` and `PATCH` take the thing itself, so that what was read can be written; their `timeout_ms`
is in the query string. The settings of queues, limits and quotas are those of the protocol.
"""

from typing import Annotated

from msgspec import Meta, Struct

from raftq.protocol import limits
from raftq.protocol.fields import (
    DelayMs,
    Index,
    Instant,
    Priority,
    QueueName,
    SweepAction,
    TimeoutMs,
)
from raftq.protocol.options import TaskFilter

SweepCount = Annotated[int, Meta(ge=1, le=limits.TASKS_PER_SWEEP_MAX)]


class EditBody(Struct, frozen=True, forbid_unknown_fields=True):
    """PATCH /v1/tasks/{id}: what is left out stays; at most one of the two times."""

    delay_ms: DelayMs | None = None
    not_before_at_ms: Instant | None = None
    priority: Priority | None = None


class EmptyBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/tasks/{id}/cancel and /confirm."""

    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT


class PurgeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/queues/{queue}/purge; with `dry_run` tasks are counted only."""

    after: Index = 0
    until: Index = 0
    tasks_max: SweepCount = limits.TASKS_PER_SWEEP_MAX
    dry_run: bool = False
    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT


class SweepBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/sweeps; with `dry_run` tasks are counted only."""

    action: SweepAction
    filter: TaskFilter = TaskFilter()
    to_queue: QueueName | None = None
    after: Index = 0
    until: Index = 0
    tasks_max: SweepCount = limits.TASKS_PER_SWEEP_MAX
    dry_run: bool = False
    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT
