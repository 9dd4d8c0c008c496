"""JSON bodies of HTTP requests of a task's life cycle, as types: what is accepted.

Unknown fields, wrong types and values out of range are refused while decoding, with the field's
name. Bytes travel as text (UTF-8) or as base64, never as both.
"""

from collections.abc import Callable
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from raftq.protocol import limits
from raftq.protocol.commands import AckItem, EnqueuePart, ExtendItem
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import (
    AttemptsMaxOrDefault,
    DelayMs,
    ErrorText,
    Instant,
    LeaseCount,
    LeaseMs,
    MemberId,
    PeerAddress,
    Priority,
    QueueName,
    RequestId,
    TimeoutMs,
    WaitMs,
    WorkerName,
)
from raftq.protocol.options import NewTask
from raftq.server.control.options import OptionsBody, task_options
from raftq.server.http_bytes import bounded, to_bytes

Body = TypeVar("Body", bound=Struct)
PageCount = Annotated[int, Meta(ge=0, le=limits.TASKS_PER_SWEEP_MAX)]
"""Tasks on one page of a list; of none, they are counted only."""


class TaskBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One task to enqueue: `payload` or `payload_base64`, nothing means empty."""

    id: UUID | None = None
    payload: str | None = None
    payload_base64: str | None = None
    priority: Priority = limits.PRIORITY_DEFAULT
    delay_ms: DelayMs = 0
    attempts_max: AttemptsMaxOrDefault = 0
    """0 means the queue's."""
    not_before_at_ms: Instant = 0
    options: OptionsBody | None = None


class PartBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Tasks of one queue."""

    queue: QueueName
    tasks: Annotated[list[TaskBody], Meta(min_length=1, max_length=limits.TASKS_PER_ENQUEUE_MAX)]


class EnqueuePartsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/tasks."""

    parts: Annotated[list[PartBody], Meta(min_length=1, max_length=limits.BATCHES_MAX)]
    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT


class EnqueueBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/queues/{queue}/tasks."""

    tasks: Annotated[list[TaskBody], Meta(min_length=1, max_length=limits.TASKS_PER_ENQUEUE_MAX)]
    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT


class LeaseBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/queues/{queue}/leases."""

    worker: WorkerName
    count: LeaseCount = 1
    lease_ms: LeaseMs = limits.LEASE_MS_DEFAULT
    wait_ms: WaitMs = 0
    request_id: RequestId | None = None
    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT


class AckBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/leases/{token}/ack."""

    result: str | None = None
    result_base64: str | None = None
    follow_ups: Annotated[list[PartBody], Meta(max_length=limits.BATCHES_MAX)] = []
    """Tasks to enqueue together with the acknowledgement, or not at all."""
    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT


class FailBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/leases/{token}/fail."""

    error: ErrorText
    delay_ms: DelayMs | None = None
    is_final: bool = False
    is_crash: bool = False
    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT


class RequeueBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/leases/{token}/requeue."""

    delay_ms: DelayMs = 0
    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT


class ExtendBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/leases/{token}/extend."""

    lease_ms: LeaseMs
    progress: str | None = None
    progress_base64: str | None = None
    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT


class AddMemberBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/cluster/members."""

    id: MemberId
    peer_address: PeerAddress
    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT


class TransferLeaderBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/cluster/transfer-leader."""

    to: MemberId | None = None
    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT


def decode_body(body: bytes, kind: type[Body]) -> Body:
    """Return a JSON body as its type; an empty one counts as `{}`.

    Raises:
        InvalidRequest: It is malformed; the message names the field.
    """
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"malformed body: {error}") from None


def new_task(body: TaskBody, new_id: Callable[[], bytes]) -> NewTask:
    """Return the task that a body describes."""
    payload = to_bytes(body.payload, body.payload_base64, "payload")
    return NewTask(
        new_id() if body.id is None else body.id.bytes,
        bounded(payload, limits.PAYLOAD_BYTES_MAX, "payload") or b"",
        body.priority,
        body.delay_ms,
        body.attempts_max,
        body.not_before_at_ms,
        task_options(body.options),
    )


def enqueue_part(body: PartBody, new_id: Callable[[], bytes]) -> EnqueuePart:
    """Return the tasks of one queue that a body describes."""
    return EnqueuePart(body.queue, [new_task(task, new_id) for task in body.tasks])


def ack_item(token: int, body: AckBody, new_id: Callable[[], bytes]) -> AckItem:
    """Return the acknowledgement that a body describes."""
    result = to_bytes(body.result, body.result_base64, "result")
    follow_ups = [enqueue_part(part, new_id) for part in body.follow_ups]
    return AckItem(token, bounded(result, limits.RESULT_BYTES_MAX, "result"), follow_ups)


def extend_item(token: int, body: ExtendBody) -> ExtendItem:
    """Return the extension that a body describes."""
    progress = to_bytes(body.progress, body.progress_base64, "progress")
    progress = bounded(progress, limits.PROGRESS_BYTES_MAX, "progress")
    return ExtendItem(token, body.lease_ms, progress)
