"""Errors on the wire: stable codes, typed on both sides."""

import pytest

from raftq.protocol import codec
from raftq.protocol.errors import (
    ERRORS_BY_CODE,
    InternalError,
    LeaseLost,
    NotLeader,
    OutcomeUnknown,
    RaftqError,
    RequestError,
    StorageError,
    UnavailableError,
    error_from_code,
)

GOLDEN = {
    "internal": None,
    "invalid_request": RequestError,
    "unknown_method": RequestError,
    "unsupported_version": RequestError,
    "unknown_task": RequestError,
    "payload_too_large": RequestError,
    "lease_lost": RequestError,
    "conflict": RequestError,
    "key_taken": RequestError,
    "cancelled": RequestError,
    "forgotten_task": RequestError,
    "unknown_schedule": RequestError,
    "events_lost": RequestError,
    "forbidden": RequestError,
    "not_leader": UnavailableError,
    "no_leader": UnavailableError,
    "not_ready": UnavailableError,
    "queue_full": UnavailableError,
    "rate_limited": UnavailableError,
    "disk_full": UnavailableError,
    "shutting_down": UnavailableError,
    "outcome_unknown": OutcomeUnknown,
    "commit_timeout": OutcomeUnknown,
    "connection_lost": OutcomeUnknown,
    "leadership_lost": OutcomeUnknown,
    "storage": StorageError,
    "corrupt_record": StorageError,
    "unsupported_format": StorageError,
    "data_dir_locked": StorageError,
    "sync_failed": StorageError,
    "removed_from_cluster": StorageError,
}
"""Every code ever used, with the group that tells a caller what to do. Only ever add to it."""


@pytest.mark.parametrize(("code", "group"), GOLDEN.items())
def test_a_code_keeps_its_meaning(code: str, group: type[RaftqError] | None) -> None:
    cls = ERRORS_BY_CODE[code]
    assert cls.code == code
    assert issubclass(cls, group or InternalError)


def test_no_code_is_missing_in_the_list() -> None:
    assert set(ERRORS_BY_CODE) == set(GOLDEN)


def test_no_two_errors_share_a_code() -> None:
    def classes(base: type[RaftqError]) -> list[type[RaftqError]]:
        return [base, *(each for sub in base.__subclasses__() for each in classes(sub))]

    own = [cls.code for cls in classes(RaftqError) if "code" in vars(cls)]
    assert len(own) == len(set(own))


@pytest.mark.parametrize("code", GOLDEN)
def test_an_error_survives_the_wire(code: str) -> None:
    sent = error_from_code(code, "what was wrong", {"retry_after_ms": 5, "leader": None, "n": "x"})
    got = codec.error_from_wire(codec.error_to_wire(sent))
    assert type(got) is type(sent) is ERRORS_BY_CODE[code]
    assert (got.message, got.facts) == (sent.message, sent.facts)


def test_a_code_of_a_newer_server_becomes_an_internal_error_that_names_it() -> None:
    error = codec.error_from_wire(["code_of_tomorrow", "text", {"a": 1}])
    assert type(error) is InternalError
    assert error.facts == {"a": 1, "unknown_code": "code_of_tomorrow"}


@pytest.mark.parametrize("name", ["message", "self", "code", "args"])
def test_a_fact_may_have_any_name(name: str) -> None:
    error = codec.error_from_wire(["lease_lost", "text", {name: "value"}])
    assert isinstance(error, LeaseLost)
    assert error.message == "text" and error.facts == {name: "value"}


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "not_leader",
        [],
        ["not_leader"],
        ["not_leader", "text"],
        ["not_leader", 5, {}],
        ["not_leader", "text", {}, "more"],
        ["not_leader", "text", {"fact": [1]}],
        ["not_leader", "text", {"fact": 0.5}],
        [b"not_leader", "text", {}],
    ],
)
def test_a_malformed_error_is_an_internal_error(raw: object) -> None:
    assert type(codec.error_from_wire(raw)) is InternalError


def test_facts_are_attributes_and_not_only_text() -> None:
    assert NotLeader("n2 leads", leader="n2").facts["leader"] == "n2"
