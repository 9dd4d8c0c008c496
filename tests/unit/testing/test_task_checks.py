"""Each rule about the life of tasks: what breaks it, and the nearest history that does not."""

import pytest
from tests.support.histories import DEAD, DONE, READY, A, B, C, Script, granted, rules, status

from raftq.core.machine import Machine
from raftq.protocol import codec, limits
from raftq.protocol.commands import Ack, AckItem, Command, Enqueue, Entry, Lease
from raftq.protocol.options import NewTask
from raftq.protocol.versions import ENTRY_VERSION
from raftq.testing.checks import Bounds
from raftq.testing.facts import ClusterFacts

NOTHING: set[str] = set()
FORGETFUL = Bounds(wall_error_ms=limits.DAY_MS)


@pytest.fixture
def script() -> Script:
    return Script()


def final(*commands: Command) -> ClusterFacts:
    """Return facts whose final machine has applied some commands."""
    machine = Machine()
    machine.apply(codec.encode(Entry(ENTRY_VERSION, 0, 1_000, list(commands))))
    facts = ClusterFacts()
    facts.keep_machine("n1", 1, machine)
    return facts


def add(*ids: bytes) -> Enqueue:
    return Enqueue("q", [NewTask(id_, b"p") for id_ in ids])


LEASE_ONE = Lease(["q"], 1, 1_000, "w", "r")


# ---------------------------------------------------------------- durability


def test_an_acknowledged_task_is_not_lost(script: Script) -> None:
    script.enqueue(0, A)
    script.enqueue(10, B)
    assert rules(script, final(add(A))) == {"lost", "totals"}
    assert rules(script, final(add(A), add(B))) == NOTHING


def test_an_unknown_enqueue_may_be_missing_or_there(script: Script) -> None:
    script.enqueue(0, A, lost=True)
    assert rules(script, final()) == NOTHING
    assert rules(script, final(add(A))) == NOTHING


def test_a_done_task_may_be_forgotten_when_time_allows(script: Script) -> None:
    script.enqueue(0, A)
    script.lease(10, granted(A, 1))
    assert "lost" in rules(script, final(), FORGETFUL)
    script.ack(20, 1)
    assert "lost" in rules(script, final())
    assert "lost" not in rules(script, final(), FORGETFUL)


def test_nothing_waits_after_the_drain(script: Script) -> None:
    script.enqueue(0, A)
    facts = final(add(A))
    assert rules(script, facts) == NOTHING
    facts.is_drained = True
    assert rules(script, facts) == {"undrained"}


def test_a_done_task_is_never_delivered_again(script: Script) -> None:
    script.enqueue(0, A)
    script.lease(10, granted(A, 1))
    script.ack(20, 1)
    script.lease(5_000, granted(A, 2, 2))
    assert rules(script) == {"resurrected", "stale-accepted"}
    script.replace(2, script.ack(20, 1, lost=True))
    assert rules(script) == NOTHING


def test_a_dead_task_is_never_delivered_again(script: Script) -> None:
    script.enqueue(0, A, attempts_max=1)
    script.lease(10, granted(A, 1))
    script.fail(20, 1, DEAD)
    script.lease(5_000, granted(A, 2, 2))
    assert rules(script) == {"resurrected", "over-delivery"}
    script.operations.pop()
    assert rules(script) == NOTHING


def test_a_task_is_acked_by_one_token(script: Script) -> None:
    script.enqueue(0, A)
    script.lease(10, granted(A, 1))
    script.lease(2_000, granted(A, 2, 2))
    script.ack(2_100, 1)
    script.ack(2_200, 2)
    assert rules(script) == {"double-ack", "stale-accepted"}
    script.replace(3, script.ack(2_100, 1, accepted=False))
    assert rules(script) == NOTHING


def test_a_done_task_was_acked_by_somebody(script: Script) -> None:
    script.enqueue(0, A)
    script.lease(10, granted(A, 1))
    script.read(30, status(A, DONE, 1))
    assert rules(script) == {"phantom-done", "stale-read"}
    script.insert(2, script.ack(20, 1, lost=True))
    assert rules(script) == NOTHING


def test_a_final_state_that_is_done_was_acked_by_somebody(script: Script) -> None:
    facts = final(add(A), LEASE_ONE, Ack([AckItem(1)]))
    script.enqueue(0, A)
    script.lease(10, granted(A, 1))
    assert rules(script, facts) == {"phantom-done", "totals"}
    script.ack(20, 1, lost=True)
    assert rules(script, facts) == NOTHING


def test_an_ack_by_a_token_that_no_reply_named_may_have_done_the_task(script: Script) -> None:
    script.enqueue(0, A)
    script.ack(10, 1, b"x", lost=True)
    script.read(30, status(A, DONE, 1, result=b"x"))
    script.count(40, 1, done=1)
    assert rules(script) == NOTHING
    script.replace(1, script.ack(10, 2, b"x", lost=True))
    assert rules(script) == {"phantom-done"}


def test_a_result_is_what_was_acked(script: Script) -> None:
    script.enqueue(0, A)
    script.lease(10, granted(A, 1))
    script.ack(20, 1, b"x")
    script.read(30, status(A, DONE, 1, result=b"y"))
    assert rules(script) == {"wrong-result"}
    script.replace(3, script.read(30, status(A, DONE, 1, result=b"x")))
    assert rules(script) == NOTHING


def test_a_final_state_does_not_change(script: Script) -> None:
    script.enqueue(0, A)
    script.lease(10, granted(A, 1))
    script.ack(20, 1)
    script.enqueue(30, A, created=False, state=READY)
    assert rules(script) == {"terminal-changed"}
    script.replace(3, script.enqueue(30, A, created=False, state=DONE))
    assert rules(script) == NOTHING


# ---------------------------------------------------------------- delays


@pytest.mark.parametrize(("at", "expected"), [(450, {"early"}), (500, NOTHING)])
def test_a_delayed_task_is_never_early(script: Script, at: float, expected: set[str]) -> None:
    script.enqueue(0, A, delay_ms=500)
    script.lease(at, granted(A, 1))
    assert rules(script) == expected
    assert rules(script, bounds=Bounds(wall_error_ms=60)) == NOTHING


@pytest.mark.parametrize(("at", "expected"), [(600, {"early"}), (700, NOTHING)])
def test_a_task_given_back_with_a_delay_is_never_early(
    script: Script, at: float, expected: set[str]
) -> None:
    script.enqueue(0, A)
    script.lease(10, granted(A, 1))
    script.requeue(200, 1, 500)
    script.lease(at, granted(A, 2))
    assert rules(script) == expected


# ---------------------------------------------------------------- idempotency


def test_one_id_is_created_once(script: Script) -> None:
    script.enqueue(0, A)
    script.enqueue(10, A)
    assert rules(script) == {"duplicate-task"}
    script.replace(1, script.enqueue(10, A, created=False))
    assert rules(script) == NOTHING


def test_a_task_is_created_in_the_state_that_was_asked_for(script: Script) -> None:
    script.enqueue(0, A, delay_ms=500, state=READY)
    assert rules(script) == {"wrong-state"}
    correct = Script()
    correct.enqueue(0, A, delay_ms=500)
    assert rules(correct) == NOTHING


def test_two_contents_under_one_id_are_a_conflict(script: Script) -> None:
    script.enqueue(0, A)
    script.enqueue(10, A, payload=b"other", created=False)
    assert rules(script) == {"conflict-missed"}
    script.replace(1, script.enqueue(10, A, payload=b"other", code="conflict"))
    assert rules(script) == NOTHING


def test_a_conflict_needs_another_content(script: Script) -> None:
    script.enqueue(0, A)
    script.enqueue(10, A, code="conflict")
    assert rules(script) == {"unjust-conflict"}
    script.enqueue(20, A, payload=b"other", lost=True)
    assert rules(script) == {"unjust-conflict"}
    script.operations[2].invoked_at_ms = 9
    assert rules(script) == NOTHING


def test_a_repeated_lease_call_is_granted_once(script: Script) -> None:
    script.enqueue(0, A)
    script.enqueue(1.5, B)
    script.lease(10, granted(A, 1), request="r")
    script.lease(20, granted(B, 2), request="r")
    assert rules(script) == {"retry-mismatch"}
    script.replace(3, script.lease(20, granted(B, 2), request="s"))
    assert rules(script) == NOTHING


def test_a_repeated_lease_call_gets_no_other_leases(script: Script) -> None:
    script.enqueue(0, A)
    script.enqueue(1.5, B)
    script.lease(10, granted(A, 1), request="r")
    script.lease(20, granted(B, 2), request="r", is_repeat=True)
    assert rules(script) == {"retry-mismatch"}
    script.replace(3, script.lease(20, granted(A, 1, lease_ms=900), request="r", is_repeat=True))
    assert rules(script) == NOTHING


# ---------------------------------------------------------------- existence


def test_only_what_was_enqueued_is_delivered(script: Script) -> None:
    script.lease(10, granted(A, 1))
    assert rules(script) == {"phantom"}
    script.insert(0, script.enqueue(0, A, lost=True))
    assert rules(script) == NOTHING


def test_nothing_is_delivered_before_it_was_enqueued(script: Script) -> None:
    script.lease(10, granted(A, 1))
    script.enqueue(20, A)
    assert rules(script) == {"phantom"}
    script.operations[1].invoked_at_ms = 10.5
    assert rules(script) == NOTHING


def test_only_what_was_enqueued_is_read(script: Script) -> None:
    script.read(10, status(A, READY))
    assert rules(script) == {"phantom"}
    script.insert(0, script.enqueue(0, A, lost=True))
    assert rules(script) == NOTHING


def test_a_refused_enqueue_has_no_effect(script: Script) -> None:
    script.enqueue(0, A, code="queue_full")
    script.lease(10, granted(A, 1))
    assert rules(script) == {"failed-enqueue-visible"}


def test_a_payload_is_delivered_as_it_was_enqueued(script: Script) -> None:
    script.enqueue(0, A)
    script.lease(10, granted(A, 1, payload=b"other"))
    assert rules(script) == {"wrong-payload"}


def test_a_task_is_delivered_from_its_queue(script: Script) -> None:
    script.enqueue(0, A, queue="other")
    script.lease(10, granted(A, 1))
    assert rules(script) == {"wrong-queue"}


def test_a_worker_gets_tasks_of_the_queues_that_it_asked_for(script: Script) -> None:
    script.enqueue(0, A)
    script.lease(10, granted(A, 1), queues=["other"])
    assert rules(script) == {"wrong-queue"}
    script.replace(1, script.lease(10, granted(A, 1), queues=["other", "q"]))
    assert rules(script) == NOTHING


def test_a_task_is_read_as_it_was_enqueued(script: Script) -> None:
    script.enqueue(0, A)
    script.read(10, status(A, READY, priority=4))
    assert rules(script) == {"wrong-settings"}
    script.replace(1, script.read(10, status(A, READY)))
    assert rules(script) == NOTHING


def test_an_enqueue_is_all_or_none(script: Script) -> None:
    script.enqueue(0, A, B, lost=True)
    assert rules(script, final(add(A))) == {"torn-batch"}
    assert rules(script, final(add(A, B))) == NOTHING
    assert rules(script, final()) == NOTHING


# ---------------------------------------------------------------- attempts


def test_attempts_are_counted(script: Script) -> None:
    script.enqueue(0, A)
    script.lease(10, granted(A, 1))
    script.fail(20, 1)
    script.lease(30, granted(A, 2, attempt=1))
    assert rules(script) == {"attempt-order"}
    script.replace(2, script.requeue(20, 1))
    assert rules(script) == NOTHING


def test_attempts_do_not_jump_unless_a_lease_was_not_seen(script: Script) -> None:
    script.enqueue(0, A)
    script.lease(10, granted(A, 1))
    script.lease(2_000, granted(A, 2, attempt=3))
    assert rules(script) == {"attempt-order"}
    script.replace(2, script.lease(2_000, granted(A, 3, attempt=3)))
    assert rules(script) == NOTHING


def test_attempts_do_not_go_back(script: Script) -> None:
    script.enqueue(0, A)
    script.lease(10, granted(A, 1, attempt=2))
    script.lease(2_000, granted(A, 5, attempt=1))
    assert rules(script) == {"attempt-order"}


def test_a_task_is_delivered_no_more_often_than_it_may_fail(script: Script) -> None:
    script.enqueue(0, A, attempts_max=1)
    script.lease(10, granted(A, 1))
    script.fail(20, 1)
    script.lease(30, granted(A, 2, attempt=2))
    assert rules(script) == {"over-delivery"}
    script.replace(2, script.fail(20, 1, lost=True))
    assert rules(script) == NOTHING


def test_a_task_is_delivered_no_more_often_than_it_may_crash_and_fail(script: Script) -> None:
    script.enqueue(0, A, attempts_max=1)
    script.lease(10, granted(A, 99, attempt=limits.CRASHES_MAX + 1))
    assert rules(script) == {"over-delivery"}
    script.replace(1, script.lease(10, granted(A, 99, attempt=limits.CRASHES_MAX)))
    assert rules(script) == NOTHING


def test_a_task_is_dead_only_when_its_attempts_are_used_up(script: Script) -> None:
    script.enqueue(0, A, attempts_max=2)
    script.lease(10, granted(A, 1))
    script.fail(20, 1, DEAD)
    assert rules(script) == {"dead-early"}
    correct = Script()
    correct.enqueue(0, A, attempts_max=2)
    correct.lease(10, granted(A, 1))
    correct.fail(20, 1, lost=True)
    correct.lease(30, granted(A, 2, attempt=2))
    correct.fail(40, 2, DEAD)
    assert rules(correct) == NOTHING


def test_a_task_that_shows_attempts_left_is_not_dead(script: Script) -> None:
    script.enqueue(0, A)
    script.read(30, status(A, DEAD, 9, crashes=limits.CRASHES_MAX - 1))
    assert rules(script) == {"dead-early"}
    script.replace(1, script.read(30, status(A, DEAD, 9, crashes=limits.CRASHES_MAX)))
    assert rules(script) == NOTHING


# ---------------------------------------------------------------- conservation


def test_final_counts_lie_between_what_was_told_and_what_may_be(script: Script) -> None:
    script.enqueue(0, A)
    script.enqueue(10, B, lost=True)
    assert rules(script, final(add(A))) == NOTHING
    assert rules(script, final(add(A), add(B))) == NOTHING
    assert rules(script, final(add(A), add(B), add(C))) == {"totals"}


def test_every_task_is_in_one_state_at_the_end(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = final(add(A))
    script.enqueue(0, A)
    assert rules(script, facts) == NOTHING

    def fail(_: Machine) -> None:
        raise AssertionError("q lost a task")

    monkeypatch.setattr(Machine, "check_invariants", fail)
    assert rules(script, facts) == {"conservation"}


# ---------------------------------------------------------------- liveness


@pytest.mark.parametrize(("at", "expected"), [(9_000, {"slow-recovery"}), (4_000, NOTHING)])
def test_a_healed_cluster_commits_within_the_bound(
    script: Script, at: float, expected: set[str]
) -> None:
    script.enqueue(1_000, A, lost=True)
    script.operations[0].ended_at_ms = 8_000
    script.enqueue(at, B)
    bounds = Bounds(healed_at_ms=2_000, recovery_ms=3_000)
    assert rules(script, bounds=bounds) == expected
    assert rules(script, bounds=Bounds(healed_at_ms=8_500, recovery_ms=3_000)) <= {"slow-recovery"}


def test_a_healed_cluster_that_nobody_asked_is_not_slow(script: Script) -> None:
    script.enqueue(1_000, A)
    script.enqueue(9_000, B)
    assert rules(script, bounds=Bounds(healed_at_ms=2_000, recovery_ms=3_000)) == NOTHING
