"""The follower's decision on AppendEntries, against Raft's own words."""

from hypothesis import given
from hypothesis import strategies as st

from raftq.consensus.peers.messages import AppendEntries
from raftq.consensus.raft.append_rule import Acknowledge, AskAgain, Deliver, decide

TERM = 9


class ListLog:
    """A log of terms; entry i of the list has index first + i."""

    def __init__(self, terms: list[int], first: int = 1) -> None:
        self.terms = terms
        self.first_index = first

    @property
    def last_index(self) -> int:
        return self.first_index + len(self.terms) - 1

    def term_at(self, index: int) -> int:
        assert index >= self.first_index
        return self.terms[index - self.first_index]


def message(previous: int, previous_term: int, terms: list[int], commit: int = 0) -> AppendEntries:
    entries = [(b"x", previous + 1 + offset, term) for offset, term in enumerate(terms)]
    return AppendEntries(TERM, commit, previous, previous_term, entries)


def test_entries_after_a_matching_end_are_delivered() -> None:
    given_message = message(3, 2, [9, 9])
    assert decide(given_message, ListLog([1, 2, 2]), 1) == Deliver(given_message)


def test_matching_prefix_is_skipped_and_never_truncated() -> None:
    log = ListLog([1, 2, 2, 9, 9])
    decision = decide(message(2, 2, [2, 9, 9, 9]), log, 1)
    assert decision == Deliver(message(5, 9, [9]))


def test_shorter_repetition_keeps_the_tail_that_this_leader_wrote() -> None:
    log = ListLog([1, 2, 9, 9, 9])
    decision = decide(message(2, 2, [9]), log, 1)
    assert decision == Deliver(message(5, 9, []))


def test_unverified_tail_is_kept_but_not_acknowledged() -> None:
    log = ListLog([1, 2, 3, 3])
    assert decide(message(1, 1, [2]), log, 1) == Acknowledge(2)


def test_conflicting_tail_is_replaced() -> None:
    log = ListLog([1, 2, 3, 3])
    assert decide(message(2, 2, [9]), log, 1) == Deliver(message(2, 2, [9]))


def test_gap_asks_for_the_end_of_our_log() -> None:
    assert decide(message(7, 9, [9]), ListLog([1, 2]), 1) == AskAgain(3)


def test_conflict_backs_off_to_the_start_of_the_term_but_not_below_commit() -> None:
    log = ListLog([1, 5, 5, 5, 5])
    assert decide(message(5, 9, [9]), log, 1) == AskAgain(2)
    assert decide(message(5, 9, [9]), log, 3) == AskAgain(4)


def test_leader_without_the_previous_entry_is_asked_to_go_on_after_commit() -> None:
    unknown = AppendEntries(TERM, 0, None, None, [])
    assert decide(unknown, ListLog([1, 2, 2]), 2) == AskAgain(3)


def test_entries_covered_by_our_snapshot_are_skipped() -> None:
    log = ListLog([2, 9], first=10)
    assert decide(message(7, 1, [1, 1, 2, 9, 9]), log, 10) == Deliver(message(11, 9, [9]))
    assert decide(message(5, 1, [1, 1]), log, 10) == AskAgain(11)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    """A leader's terms, a follower's terms that share a committed prefix, and its length."""
    shared = sorted(draw(st.lists(st.integers(1, 4), min_size=1, max_size=6)))
    low = shared[-1]
    leader_tail = sorted(draw(st.lists(st.integers(low, TERM), max_size=6)))
    follower_tail = sorted(draw(st.lists(st.integers(low, TERM - 1), max_size=6)))
    leader = shared + leader_tail
    # Log matching: once the terms differ at an index, an equal term later cannot occur.
    follower = list(shared)
    for term in follower_tail:
        index = len(follower)
        still_equal = follower == leader[:index]
        clash = index < len(leader) and leader[index] == term and not still_equal
        if clash or (not still_equal and term in leader[index:]):
            break
        follower.append(term)
    return leader, follower, len(shared)


@given(histories(), st.data())
def test_following_the_rule_never_loses_a_matching_entry(
    history: tuple[list[int], list[int], int], data: st.DataObject
) -> None:
    leader, follower, commit = history
    previous = data.draw(st.integers(1, len(leader)))
    end = data.draw(st.integers(previous, len(leader)))
    log = ListLog(list(follower))
    sent = message(previous, leader[previous - 1], leader[previous:end])
    agreed = 0
    while agreed < min(len(leader), len(follower)) and leader[agreed] == follower[agreed]:
        agreed += 1
    match decide(sent, log, commit):
        case Deliver(message=delivered):
            start = delivered.previous_index
            assert start is not None and start >= min(agreed, end)
            after = log.terms[:start] + [term for _, _, term in delivered.entries]
            assert after[: max(end, agreed)] == leader[: len(after)][: max(end, agreed)]
        case Acknowledge(last_index=last_index):
            assert log.terms[:last_index] == leader[:last_index] and last_index == end
        case AskAgain(next_index=next_index):
            assert previous > len(follower) or follower[previous - 1] != leader[previous - 1]
            assert commit < next_index <= len(follower) + 1
