"""A task as a producer sends it."""

from msgspec import Struct

from raftq.protocol import limits
from raftq.protocol.fields import AttemptsMaxOrDefault, DelayMs, Instant, Payload, Priority, TaskId
from raftq.protocol.options import TaskOptions


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
