"""Each rule of the guard, by what PySyncObj and the peers see of it."""

import pytest
from tests.support.raft_pieces import RecordingRaft, RecordingWire, open_log, sync

from raftq.consensus.peers.messages import (
    AppendEntries,
    NextIndex,
    RaftMessage,
    SnapshotPart,
    Vote,
)
from raftq.consensus.raft.entry_versions import ENTRY_COMMAND
from raftq.consensus.raft.guard import Guard
from raftq.protocol import codec
from raftq.protocol.errors import StorageError
from raftq.protocol.versions import ENTRY_VERSIONS_READABLE
from raftq.testing.memory_files import MemoryFiles

TERM = 5


class Bench:
    """A guard of n1 whose log holds entries of the given terms, all durable."""

    def __init__(self, *terms: int) -> None:
        self.log = open_log(MemoryFiles())
        self.log.setCurrentTerm(TERM, None)
        for index, term in enumerate(terms, start=1):
            self.log.add(b"x", index, term)
        sync(self.log)
        self.raft, self.wire = RecordingRaft(), RecordingWire()
        self.raft.commit_index = 1
        self.guard = Guard(self.raft, self.log, self.wire)

    def hears(self, message: RaftMessage, peer: str = "n2") -> None:
        self.guard.incoming(peer, message)

    def answers(self) -> list[RaftMessage]:
        answers = [message for _, message in self.wire.sent]
        self.wire.sent.clear()
        return answers


@pytest.fixture
def follower() -> Bench:
    return Bench(1, 2, 3, 3)


@pytest.fixture
def leader() -> Bench:
    bench = Bench(1, 2, TERM, TERM)
    bench.raft.is_leader = True
    bench.guard.on_leadership()
    return bench


def append(previous: int, previous_term: int, *terms: int, term: int = TERM) -> AppendEntries:
    entries = [(b"x", previous + 1 + offset, each) for offset, each in enumerate(terms)]
    return AppendEntries(term, 4, previous, previous_term, entries)


def ack(next_index: int, term: int = TERM, *, reset: bool = False) -> NextIndex:
    return NextIndex(term, next_index, success=True, reset=reset)


def ask(next_index: int) -> NextIndex:
    return NextIndex(TERM, next_index, success=False, reset=True)


# ---------------------------------------------------------------- entries, on a follower


@pytest.mark.parametrize("version", [max(ENTRY_VERSIONS_READABLE) + 1, 1_000])
def test_an_entry_of_a_newer_version_is_neither_kept_nor_acknowledged(
    follower: Bench, version: int
) -> None:
    entry = bytes([ENTRY_COMMAND]) + codec.encode([version, 0, 0, []])
    known = bytes([ENTRY_COMMAND]) + codec.encode([1, 0, 0, []])
    message = AppendEntries(TERM, 4, 4, 3, [(known, 5, 3), (entry, 6, 3)])
    with pytest.raises(StorageError, match=r"log entry 6 .*upgrade this node"):
        follower.hears(message)
    assert not follower.raft.delivered and not follower.answers()


def test_entries_of_older_versions_are_taken(follower: Bench) -> None:
    entries = [
        (bytes([ENTRY_COMMAND]) + codec.encode([version, 0, 0, []]), 5 + offset, 3)
        for offset, version in enumerate(ENTRY_VERSIONS_READABLE)
    ]
    follower.hears(AppendEntries(TERM, 4, 4, 3, entries))
    assert follower.raft.delivered


def test_entries_of_an_older_term_reach_nobody(follower: Bench) -> None:
    follower.hears(append(4, 3, 3, term=4))
    assert follower.raft.delivered == [] and follower.answers() == []
    assert follower.guard.refused["append_of_older_term"] == 1


def test_only_entries_that_are_missing_are_delivered(follower: Bench) -> None:
    follower.hears(append(2, 2, 3, 3, TERM))
    assert follower.raft.delivered == [append(4, 3, TERM)]


def test_a_tail_that_was_not_checked_is_neither_cut_nor_acknowledged_nor_committed(
    follower: Bench,
) -> None:
    follower.hears(append(1, 1, 2))
    assert follower.raft.delivered == []
    assert follower.raft.heartbeats == [("n2", TERM, 2)]
    assert follower.answers() == [ack(3)]


def test_without_a_match_earlier_entries_are_asked_for_and_nothing_is_committed(
    follower: Bench,
) -> None:
    follower.hears(append(9, TERM, TERM))
    assert follower.raft.delivered == []
    assert follower.raft.heartbeats == [("n2", TERM, 0)]
    assert follower.answers() == [ask(5)]


def test_messages_on_their_way_do_not_raise_the_index_that_was_asked_for(follower: Bench) -> None:
    follower.hears(append(4, TERM, TERM))
    follower.hears(append(9, TERM, TERM))
    assert follower.answers() == [ask(3), ask(3)]


def test_the_index_asked_for_is_forgotten_once_entries_match(follower: Bench) -> None:
    follower.hears(append(4, TERM, TERM))
    follower.hears(append(4, 3, TERM))
    follower.hears(append(9, TERM, TERM))
    assert follower.answers() == [ask(3), ask(5)]


def test_the_index_asked_for_belongs_to_its_connection(follower: Bench) -> None:
    follower.hears(append(4, TERM, TERM))
    follower.guard.on_connection_changed("n2")
    follower.hears(append(9, TERM, TERM))
    assert follower.answers() == [ask(3), ask(5)]


def test_a_success_leaves_only_when_its_entries_are_durable(follower: Bench) -> None:
    follower.log.add(b"x", 5, TERM)
    follower.guard.outgoing("n2", ack(6))
    assert follower.answers() == []
    sync(follower.log)
    follower.guard.on_durable()
    assert follower.answers() == [ack(6)]


# ---------------------------------------------------------------- acks, on a leader


def test_an_ack_of_this_term_is_counted(leader: Bench) -> None:
    leader.hears(ack(4))
    assert leader.raft.delivered == [ack(4)] and leader.guard.matched == {"n2": 3}


@pytest.mark.parametrize("term", [TERM - 1, TERM + 1])
def test_an_ack_of_another_term_is_not_counted(leader: Bench, term: int) -> None:
    leader.hears(ack(4, term))
    assert leader.raft.delivered == [] and leader.guard.matched == {}
    assert leader.guard.refused["ack_of_another_term"] == 1


def test_a_follower_counts_no_ack(follower: Bench) -> None:
    follower.hears(ack(4))
    assert follower.raft.delivered == []


def test_an_ack_above_the_leader_s_own_disk_waits_but_its_sender_is_alive(leader: Bench) -> None:
    leader.log.add(b"x", 5, TERM)
    leader.hears(ack(6))
    assert leader.raft.delivered == [] and leader.raft.touched == ["n2"]
    sync(leader.log)
    leader.guard.on_durable()
    assert leader.raft.delivered == [ack(6)] and leader.guard.matched == {"n2": 5}


def test_an_ack_does_not_send_again_what_is_on_its_way(leader: Bench) -> None:
    leader.guard.outgoing("n2", append(2, 2, TERM, TERM))
    leader.hears(ack(4))
    assert leader.raft.next_indexes == [("n2", 5)]


def test_a_request_to_go_on_elsewhere_sends_again(leader: Bench) -> None:
    leader.guard.outgoing("n2", append(2, 2, TERM, TERM))
    leader.hears(ask(3))
    leader.hears(ack(4))
    assert leader.raft.next_indexes == []


def test_what_was_sent_on_a_broken_connection_is_sent_again(leader: Bench) -> None:
    leader.guard.outgoing("n2", append(2, 2, TERM, TERM))
    leader.guard.on_connection_changed("n2")
    leader.hears(ack(4))
    assert leader.raft.next_indexes == []


def test_acknowledgements_of_an_earlier_leadership_do_not_count(leader: Bench) -> None:
    leader.hears(ack(4))
    leader.guard.on_leadership()
    assert leader.guard.matched == {}


def test_a_voter_is_counted_once_in_a_term(leader: Bench) -> None:
    for peer, term in (("n2", 6), ("n2", 6), ("n3", 6), ("n2", 7), ("n2", 7)):
        leader.hears(Vote(term), peer)
    assert leader.raft.delivered == [Vote(6), Vote(6), Vote(7)]
    assert leader.guard.refused["repeated_vote"] == 2


# ---------------------------------------------------------------- snapshots, on a follower


def part(
    offset: int = 0,
    *,
    index: int = 50,
    term: int = TERM,
    snapshot_term: int = 4,
    is_last: bool = False,
) -> SnapshotPart:
    return SnapshotPart(term, ("boot", 1), offset, b"data", is_last, index, snapshot_term)


def test_a_whole_snapshot_in_order_is_delivered(follower: Bench) -> None:
    parts = [part(0), part(4), part(8, is_last=True)]
    for each in parts:
        follower.hears(each)
    assert follower.raft.delivered == parts and follower.raft.heartbeats == []


def test_a_snapshot_of_an_older_term_reaches_nobody(follower: Bench) -> None:
    follower.hears(part(term=4))
    assert follower.raft.delivered == [] and follower.raft.heartbeats == []


@pytest.mark.parametrize("parts", [[part(4)], [part(0), part(8)], [part(0), part(4), part(4)]])
def test_a_part_that_does_not_continue_its_stream_moves_nothing(
    follower: Bench, parts: list[SnapshotPart]
) -> None:
    for each in parts:
        follower.hears(each)
    assert follower.raft.delivered == parts[:-1]
    assert follower.raft.heartbeats == [("n2", TERM, 0)]
    assert follower.guard.refused["snapshot_part_without_stream"] == 1


def test_a_stream_ends_with_its_connection(follower: Bench) -> None:
    follower.hears(part(0))
    follower.guard.on_connection_changed("n2")
    follower.hears(part(4))
    assert follower.raft.delivered == [part(0)]


def test_a_snapshot_older_than_what_is_committed_is_not_installed(follower: Bench) -> None:
    follower.raft.commit_index = 3
    follower.hears(part(index=2, snapshot_term=9))
    assert follower.raft.delivered == []
    assert follower.answers() == [ack(4, reset=True)]


def test_a_snapshot_that_was_overtaken_while_it_was_sent_is_not_installed(
    follower: Bench,
) -> None:
    follower.hears(part(0))
    for index in range(5, 61):
        follower.log.add(b"x", index, TERM)
    sync(follower.log)
    follower.raft.commit_index = 60
    follower.hears(part(4, is_last=True))
    assert follower.raft.delivered == [part(0)]
    assert follower.answers() == [ack(61, reset=True)]


def test_a_snapshot_that_the_log_holds_is_not_installed(follower: Bench) -> None:
    follower.hears(part(index=3, snapshot_term=3))
    assert follower.raft.delivered == []
    assert follower.raft.heartbeats == [("n2", TERM, 3)]
    assert follower.answers() == [ack(4, reset=True)]


def test_a_snapshot_that_contradicts_an_uncommitted_log_is_installed(follower: Bench) -> None:
    follower.hears(part(index=3, snapshot_term=4))
    assert follower.raft.delivered == [part(index=3, snapshot_term=4)]


class _Installing(RecordingRaft):
    """PySyncObj acknowledges a snapshot whether it could be loaded or not."""

    def __init__(self, bench: Bench, *, succeeds: bool) -> None:
        super().__init__()
        self._bench = bench
        self._succeeds = succeeds

    def deliver(self, peer: str, message: RaftMessage) -> None:
        log = self._bench.log
        if self._succeeds:
            log.clear()
            log.add(b"x", 49, 4)
            log.add(b"x", 50, 4)
        self._bench.guard.outgoing(peer, ack(log.last_index + 1, reset=True))


@pytest.mark.parametrize(
    ("succeeds", "answer"), [(False, ask(5)), (True, ack(51, reset=True))], ids=["failed", "done"]
)
def test_only_a_snapshot_that_was_installed_is_acknowledged(
    follower: Bench, succeeds: bool, answer: NextIndex
) -> None:
    follower.guard = Guard(_Installing(follower, succeeds=succeeds), follower.log, follower.wire)
    follower.hears(part(is_last=True))
    sync(follower.log)
    follower.guard.on_durable()
    assert follower.answers() == [answer]
    assert follower.guard.refused["snapshot_not_installed"] == (not succeeds)
