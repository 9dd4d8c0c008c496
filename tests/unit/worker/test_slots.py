"""Slots and the queues that share them: no limit is passed, and nobody is shut out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftq.protocol.errors import InvalidRequest
from raftq.worker.slots import Share, Slots


def granted(slots: Slots, share: Share, count: int) -> None:
    """Ask, and be granted so many."""
    assert slots.take(share) >= count
    slots.answered(share, count)


def test_queues_without_limits_are_asked_for_together_and_in_order() -> None:
    slots = Slots(5, ["b", "a", "b"], {})
    (share,) = slots.shares
    assert share.queues == ["b", "a"]
    assert slots.take(share) == 5 and slots.may_wait(share)


def test_what_was_not_granted_can_be_asked_for_again() -> None:
    slots = Slots(5, ["a"], {})
    (share,) = slots.shares
    granted(slots, share, 3)
    assert slots.take(share) == 2
    slots.answered(share, 2)
    assert slots.take(share) == 0
    slots.ended("a")
    assert share.wake.is_set() and slots.take(share) == 1


def test_a_call_that_failed_keeps_its_slots_for_the_repetition() -> None:
    slots = Slots(5, ["a"], {})
    (share,) = slots.shares
    assert slots.take(share) == 5
    assert slots.take(share) == 5, "it may have been granted"


def test_an_empty_queue_reserves_one_slot_and_a_busy_one_gets_the_rest() -> None:
    slots = Slots(16, ["mail", "reports"], {"reports": 2})
    mail, reports = slots.shares
    assert slots.take(reports) == 1
    granted(slots, mail, 1)
    assert slots.take(mail) == 14 and not slots.may_wait(mail)


def test_no_more_tasks_of_a_queue_are_held_than_its_limit() -> None:
    slots = Slots(16, ["reports"], {"reports": 2})
    (reports,) = slots.shares
    granted(slots, reports, 2)
    assert slots.take(reports) == 0


def test_the_last_free_slot_goes_to_the_queue_that_holds_least() -> None:
    slots = Slots(3, ["mail", "reports"], {"reports": 2})
    mail, reports = slots.shares
    granted(slots, mail, 1)
    granted(slots, mail, 1)
    assert slots.take(mail) == 0, "reports holds nothing yet"
    assert slots.take(reports) == 1


def test_a_queue_at_its_limit_keeps_no_slot_from_others() -> None:
    slots = Slots(3, ["mail", "reports"], {"reports": 1})
    mail, reports = slots.shares
    granted(slots, reports, 1)
    granted(slots, mail, 1)
    assert slots.take(mail) == 1


@pytest.mark.parametrize(
    ("concurrency", "queues", "queue_limits", "text"),
    [
        (2, ["a", "b", "c"], {"a": 1, "b": 1}, "concurrency is 2; it must be 3 or more"),
        (2, ["a"], {"a": 0}, "the limit of queue 'a' is 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    concurrency: int, queues: list[str], queue_limits: dict[str, int], text: str
) -> None:
    with pytest.raises(InvalidRequest, match=text):
        Slots(concurrency, queues, queue_limits)


@given(st.data())
def test_limits_hold_and_a_free_slot_is_always_asked_for(data: st.DataObject) -> None:
    """Whatever comes, in whatever order: calls, answers and ends."""
    queue_limits = data.draw(
        st.dictionaries(st.sampled_from("abc"), st.integers(1, 4), max_size=3), "limits"
    )
    concurrency = data.draw(st.integers(len(queue_limits) + 1, 8), "concurrency")
    slots = Slots(concurrency, ["a", "b", "c", "d"], queue_limits)
    running = dict.fromkeys("abcd", 0)
    for _ in range(40):
        share = data.draw(st.sampled_from(slots.shares), "share")
        queue = share.queues[0]
        match data.draw(st.sampled_from(["ask", "answer", "end"]), "what"):
            case "answer" if share.asked:
                count = data.draw(st.integers(0, share.asked), "granted")
                running[queue] += count
                slots.answered(share, count)
            case "end" if running[queue]:
                running[queue] -= 1
                slots.ended(queue)
            case _:
                slots.take(share)
        assert sum(each.used for each in slots.shares) <= concurrency
        for each in slots.shares:
            assert each.held == running[each.queues[0]]
            assert each.used <= each.limit
    for share in slots.shares:
        slots.take(share)
    for share in slots.shares:
        slots.take(share)
    idle = [each for each in slots.shares if not each.asked and each.used < each.limit]
    free = concurrency - sum(each.used for each in slots.shares)
    assert not (idle and free), "a slot is free, a queue has room, and nobody asks"
