"""Each rule about leases and tokens: what breaks it, and the nearest history that does not."""

import pytest
from tests.support.histories import A, B, Script, granted, rules

from raftq.protocol import limits
from raftq.testing.checks import Bounds
from raftq.testing.facts import ClusterFacts, LeaseExpired


@pytest.fixture
def script() -> Script:
    script = Script()
    script.enqueue(0, A)
    return script


# ---------------------------------------------------------------- exclusion


@pytest.mark.parametrize(("at", "expected"), [(500, {"overlap"}), (1_100, set[str]())])
def test_no_lease_is_granted_while_another_certainly_runs(
    script: Script, at: float, expected: set[str]
) -> None:
    script.lease(100, granted(A, 1))
    script.lease(at, granted(A, 2, 2))
    assert rules(script) == expected


def test_a_lease_that_may_have_been_given_back_does_not_exclude(script: Script) -> None:
    script.lease(100, granted(A, 1))
    script.requeue(200, 1, lost=True)
    script.lease(500, granted(A, 2, 1))
    assert rules(script) == set()


@pytest.mark.parametrize(("at", "expected"), [(1_500, {"overlap"}), (2_000, set[str]())])
def test_an_extended_lease_excludes_until_its_new_end(
    script: Script, at: float, expected: set[str]
) -> None:
    script.lease(100, granted(A, 1))
    script.extend(900, 1, 1_000)
    script.lease(at, granted(A, 2, 2))
    assert rules(script) == expected


def test_an_extension_that_may_have_shortened_the_lease_counts(script: Script) -> None:
    script.lease(100, granted(A, 1))
    script.extend(900, 1, 1_000)
    script.extend(950, 1, 200, lost=True)
    script.lease(1_500, granted(A, 2, 2))
    assert rules(script) == set()


def test_an_extension_of_unknown_outcome_prolongs_nothing_for_certain(script: Script) -> None:
    script.lease(100, granted(A, 1))
    script.extend(900, 1, 1_000, lost=True)
    script.lease(1_500, granted(A, 2, 2))
    assert rules(script) == set()


def test_a_lease_asked_for_again_counts_from_what_is_left(script: Script) -> None:
    script.lease(100, lost=True, request="r", lease_ms=1_000)
    script.lease(900, granted(A, 1, lease_ms=400), request="r", is_repeat=True)
    script.lease(1_250, granted(A, 2, 2))
    assert rules(script) == {"overlap"}
    script.operations[-1].ended_at_ms = 1_301
    assert rules(script) == set()


def test_a_fast_monotonic_clock_shortens_what_is_certain(script: Script) -> None:
    script.lease(100, granted(A, 1))
    script.lease(1_050, granted(A, 2, 2))
    assert rules(script) == {"overlap"}
    assert rules(script, bounds=Bounds(lease_drift=0.1)) == set()


def test_a_lease_is_as_long_as_was_asked(script: Script) -> None:
    script.lease(100, granted(A, 1, lease_ms=900), lease_ms=1_000)
    assert rules(script) == {"wrong-length"}
    repeated = Script()
    repeated.enqueue(0, A)
    repeated.lease(100, granted(A, 1, lease_ms=900), lease_ms=1_000, is_repeat=True)
    assert rules(repeated) == set()


# ---------------------------------------------------------------- no live worker robbed


@pytest.mark.parametrize(("at", "expected"), [(1_050, {"unjust-reject"}), (1_200, set[str]())])
def test_a_worker_that_extended_in_time_is_not_told_that_it_lost(
    script: Script, at: float, expected: set[str]
) -> None:
    script.lease(100, granted(A, 1))
    script.extend(150, 1, 1_000)
    script.extend(at, 1, accepted=False)
    assert rules(script) == expected


def test_an_ack_in_time_is_not_refused(script: Script) -> None:
    script.lease(100, granted(A, 1))
    script.ack(500, 1, accepted=False)
    assert rules(script) == {"unjust-reject"}
    assert rules(script, bounds=Bounds(wall_error_ms=limits.DAY_MS)) == set()


def test_a_fail_is_refused_in_time_only_if_an_earlier_try_of_it_may_have_counted(
    script: Script,
) -> None:
    script.enqueue(10, B)
    script.lease(100, granted(A, 1))
    script.fail(500, 1, None)
    script.lease(600, granted(B, 2))
    assert rules(script) == {"unjust-reject"}
    unseen = Script()
    unseen.enqueue(0, A)
    unseen.enqueue(10, B)
    unseen.lease(100, granted(A, 1))
    unseen.fail(500, 1, None)
    unseen.lease(600, granted(B, 3))
    assert rules(unseen) == set()


def test_what_was_given_back_is_refused_rightly(script: Script) -> None:
    script.lease(100, granted(A, 1))
    script.fail(200, 1)
    script.extend(300, 1, accepted=False)
    assert rules(script) == set()


@pytest.mark.parametrize(("at", "expected"), [(1_000, {"robbed"}), (1_101, set[str]())])
def test_no_lease_runs_out_before_its_time(script: Script, at: float, expected: set[str]) -> None:
    script.lease(100, granted(A, 1))
    facts = ClusterFacts([LeaseExpired(at, "n1", A, 1)])
    assert rules(script, facts) == expected


@pytest.mark.parametrize(("at", "expected"), [(1_300, {"stale-accepted"}), (1_150, set[str]())])
def test_a_lease_that_ran_out_cannot_be_acked(
    script: Script, at: float, expected: set[str]
) -> None:
    script.lease(100, granted(A, 1))
    script.ack(at, 1)
    facts = ClusterFacts([LeaseExpired(1_200, "n1", A, 1)])
    assert rules(script, facts) == expected


# ---------------------------------------------------------------- tokens


def test_a_later_lease_has_a_greater_token(script: Script) -> None:
    script.enqueue(10, B, queue="other")
    script.lease(100, granted(A, 2))
    script.lease(200, granted(B, 1, queue="other"), queues=["other"])
    assert rules(script) == {"token-order"}
    script.operations[-1].invoked_at_ms = 100.5
    assert rules(script) == set()


def test_a_lease_granted_by_an_earlier_try_of_its_request_may_have_a_smaller_token(
    script: Script,
) -> None:
    script.enqueue(10, B)
    script.lease(90, lost=True, request="r")
    script.lease(100, granted(B, 2))
    script.lease(200, granted(A, 1), request="r", is_repeat=True)
    assert rules(script) == set()


def test_a_token_names_one_lease(script: Script) -> None:
    script.enqueue(10, B)
    script.lease(100, granted(A, 1))
    script.lease(200, granted(B, 1))
    assert rules(script) == {"token-reuse"}


def test_a_token_belongs_to_one_request(script: Script) -> None:
    script.lease(100, granted(A, 1), request="r")
    script.lease(200, granted(A, 1, lease_ms=900), request="s", is_repeat=True)
    assert rules(script) == {"token-reuse"}
    repeated = Script()
    repeated.enqueue(0, A)
    repeated.lease(100, granted(A, 1), request="r")
    repeated.lease(200, granted(A, 1, lease_ms=900), request="r", is_repeat=True)
    assert rules(repeated) == set()


@pytest.mark.parametrize(("at", "expected"), [(1_300, {"stale-accepted"}), (1_199, set[str]())])
def test_a_superseded_lease_changes_nothing(script: Script, at: float, expected: set[str]) -> None:
    script.lease(100, granted(A, 1))
    script.lease(1_200, granted(A, 2, 2))
    script.fail(at, 1)
    assert rules(script) == expected


def test_an_accepted_ack_is_of_the_newest_lease(script: Script) -> None:
    script.lease(100, granted(A, 1))
    script.ack(1_100, 1)
    script.lease(1_100.5, granted(A, 2, 2))
    assert rules(script) == {"stale-accepted"}
    script.operations.pop()
    assert rules(script) == set()


def test_a_lease_ends_in_one_way(script: Script) -> None:
    script.lease(100, granted(A, 1))
    script.fail(200, 1)
    script.requeue(300, 1)
    assert rules(script) == {"released-accepted"}
    repeated = Script()
    repeated.enqueue(0, A)
    repeated.lease(100, granted(A, 1))
    repeated.fail(200, 1)
    repeated.fail(300, 1)
    assert rules(repeated) == set()


@pytest.mark.parametrize(("at", "expected"), [(300, {"released-accepted"}), (200, set[str]())])
def test_an_ended_lease_is_not_extended(script: Script, at: float, expected: set[str]) -> None:
    script.lease(100, granted(A, 1))
    script.fail(200, 1)
    script.extend(at, 1)
    assert rules(script) == expected


@pytest.mark.parametrize(("at", "expected"), [(50, {"forged-accepted"}), (99.5, set[str]())])
def test_a_token_is_worth_nothing_before_its_grant(
    script: Script, at: float, expected: set[str]
) -> None:
    script.extend(at, 1)
    script.lease(100, granted(A, 1))
    assert rules(script) == expected
