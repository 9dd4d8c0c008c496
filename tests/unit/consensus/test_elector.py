"""Who may lead, and when a leader may answer a read."""

from collections.abc import Collection
from math import inf

import pytest

from raftq.consensus.peers.messages import (
    AppendEntries,
    ElectorMessage,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    RequestVote,
    TermNote,
    TimeoutNow,
)
from raftq.consensus.raft.elector import ROUNDS_TIMED_MAX, ElectionTimes, Elector
from raftq.consensus.raft.roll import fixed_roll

TIMES = ElectionTimes(timeout=0.5, heartbeat=0.1)


class FakeRaft:
    """Settable facts, recorded orders."""

    def __init__(self) -> None:
        self.term = 5
        self.is_leader = False
        self.leader: str | None = None
        self.read_index: int | None = 10
        self.applied_index = 10
        self.elections = 0
        self.adopted: list[int] = []
        self.touched: list[str] = []

    def start_election(self) -> None:
        self.elections += 1

    def adopt_term(self, peer: str, term: int) -> None:
        self.adopted.append(term)
        self.term = term

    def touch(self, peer: str) -> None:
        self.touched.append(peer)


WALL_MS = 1_700_000_000_000


class FakeLog:
    """A log that ends somewhere."""

    def __init__(self, last_index: int, last_term: int) -> None:
        self.last_index = last_index
        self.last_term = last_term


class FakeClocks:
    """Remembers the clocks that voters told."""

    own_wall_ms = WALL_MS

    def __init__(self) -> None:
        self.told: dict[str, int] = {}
        self.round_trips_ms: list[float] = []

    def heard(self, voter: str, wall_at_ms: int, round_trip_ms: float) -> None:
        self.told[voter] = wall_at_ms
        self.round_trips_ms.append(round_trip_ms)

    def keep(self, voters: Collection[str]) -> None:
        self.told = {voter: told for voter, told in self.told.items() if voter in voters}


class Node:
    """An elector of n1 in a cluster of three, with a hand-driven clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.raft = FakeRaft()
        self.sent: list[tuple[str, ElectorMessage]] = []
        self.clocks = FakeClocks()
        self.elector = Elector(
            self.raft,
            FakeLog(10, 4),
            ("n2", "n3"),
            TIMES,
            lambda: self.now,
            lambda: 0.5,
            lambda peer, message: self.sent.append((peer, message)),
            self.clocks,
        )

    def take(self) -> list[tuple[str, ElectorMessage]]:
        sent, self.sent = self.sent, []
        return sent

    def become_leader(self) -> None:
        self.raft.is_leader, self.raft.leader = True, "n1"
        self.elector.tick()
        self.take()


@pytest.fixture
def node() -> Node:
    return Node()


def append(term: int) -> AppendEntries:
    return AppendEntries(term, 0, 1, 1, [])


def test_a_tick_is_due_at_the_end_of_silence_or_with_the_next_heartbeats(node: Node) -> None:
    assert node.elector.due_at == node.now + TIMES.timeout * 1.5
    node.elector.on_leader_connection_lost()
    assert node.now < node.elector.due_at < node.now + TIMES.heartbeat
    node.become_leader()
    assert node.elector.due_at == node.now + TIMES.heartbeat
    assert node.elector.rounds_begun == 1
    node.elector.confirm_read(lambda _: None)
    assert node.elector.due_at <= node.now


def test_silence_leads_to_a_pre_vote_and_no_election_before_a_majority(node: Node) -> None:
    node.now += 2 * TIMES.timeout + 0.01
    node.elector.tick()
    assert [peer for peer, message in node.take() if isinstance(message, PreVote)] == ["n2", "n3"]
    assert node.raft.elections == 0
    node.elector.on_message("n2", PreVoteReply(1, 5, granted=True))
    assert node.raft.elections == 1


def test_old_or_negative_answers_elect_nobody(node: Node) -> None:
    node.now += 2
    node.elector.tick()
    node.elector.on_message("n2", PreVoteReply(0, 5, granted=True))
    node.elector.on_message("n3", PreVoteReply(1, 5, granted=False))
    assert node.raft.elections == 0


def test_a_newer_term_in_an_answer_is_adopted_without_an_election(node: Node) -> None:
    node.now += 2
    node.elector.tick()
    node.elector.on_message("n2", PreVoteReply(1, 8, granted=True))
    assert node.raft.adopted == [8] and node.raft.elections == 0


@pytest.mark.parametrize(
    ("question", "granted"),
    [
        (PreVote(1, 5, 10, 4), True),
        (PreVote(1, 5, 9, 4), False),
        (PreVote(1, 5, 99, 3), False),
        (PreVote(1, 4, 10, 4), False),
    ],
)
def test_pre_votes_go_to_logs_that_are_as_new_as_ours(
    node: Node, question: PreVote, granted: bool
) -> None:
    node.now += TIMES.timeout + 0.01
    node.elector.on_message("n2", question)
    assert node.take() == [("n2", PreVoteReply(1, 5, granted))]


def test_nobody_is_disturbed_while_a_leader_is_heard(node: Node) -> None:
    assert node.elector.admits("n3", append(5))
    node.elector.on_message("n2", PreVote(1, 5, 10, 4))
    assert node.take() == [("n2", PreVoteReply(1, 5, granted=False))]
    assert not node.elector.admits("n2", RequestVote(6, 10, 4, is_transfer=False))


def test_a_fresh_start_counts_as_having_heard_a_leader(node: Node) -> None:
    assert not node.elector.admits("n2", RequestVote(6, 10, 4, is_transfer=False))


def test_a_transfer_passes_where_a_candidate_would_not(node: Node) -> None:
    assert node.elector.admits("n3", append(5))
    assert node.elector.admits("n2", RequestVote(6, 10, 4, is_transfer=True))


def test_own_vote_requests_are_marked_only_in_the_transfer_term(node: Node) -> None:
    assert node.elector.admits("n3", TimeoutNow(5))
    marked = node.elector.tag(RequestVote(6, 10, 4, is_transfer=False))
    later = node.elector.tag(RequestVote(7, 10, 4, is_transfer=False))
    assert marked == RequestVote(6, 10, 4, is_transfer=True)
    assert later == RequestVote(7, 10, 4, is_transfer=False)


def test_a_broken_connection_to_the_leader_starts_an_election_at_once(node: Node) -> None:
    node.elector.admits("n3", append(5))
    node.elector.on_leader_connection_lost()
    node.now += 0.12
    node.elector.tick()
    assert any(isinstance(message, PreVote) for _, message in node.take())
    node.elector.on_message("n2", PreVote(1, 5, 10, 4))
    assert node.take() == [("n2", PreVoteReply(1, 5, granted=True))]


def test_a_leader_of_an_old_term_is_told_so(node: Node) -> None:
    assert not node.elector.admits("n2", append(4))
    node.elector.on_message("n2", Heartbeat(4, 1))
    assert node.take() == [("n2", TermNote(5)), ("n2", TermNote(5))]


def test_heartbeats_are_answered_only_for_the_leader_that_is_followed(node: Node) -> None:
    node.elector.on_message("n2", Heartbeat(5, 7))
    assert node.take() == []
    node.raft.leader = "n2"
    node.elector.on_message("n2", Heartbeat(5, 7))
    assert node.take() == [("n2", HeartbeatReply(5, 7, WALL_MS))]


def test_a_read_waits_for_a_round_that_began_after_it(node: Node) -> None:
    node.become_leader()
    answers: list[bool] = []
    node.elector.confirm_read(answers.append)
    node.elector.on_message("n2", HeartbeatReply(5, 1, WALL_MS))
    assert answers == []
    node.elector.tick()
    assert (("n2", Heartbeat(5, 2))) in node.take()
    node.elector.on_message("n3", HeartbeatReply(5, 2, WALL_MS))
    assert answers == [True]
    assert node.raft.touched == ["n2", "n3"]
    assert node.clocks.told == {"n2": WALL_MS, "n3": WALL_MS}


def test_a_read_waits_until_everything_committed_before_is_applied(node: Node) -> None:
    node.become_leader()
    answers: list[bool] = []
    node.raft.applied_index = 9
    node.elector.confirm_read(answers.append)
    node.elector.tick()
    node.elector.on_message("n2", HeartbeatReply(5, 2, WALL_MS))
    assert answers == []
    node.raft.applied_index = 10
    node.elector.tick()
    assert answers == [True]


def test_reads_fail_without_an_entry_of_this_term_and_when_leadership_is_lost(node: Node) -> None:
    node.become_leader()
    answers: list[bool] = []
    node.raft.read_index = None
    node.elector.confirm_read(answers.append)
    assert answers == [False]
    node.raft.read_index = 10
    node.elector.confirm_read(answers.append)
    node.raft.is_leader = False
    node.elector.tick()
    assert answers == [False, False]


def test_answers_of_another_term_confirm_nothing(node: Node) -> None:
    node.become_leader()
    answers: list[bool] = []
    node.elector.confirm_read(answers.append)
    node.elector.tick()
    node.elector.on_message("n2", HeartbeatReply(4, 2, WALL_MS))
    assert answers == []


def test_a_voters_clock_comes_with_the_time_that_its_answer_took(node: Node) -> None:
    node.become_leader()
    node.now += 0.25
    node.elector.on_message("n2", HeartbeatReply(5, 1, WALL_MS))
    assert node.clocks.round_trips_ms == [pytest.approx(250)]


def test_an_answer_to_a_round_of_long_ago_took_nobody_knows_how_long(node: Node) -> None:
    node.become_leader()
    for _ in range(ROUNDS_TIMED_MAX):
        node.elector.confirm_read(lambda _done: None)
        node.elector.tick()
    node.elector.on_message("n2", HeartbeatReply(5, 1, WALL_MS))
    node.elector.on_message("n2", HeartbeatReply(5, 2, WALL_MS))
    assert node.clocks.round_trips_ms == [inf, 0]


def test_the_clock_of_a_voter_that_was_removed_is_forgotten(node: Node) -> None:
    node.raft.is_leader = True
    node.elector.tick()
    for peer in ("n2", "n3"):
        node.elector.on_message(peer, HeartbeatReply(5, 1, WALL_MS))
    assert sorted(node.clocks.told) == ["n2", "n3"]
    node.elector.roll = fixed_roll(["n3", "n4"])
    assert sorted(node.clocks.told) == ["n3"]
