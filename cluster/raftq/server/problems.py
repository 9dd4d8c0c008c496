"""Errors over HTTP: RFC 9457 problem details with raftq's stable code."""

from http import HTTPStatus
from typing import Final

from raftq.protocol import limits
from raftq.protocol.errors import (
    Conflict,
    DiskFull,
    EventsLost,
    Forbidden,
    ForgottenTask,
    InternalError,
    InvalidRequest,
    KeyTaken,
    LeaseLost,
    NoLeader,
    NotLeader,
    NotReady,
    OutcomeUnknown,
    PayloadTooLarge,
    QueueFull,
    RaftqError,
    RateLimited,
    ShuttingDown,
    TaskCancelled,
    UnknownMethod,
    UnknownSchedule,
    UnknownTask,
    UnsupportedVersion,
)

CONTENT_TYPE: Final = "application/problem+json"
_STATUS: Final[dict[type[RaftqError], int]] = {
    InvalidRequest: 400,
    UnsupportedVersion: 400,
    Forbidden: 403,
    UnknownMethod: 404,
    UnknownTask: 404,
    UnknownSchedule: 404,
    LeaseLost: 409,
    TaskCancelled: 409,
    Conflict: 409,
    KeyTaken: 409,
    ForgottenTask: 410,
    EventsLost: 410,
    PayloadTooLarge: 413,
    RateLimited: 429,
    NoLeader: 503,
    NotLeader: 503,
    NotReady: 503,
    ShuttingDown: 503,
    QueueFull: 503,
    DiskFull: 507,
}
CODES: Final = [
    *(cls.code for cls in _STATUS if cls is not NotLeader),
    OutcomeUnknown.code,
    InternalError.code,
]
"""Every code that a problem can have; `not_leader` is told to clients as `no_leader`."""


def problem(
    error: RaftqError, status: int | None = None
) -> tuple[int, dict[str, str], dict[str, object]]:
    """Return (status, headers, body) for an error.

    Everything that leaves the outcome open is 504 `outcome_unknown`; what is not the caller's
    doing is 500. `status` is one that HTTP itself asks for, like 405, or 401 for a token that is
    missing or unknown.
    """
    code = error.code
    if isinstance(error, OutcomeUnknown):
        status, code = 504, OutcomeUnknown.code
    elif isinstance(error, NotLeader):
        status, code = 503, NoLeader.code
    elif status is None:
        status = _STATUS.get(type(error), 500)
    headers: dict[str, str] = {}
    facts: dict[str, object] = dict(error.facts)
    if status in {429, 503, 507}:
        retry_after_ms = error.facts.get("retry_after_ms")
        if not isinstance(retry_after_ms, int):
            retry_after_ms = facts["retry_after_ms"] = limits.RETRY_AFTER_MS
        headers["Retry-After"] = str(max(1, -(-retry_after_ms // 1_000)))
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="raftq"'
    body: dict[str, object] = {
        "type": f"urn:raftq:error:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": error.message,
    }
    return status, headers, {**facts, **body}
