"""JSON bodies of HTTP requests, as types: what is accepted.

Unknown fields, wrong types and values out of range are refused while decoding, with the field's
name. Bytes travel as text (UTF-8) or as base64, never as both.
"""

import base64
import binascii
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest, PayloadTooLarge
from raftq.protocol.messages import (
    AttemptsMax,
    DelayMs,
    ErrorText,
    LeaseCount,
    LeaseMs,
    MemberId,
    NewTask,
    PeerAddress,
    Priority,
    RequestId,
    TimeoutMs,
    WaitMs,
    WorkerName,
)

Body = TypeVar("Body", bound=Struct)


class TaskBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One task to enqueue: `payload` or `payload_base64`, nothing means empty."""

    id: UUID | None = None
    payload: str | None = None
    payload_base64: str | None = None
    priority: Priority = limits.PRIORITY_DEFAULT
    delay_ms: DelayMs = 0
    attempts_max: AttemptsMax = limits.ATTEMPTS_MAX_DEFAULT


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
    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT


class FailBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/leases/{token}/fail."""

    error: ErrorText
    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT


class RequeueBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/leases/{token}/requeue."""

    delay_ms: DelayMs = 0
    timeout_ms: TimeoutMs = limits.TIMEOUT_MS_DEFAULT


class ExtendBody(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/leases/{token}/extend."""

    lease_ms: LeaseMs
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


def to_bytes(text: str | None, encoded: str | None, field: str) -> bytes | None:
    """Return the bytes given as text or as base64; None if neither was given.

    Raises:
        InvalidRequest: Both were given, or the base64 is malformed.
    """
    if text is not None and encoded is not None:
        raise InvalidRequest(f"give either {field} or {field}_base64, not both")
    if text is not None:
        return text.encode()
    if encoded is None:
        return None
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"{field}_base64 is no base64: {error}") from None


def new_task(body: TaskBody, generated_id: bytes) -> NewTask:
    """Return the task that a body describes."""
    payload = to_bytes(body.payload, body.payload_base64, "payload") or b""
    if len(payload) > limits.PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(
            f"a payload has {len(payload)} bytes; the limit is {limits.PAYLOAD_BYTES_MAX}",
            bytes_max=limits.PAYLOAD_BYTES_MAX,
        )
    id_ = generated_id if body.id is None else body.id.bytes
    return NewTask(id_, payload, body.priority, body.delay_ms, body.attempts_max)


def result_bytes(body: AckBody) -> bytes | None:
    """Return the result that a body carries."""
    result = to_bytes(body.result, body.result_base64, "result")
    if result is not None and len(result) > limits.RESULT_BYTES_MAX:
        raise PayloadTooLarge(
            f"the result has {len(result)} bytes; the limit is {limits.RESULT_BYTES_MAX}",
            bytes_max=limits.RESULT_BYTES_MAX,
        )
    return result
