"""Every error has its place in HTTP."""

import msgspec
import pytest

from raftq.protocol import errors, limits
from raftq.protocol.errors import ERRORS_BY_CODE, OutcomeUnknown, RaftqError, StorageError
from raftq.server.problems import CODES, problem

STATUS = {
    "invalid_request": 400,
    "unsupported_version": 400,
    "forbidden": 403,
    "unknown_method": 404,
    "unknown_task": 404,
    "unknown_schedule": 404,
    "lease_lost": 409,
    "cancelled": 409,
    "conflict": 409,
    "key_taken": 409,
    "forgotten_task": 410,
    "events_lost": 410,
    "payload_too_large": 413,
    "rate_limited": 429,
    "no_leader": 503,
    "not_ready": 503,
    "shutting_down": 503,
    "queue_full": 503,
    "disk_full": 507,
    "outcome_unknown": 504,
    "internal": 500,
}
"""The contract: 4xx, 507 and 503 mean that nothing happened, 504 that it is not known."""


@pytest.mark.parametrize("kind", ERRORS_BY_CODE.values(), ids=ERRORS_BY_CODE)
def test_every_error_has_a_status_and_a_code_of_the_contract(kind: type[RaftqError]) -> None:
    status, headers, body = problem(kind("words", fact=7))
    if issubclass(kind, StorageError):
        assert status == 500
    elif issubclass(kind, OutcomeUnknown):
        assert (status, body["code"]) == (504, "outcome_unknown")
    else:
        code = "no_leader" if kind is errors.NotLeader else kind.code
        assert (body["code"], status) == (code, STATUS[code])
    assert body["status"] == status
    assert body["detail"] == "words" and body["fact"] == 7
    assert body["type"] == f"urn:raftq:error:{body['code']}"
    assert ("Retry-After" in headers) == (status in {429, 503, 507})
    msgspec.json.encode(body)


def test_the_listed_codes_are_those_of_the_contract() -> None:
    assert sorted(CODES) == sorted(STATUS)


@pytest.mark.parametrize(("advice", "seconds"), [(1, "1"), (1_000, "1"), (1_001, "2"), (0, "1")])
def test_retry_after_is_whole_seconds_rounded_up(advice: int, seconds: str) -> None:
    _, headers, body = problem(errors.QueueFull("full", retry_after_ms=advice))
    assert headers["Retry-After"] == seconds
    assert body["retry_after_ms"] == advice


def test_what_can_be_tried_again_always_says_when() -> None:
    _, headers, body = problem(errors.NoLeader("none"))
    assert body["retry_after_ms"] == limits.RETRY_AFTER_MS
    assert headers["Retry-After"] == "1"


def test_facts_never_replace_the_fields_of_a_problem() -> None:
    _, _, body = problem(errors.Conflict("words", status=200, code="fine", detail="x"))
    assert (body["status"], body["code"], body["detail"]) == (409, "conflict", "words")


def test_a_status_of_http_itself_is_kept_in_the_body() -> None:
    status, _, body = problem(errors.UnknownMethod("no"), 405)
    assert (status, body["status"], body["title"]) == (405, 405, "Method Not Allowed")
