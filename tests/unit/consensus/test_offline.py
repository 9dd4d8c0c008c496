"""What a stopped node's files lead to, by the rules by which a node starts."""

from pathlib import Path

import pytest

from raftq.consensus.offline import entries_after
from raftq.protocol.errors import CorruptRecord
from raftq.storage.journal import JournalEntry
from raftq.storage.snapshots import SnapshotMeta

FOLDER = Path("folder")


def log(*entries: tuple[int, int]) -> list[JournalEntry]:
    """Return entries of (index, term)."""
    return [JournalEntry(b"x", index, term) for index, term in entries]


def snapshot(index: int, term: int) -> SnapshotMeta:
    return SnapshotMeta(index, term, index - 1, term, b"", b"", "", ["n1"], "c")


def after(meta: SnapshotMeta | None, *entries: tuple[int, int]) -> list[int]:
    return [entry.index for entry in entries_after(meta, log(*entries), FOLDER)]


def test_without_a_snapshot_the_whole_log_counts() -> None:
    assert after(None, (1, 0), (2, 1), (3, 1)) == [1, 2, 3]
    assert after(None) == []


def test_entries_that_a_snapshot_holds_are_not_applied_twice() -> None:
    assert after(snapshot(2, 1), (1, 1), (2, 1), (3, 1), (4, 2)) == [3, 4]
    assert after(snapshot(2, 1), (3, 1)) == [3]
    assert after(snapshot(2, 1), (1, 1), (2, 1)) == []


def test_a_log_that_a_received_snapshot_replaces_does_not_count() -> None:
    assert after(snapshot(2, 5), (1, 1), (2, 1), (3, 1)) == []
    assert after(snapshot(9, 5), (1, 1), (2, 1), (3, 1)) == []


def test_a_hole_between_snapshot_and_log_is_no_state() -> None:
    with pytest.raises(CorruptRecord, match="begins at index 4, not at 3"):
        after(snapshot(2, 1), (4, 1))
    with pytest.raises(CorruptRecord, match="begins at index 2, not at 1"):
        after(None, (2, 1))
