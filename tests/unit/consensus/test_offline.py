"""What a stopped node's files lead to, by the rules by which a node starts."""

from pathlib import Path

import pytest

from raftq.consensus.offline import indexes_after
from raftq.protocol.errors import CorruptRecord
from raftq.storage.log_shape import LogShape, SegmentRange

FOLDER = Path("folder")


def log(*entries: tuple[int, int]) -> LogShape:
    """Return a log with entries of (index, term)."""
    shape = LogShape([SegmentRange(1, seed=0)])
    for index, term in entries:
        shape.append(index, term, 0, 0)
    return shape


def after(snapshot: tuple[int, int], *entries: tuple[int, int]) -> list[int]:
    """Return what continues a snapshot that ends with (index, term); (0, 0) if there is none."""
    return list(indexes_after(*snapshot, log(*entries), FOLDER))


def test_without_a_snapshot_the_whole_log_counts() -> None:
    assert after((0, 0), (1, 0), (2, 1), (3, 1)) == [1, 2, 3]
    assert after((0, 0)) == []


def test_entries_that_a_snapshot_holds_are_not_applied_twice() -> None:
    assert after((2, 1), (1, 1), (2, 1), (3, 1), (4, 2)) == [3, 4]
    assert after((2, 1), (3, 1)) == [3]
    assert after((2, 1), (1, 1), (2, 1)) == []


def test_a_log_that_a_received_snapshot_replaces_does_not_count() -> None:
    assert after((2, 5), (1, 1), (2, 1), (3, 1)) == []
    assert after((9, 5), (1, 1), (2, 1), (3, 1)) == []


def test_a_hole_between_snapshot_and_log_is_no_state() -> None:
    with pytest.raises(CorruptRecord, match="begins at index 4, not at 3"):
        after((2, 1), (4, 1))
    with pytest.raises(CorruptRecord, match="begins at index 2, not at 1"):
        after((0, 0), (2, 1))
