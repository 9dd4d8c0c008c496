"""The rules about reads: what breaks them, and the nearest history that does not."""

import pytest
from tests.support.histories import (
    DONE,
    LEASED,
    READY,
    SCHEDULED,
    A,
    B,
    Script,
    granted,
    rules,
    status,
)

NOTHING: set[str] = set()


@pytest.fixture
def script() -> Script:
    script = Script()
    script.enqueue(0, A)
    return script


@pytest.mark.parametrize(("at", "expected"), [(5, {"stale-read"}), (0.5, NOTHING)])
def test_an_acknowledged_task_is_found(script: Script, at: float, expected: set[str]) -> None:
    script.read(at, A)
    assert rules(script) == expected


def test_a_stale_read_may_be_stale(script: Script) -> None:
    script.lease(10, granted(A, 1))
    script.ack(20, 1)
    script.read(30, A, is_stale=True)
    script.read(40, status(A, READY), is_stale=True)
    assert rules(script) == NOTHING


@pytest.mark.parametrize(("at", "expected"), [(20, {"stale-read"}), (10.5, NOTHING)])
def test_a_read_shows_the_leases_granted_before_it(
    script: Script, at: float, expected: set[str]
) -> None:
    script.lease(10, granted(A, 1))
    script.read(at, status(A, READY))
    assert rules(script) == expected


def test_a_read_shows_no_lease_that_was_granted_after_it(script: Script) -> None:
    script.read(10, status(A, LEASED, 1))
    script.lease(20, granted(A, 1))
    assert rules(script) == {"stale-read"}
    script.operations[2].invoked_at_ms = 10.5
    assert rules(script) == NOTHING


@pytest.mark.parametrize("settle", ["fail", "requeue"])
def test_a_read_shows_no_lease_that_had_ended(script: Script, settle: str) -> None:
    script.lease(10, granted(A, 1))
    if settle == "fail":
        script.fail(20, 1)
    else:
        script.requeue(20, 1)
    script.read(30, status(A, LEASED, 1, failures=settle == "fail"))
    assert rules(script) == {"stale-read"}
    script.replace(3, script.read(30, status(A, READY, 1, failures=settle == "fail")))
    assert rules(script) == NOTHING


def test_a_read_shows_the_ack_before_it(script: Script) -> None:
    script.lease(10, granted(A, 1))
    script.ack(20, 1)
    script.read(30, status(A, READY, 1))
    assert rules(script) == {"stale-read", "terminal-changed"}
    script.replace(3, script.read(30, status(A, DONE, 1)))
    assert rules(script) == NOTHING


@pytest.mark.parametrize(("at", "expected"), [(500, {"stale-read"}), (1_010, NOTHING)])
def test_a_read_shows_a_lease_that_certainly_runs(
    script: Script, at: float, expected: set[str]
) -> None:
    script.lease(10, granted(A, 1))
    script.read(at, status(A, READY, 1))
    assert rules(script) == expected


def test_a_task_is_scheduled_after_a_lease_only_if_it_was_given_back(script: Script) -> None:
    script.lease(10, granted(A, 1))
    script.fail(20, 1, lost=True)
    script.read(30, status(A, SCHEDULED, 1))
    assert rules(script) == {"stale-read"}
    script.replace(2, script.requeue(20, 1, 500, lost=True))
    assert rules(script) == NOTHING


@pytest.mark.parametrize(("failures", "expected"), [(0, {"stale-read"}), (1, NOTHING)])
def test_a_read_shows_the_failures_before_it(
    script: Script, failures: int, expected: set[str]
) -> None:
    script.lease(10, granted(A, 1))
    script.fail(20, 1)
    script.read(30, status(A, READY, 1, failures=failures))
    assert rules(script) == expected


@pytest.mark.parametrize(("failures", "expected"), [(2, {"stale-read"}), (1, NOTHING)])
def test_a_read_shows_no_more_failures_than_were_reported(
    script: Script, failures: int, expected: set[str]
) -> None:
    script.lease(10, granted(A, 1))
    script.fail(20, 1, lost=True)
    script.read(30, status(A, READY, 1, failures=failures))
    assert rules(script) == expected


@pytest.mark.parametrize(("at", "expected"), [(5_010, {"stale-read"}), (5_000.5, NOTHING)])
def test_a_later_read_shows_no_less(script: Script, at: float, expected: set[str]) -> None:
    script.read(5_000, status(A, READY, 4, crashes=3))
    script.read(at, status(A, READY, 3, crashes=2))
    assert rules(script) == expected


# ---------------------------------------------------------------- counts of a queue


@pytest.mark.parametrize(("at", "expected"), [(5, {"stale-count"}), (0.5, NOTHING)])
def test_a_count_has_the_enqueues_before_it(script: Script, at: float, expected: set[str]) -> None:
    script.count(at, 0)
    assert rules(script) == expected


@pytest.mark.parametrize(("count", "expected"), [(3, {"stale-count"}), (2, NOTHING)])
def test_a_count_has_no_more_than_may_have_been_enqueued(
    script: Script, count: int, expected: set[str]
) -> None:
    script.enqueue(10, B, lost=True)
    script.count(20, count)
    assert rules(script) == expected


@pytest.mark.parametrize(("at", "expected"), [(30, {"stale-count"}), (20.5, NOTHING)])
def test_a_count_has_the_acks_before_it(script: Script, at: float, expected: set[str]) -> None:
    script.lease(10, granted(A, 1))
    script.ack(20, 1)
    script.count(at, 1, done=0)
    assert rules(script) == expected


def test_a_count_has_no_more_done_than_may_have_been_acked(script: Script) -> None:
    script.lease(10, granted(A, 1))
    script.count(20, 1, done=1)
    assert rules(script) == {"stale-count"}
    script.insert(2, script.ack(15, 1, lost=True))
    assert rules(script) == NOTHING


def test_the_counts_of_a_queue_add_up(script: Script) -> None:
    script.count(20, 1, waiting=2)
    assert rules(script) == {"conservation"}
