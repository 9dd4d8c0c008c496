"""The rules of events catch subscribers that were told wrong, and no others."""

from raftq.protocol.events import TaskEvent
from raftq.protocol.fields import TaskState
from raftq.testing.checks.events import Followed, check_events

A, B, C = (bytes([number]) * 16 for number in (1, 2, 3))
READY, LEASED, DONE = TaskState.READY, TaskState.LEASED, TaskState.DONE
MOVES = {
    4: [(READY, "mail", [A, B]), (READY, "fax", [C])],
    6: [(LEASED, "mail", [A])],
    7: [(DONE, "mail", [A])],
}
ALL = [
    TaskEvent(4, 0, 1_000, A, "mail", READY),
    TaskEvent(4, 1, 1_000, B, "mail", READY),
    TaskEvent(4, 2, 1_000, C, "fax", READY),
    TaskEvent(6, 0, 1_000, A, "mail", LEASED),
    TaskEvent(7, 0, 1_000, A, "mail", DONE),
]


def rules(*runs: list[TaskEvent]) -> list[str]:
    """Return the rules that are broken when subscribers are told this."""
    followed = [Followed("subscriber", told) for told in runs]
    return [violation.rule for violation in check_events(followed, MOVES)]


def test_a_subscriber_may_begin_and_end_anywhere() -> None:
    assert not rules(ALL, ALL[1:], ALL[3:4], [])


def test_nothing_between_two_events_is_left_out() -> None:
    assert rules(ALL[:2] + ALL[3:]) == ["event-missing"]
    assert rules(ALL[:1] + ALL[4:]) == ["event-missing"]


def test_nothing_is_told_twice_or_late() -> None:
    assert rules([*ALL[:2], ALL[1]]) == ["event-order"]
    assert rules([ALL[4], ALL[3]]) == ["event-order"]


def test_what_did_not_happen_is_not_told() -> None:
    assert rules([TaskEvent(6, 0, 1_000, B, "mail", LEASED)]) == ["event-false"]
    assert rules([TaskEvent(5, 0, 1_000, A, "mail", LEASED)]) == ["event-false"]
    assert rules([TaskEvent(6, 0, 1_000, A, "fax", LEASED)]) == ["event-false"]
