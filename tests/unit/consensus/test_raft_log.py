"""The log as PySyncObj sees it, on a disk in memory."""

import pytest
from tests.support.raft_pieces import JOURNAL, open_log, sync

from raftq.protocol import limits
from raftq.protocol.errors import CorruptRecord
from raftq.storage.journal import JournalEntry
from raftq.storage.snapshots import SnapshotMeta
from raftq.testing.memory_files import MemoryFiles


def disk(first: int, *terms: int) -> MemoryFiles:
    """Return a disk with a durable log of the given terms from an index on."""
    files = MemoryFiles()
    log = open_log(files)
    log.setCurrentTerm(9, None)
    for index, term in enumerate(terms, start=first):
        log.add(b"old%d" % index, index, term)
    sync(log)
    log.journal.close()
    return files


def snapshot(index: int, term: int) -> SnapshotMeta:
    return SnapshotMeta(
        last_index=index,
        last_term=term,
        previous_index=index - 1,
        previous_term=term,
        last_command=b"last",
        previous_command=b"previous",
        state_hash="",
        members=["n1"],
        cluster_id=None,
    )


def shape(files: MemoryFiles, meta: SnapshotMeta | None) -> list[tuple[int, int]]:
    log = open_log(files, meta)
    return [(log[position].index, log[position].term) for position in range(len(log))]


def test_without_a_snapshot_the_whole_log_is_kept() -> None:
    assert shape(disk(1, 1, 1, 2), None) == [(1, 1), (2, 1), (3, 2)]


def test_entries_after_a_snapshot_are_kept() -> None:
    assert shape(disk(1, 1, 1, 2, 2), snapshot(3, 2)) == [(2, 2), (3, 2), (4, 2)]


def test_a_log_that_begins_right_after_the_snapshot_is_kept() -> None:
    assert shape(disk(4, 2, 3), snapshot(3, 2)) == [(2, 2), (3, 2), (4, 2), (5, 3)]


def test_a_log_that_ends_before_the_snapshot_is_replaced() -> None:
    files = disk(1, 1, 1)
    log = open_log(files, snapshot(7, 3))
    assert (log.first_index, log.last_index, log.last_term) == (6, 7, 3)
    log.add(b"new", 8, 4)
    sync(log)
    log.journal.close()
    assert shape(files, snapshot(7, 3)) == [(6, 3), (7, 3), (8, 4)]


def test_a_log_that_contradicts_the_snapshot_is_replaced() -> None:
    assert shape(disk(1, 1, 1, 1, 1), snapshot(3, 2)) == [(2, 2), (3, 2)]


def test_an_empty_log_begins_at_the_snapshot() -> None:
    assert shape(disk(1), snapshot(3, 2)) == [(2, 2), (3, 2)]


def test_a_gap_between_snapshot_and_log_stops_the_node() -> None:
    with pytest.raises(CorruptRecord, match="missing"):
        open_log(disk(6, 2, 2), snapshot(3, 2))


def test_a_log_newer_than_the_vote_file_stops_the_node() -> None:
    with pytest.raises(CorruptRecord, match="vote file"):
        open_log(disk(1, 1, 10))


def test_committed_entries_are_never_cut_off() -> None:
    log = open_log(disk(1, 1, 1, 1))
    log.setRaftCommitIndex(2)
    log.setRaftCommitIndex(1)
    with pytest.raises(AssertionError, match="committed"):
        log.deleteEntriesFrom(1)
    log.deleteEntriesFrom(2)
    assert log.last_index == 2


def test_bytes_are_counted_through_every_change() -> None:
    log = open_log(disk(1, 1, 1, 1, 1))
    log.add(b"xx", 5, 2)
    log.deleteEntriesFrom(3)
    log.deleteEntriesTo(1)
    assert log.payload_bytes == sum(len(log[position].command) for position in range(len(log)))
    log.clear()
    assert (len(log), log.payload_bytes) == (0, 0)


def test_an_open_slice_is_one_message_s_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(disk(1, *[1] * 6))
    monkeypatch.setattr(limits, "ENTRIES_PER_MESSAGE_MAX", 4)
    assert [each.index for each in log[1:]] == [2, 3, 4, 5]
    monkeypatch.setattr(limits, "MESSAGE_BYTES_TARGET", 9)
    assert [each.index for each in log[1:]] == [2, 3, 4]


def test_an_open_slice_shows_that_something_follows_however_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = open_log(disk(1, 1, 1, 1))
    monkeypatch.setattr(limits, "MESSAGE_BYTES_TARGET", 1)
    assert [each.index for each in log[0:]] == [1, 2]


def test_closed_slices_and_positions_are_those_of_a_list() -> None:
    log = open_log(disk(1, 1, 1, 2))
    assert [each.index for each in log[0:2]] == [1, 2]
    assert (log[-1].index, log[0].index, log.term_at(3)) == (3, 1, 2)


def test_terms_and_votes_are_durable_before_the_call_returns() -> None:
    files = disk(1, 1)
    open_log(files).setCurrentTerm(12, "n3")
    log = open_log(files)
    assert (log.getCurrentTerm(), log.getVotedForNodeId()) == (12, "n3")


def test_a_node_alone_has_each_entry_durable_before_it_counts() -> None:
    files = disk(1, 1)
    log = open_log(files, sync_each=True)
    log.add(b"x", 2, 9)
    assert log.journal.durable_index == 2


def test_nothing_but_the_first_entry_is_known_to_be_committed_at_start() -> None:
    files = disk(1, 1, 1, 1)
    open_log(files).setRaftCommitIndex(3)
    assert open_log(files).getRaftCommitIndex() == 1


def test_what_one_turn_applies_is_bounded_and_the_rest_comes_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = open_log(disk(1, *[1] * 9))
    monkeypatch.setattr(limits, "APPLY_BYTES_PER_TURN", 10)
    assert [each.index for each in log[0:9]] == [1, 2, 3]
    monkeypatch.setattr(limits, "APPLY_BYTES_PER_TURN", 1)
    assert [each.index for each in log[0:9]] == [1]
    assert [each.index for each in log[3:5]] == [4, 5], "two are asked for together with a reason"


def test_old_commands_are_on_the_disk_only_and_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOG_CACHE_BYTES", 0)
    files = disk(1, 1, 1, 2)
    log = open_log(files)
    log.add(b"new", 4, 2)
    assert [each.command for each in log[0:2]] == [b"old1", b"old2"]
    assert log.command_at(4) == b"new", "what is not written yet is in memory"
    sync(log)
    log.add(b"newer", 5, 2)
    assert [log.command_at(index) for index in (3, 4, 5)] == [b"old3", b"new", b"newer"]
    assert [each.command for each in log[1:]] == [b"old2", b"old3", b"new", b"newer"]


def test_a_command_that_rotted_is_not_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOG_CACHE_BYTES", 0)
    files = disk(1, 1, 1)
    log = open_log(files)
    segment = JOURNAL / files.names(JOURNAL)[0]
    files.flip_bit(segment, 8 * files.read(segment).index(b"old1"))
    entry = log[0:2][0]
    assert (entry[1], entry[2]) == (1, 1), "index and term are in memory"
    with pytest.raises(CorruptRecord, match="entry 1 is unreadable"):
        entry[0]


def test_an_entry_on_the_disk_equals_the_same_entry_in_memory() -> None:
    log = open_log(disk(1, 1, 1, 2), snapshot(1, 1))
    assert log[0] == JournalEntry(b"previous", 0, 1) and log[0] != JournalEntry(b"other", 0, 1)
    assert log[2] == JournalEntry(b"old2", 2, 1) and log[2] != JournalEntry(b"old2", 3, 1)
    assert log[2] == log[2] and log[2] != b"old2"


def test_a_cut_log_has_its_new_end() -> None:
    log = open_log(disk(1, 1, 1, 2))
    log.deleteEntriesFrom(2)
    assert (log[-1].index, log[-1].command, log.last_term) == (2, b"old2", 1)
    log.add(b"other", 3, 5)
    assert (log.command_at(3), log.term_at(3), log[-1].term) == (b"other", 5, 5)
