"""A task's options and a schedule in JSON: ids as UUIDs, bytes as text or base64."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct, structs

from raftq.protocol import limits
from raftq.protocol.errors import PayloadTooLarge
from raftq.protocol.fields import (
    AttemptsMaxOrDefault,
    CrashesMax,
    DelayMs,
    Instant,
    Key,
    MissedRuns,
    OnConflict,
    OnParentFailure,
    Overlap,
    Priority,
    QueueName,
    ResultTtlMs,
)
from raftq.protocol.options import Backoff, Schedule, TaskOptions
from raftq.server.http_bytes import as_text, to_bytes


class OptionsBody(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Everything about a task that most tasks do without; see `raftq.protocol.options`."""

    expires_at_ms: Instant = 0
    expires_after_ms: DelayMs = 0
    backoff: Backoff | None = None
    crashes_max: CrashesMax = 0
    unique_key: Key | None = None
    on_conflict: OnConflict = OnConflict.REJECT
    unique_ms: DelayMs = 0
    order_key: Key | None = None
    limit_key: Key | None = None
    fair_key: Key | None = None
    depends_on: Annotated[list[UUID], Meta(max_length=limits.PARENTS_MAX)] = []
    on_parent_failure: OnParentFailure = OnParentFailure.CANCEL
    result_ttl_ms: ResultTtlMs = 0
    confirm_within_ms: Annotated[int, Meta(ge=0, le=limits.CONFIRM_MS_MAX)] = 0
    check_queue: QueueName | None = None


class ScheduleBody(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """PUT /v1/schedules/{name}: `payload` or `payload_base64`, exactly one of `cron` and
    `every_ms`."""

    queue: QueueName
    payload: str | None = None
    payload_base64: str | None = None
    cron: Annotated[str, Meta(max_length=limits.SCHEDULE_TEXT_CHARACTERS_MAX)] | None = None
    timezone: Annotated[str, Meta(max_length=limits.SCHEDULE_TEXT_CHARACTERS_MAX)] = "UTC"
    every_ms: Annotated[int, Meta(ge=1_000, le=limits.DELAY_MS_MAX)] | None = None
    missed: MissedRuns = MissedRuns.ONE
    overlap: Overlap = Overlap.ALLOW
    jitter_ms: Annotated[int, Meta(ge=0, le=limits.JITTER_MS_MAX)] = 0
    paused: bool = False
    priority: Priority = limits.PRIORITY_DEFAULT
    attempts_max: AttemptsMaxOrDefault = 0
    options: OptionsBody | None = None


_PLAIN = TaskOptions()


def task_options(body: OptionsBody | None) -> TaskOptions | None:
    """Return options as they are sent; None if all have their defaults."""
    if body is None:
        return None
    fields = structs.asdict(body)
    fields["depends_on"] = [parent.bytes for parent in body.depends_on]
    options = TaskOptions(**fields)
    return None if options == _PLAIN else options


def options_body(options: TaskOptions | None) -> OptionsBody | None:
    """Return options as they are shown."""
    if options is None:
        return None
    fields = structs.asdict(options)
    fields["depends_on"] = [UUID(bytes=parent) for parent in options.depends_on]
    return OptionsBody(**fields)


def schedule_of(body: ScheduleBody) -> Schedule:
    """Return the schedule that a body describes.

    Raises:
        InvalidRequest: The payload is given twice, or is no base64.
        PayloadTooLarge: The payload is.
    """
    payload = to_bytes(body.payload, body.payload_base64, "payload") or b""
    if len(payload) > limits.SCHEDULE_PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(
            f"the payload has {len(payload)} bytes; of a schedule it may have "
            f"{limits.SCHEDULE_PAYLOAD_BYTES_MAX}",
            bytes_max=limits.SCHEDULE_PAYLOAD_BYTES_MAX,
        )
    fields = structs.asdict(body)
    del fields["payload_base64"]
    fields["payload"], fields["options"] = payload, task_options(body.options)
    return Schedule(**fields)


def schedule_body(schedule: Schedule) -> ScheduleBody:
    """Return a schedule as it is shown, so that it can be put again."""
    text, encoded = as_text(schedule.payload)
    fields = structs.asdict(schedule)
    fields["payload"], fields["payload_base64"] = text, encoded
    fields["options"] = options_body(schedule.options)
    return ScheduleBody(**fields)
