"""The rules about order and empty answers: what breaks them, and the nearest that does not."""

import pytest
from tests.support.histories import A, B, C, Script, granted, rules

from raftq.testing.checks import Bounds
from raftq.testing.checks.tokens import TokenLine

NOTHING: set[str] = set()


@pytest.fixture
def script() -> Script:
    return Script()


def test_first_in_is_first_out(script: Script) -> None:
    script.enqueue(0, A)
    script.enqueue(10, B)
    script.lease(20, granted(B, 1))
    script.lease(30, granted(A, 2))
    assert rules(script) == {"fifo"}
    correct = Script()
    correct.enqueue(0, A)
    correct.enqueue(10, B)
    correct.lease(20, granted(A, 1))
    correct.lease(30, granted(B, 2))
    assert rules(correct) == NOTHING


def test_a_task_that_is_never_delivered_was_overtaken_too(script: Script) -> None:
    script.enqueue(0, A)
    script.enqueue(10, B)
    script.lease(20, granted(B, 1))
    assert rules(script) == {"fifo"}


def test_tasks_enqueued_at_the_same_time_have_no_order(script: Script) -> None:
    script.enqueue(0, A)
    script.enqueue(0.5, B)
    script.lease(20, granted(B, 1), granted(A, 2))
    assert rules(script) == NOTHING


def test_the_order_within_one_reply_counts(script: Script) -> None:
    script.enqueue(0, A)
    script.enqueue(10, B)
    script.lease(20, granted(B, 1), granted(A, 2))
    assert rules(script) == {"fifo"}


def test_higher_priority_goes_first(script: Script) -> None:
    script.enqueue(0, A, priority=2)
    script.enqueue(10, B, priority=5)
    script.lease(20, granted(B, 1))
    assert rules(script) == {"priority"}
    correct = Script()
    correct.enqueue(0, A, priority=5)
    correct.enqueue(10, B, priority=2)
    correct.lease(20, granted(B, 1))
    assert rules(correct) == NOTHING


def test_the_other_may_have_been_leased_where_a_token_is_missing(script: Script) -> None:
    script.enqueue(0, A)
    script.enqueue(10, B)
    script.lease(15, lost=True)
    script.lease(20, granted(B, 2))
    assert rules(script) == NOTHING


def test_a_token_missing_from_before_the_enqueue_hides_nothing(script: Script) -> None:
    script.enqueue(0, C)
    script.lease(5, granted(C, 7))
    script.enqueue(10, A)
    script.enqueue(20, B)
    script.lease(30, granted(B, 8))
    assert rules(script) == {"fifo"}


@pytest.mark.parametrize("settings", [{"delay_ms": 1}, {"queue": "other"}])
def test_delayed_tasks_and_other_queues_have_no_order(
    script: Script, settings: dict[str, int | str]
) -> None:
    delay_ms, queue = int(settings.get("delay_ms", 0)), str(settings.get("queue", "q"))
    script.enqueue(0, A, delay_ms=delay_ms, queue=queue)
    script.enqueue(10, B)
    script.lease(20, granted(B, 1))
    assert rules(script) == NOTHING


def test_a_task_on_its_second_attempt_goes_before_others(script: Script) -> None:
    script.enqueue(0, A)
    script.enqueue(10, B)
    script.lease(20, granted(B, 1, attempt=2))
    assert rules(script) == NOTHING


# ---------------------------------------------------------------- empty answers


def test_nothing_is_not_the_answer_while_a_task_waits(script: Script) -> None:
    script.enqueue(0, A)
    script.lease(10)
    script.lease(20, granted(A, 1))
    assert rules(script) == {"false-empty"}


def test_nothing_is_the_answer_before_a_task_is_certainly_there(script: Script) -> None:
    script.enqueue(10, A)
    script.lease(10.5)
    script.lease(20, granted(A, 1))
    assert rules(script) == NOTHING


def test_nothing_is_the_answer_while_another_call_takes_the_task(script: Script) -> None:
    script.enqueue(0, A)
    script.lease(9.5, granted(A, 1))
    script.lease(10)
    assert rules(script) == NOTHING


def test_nothing_may_be_the_answer_while_a_lost_call_has_the_task_promised(
    script: Script,
) -> None:
    script.enqueue(0, A)
    script.lease(5, lost=True)
    script.lease(10)
    script.lease(20, granted(A, 1))
    assert rules(script) == NOTHING
    assert rules(script, bounds=Bounds(call_life_ms=4)) == {"false-empty"}


def test_a_slow_empty_answer_may_have_had_a_first_try(script: Script) -> None:
    script.enqueue(0, A)
    script.took_ms = 6
    script.lease(10)
    script.took_ms = 1
    script.lease(20, granted(A, 1))
    assert rules(script) == NOTHING
    assert rules(script, bounds=Bounds(quick_ms=7)) == {"false-empty"}


def test_a_call_that_waited_is_not_judged(script: Script) -> None:
    script.enqueue(0, A)
    script.lease(10, wait_ms=1)
    script.lease(20, granted(A, 1))
    assert rules(script) == NOTHING


# ---------------------------------------------------------------- tokens


def test_a_token_line_knows_what_was_granted_when() -> None:
    line = TokenLine([(1, 0, 10), (2, 5, 40), (4, 20, 30)])
    assert [line.floor(at) for at in (10, 11, 30, 31, 50)] == [0, 1, 1, 4, 4]
    assert [line.ceiling(at) for at in (-1, 0, 4, 5, 19)] == [1, 2, 2, 4, 4]
    assert line.ceiling(20) == float("inf")
    assert not line.may_hide_one(1, 2) and not line.may_hide_one(0, 2)
    assert line.may_hide_one(2, 4) and line.may_hide_one(4, 6) and line.may_hide_one(1, 4)
    assert line.may_hide_one(4, float("inf"))
