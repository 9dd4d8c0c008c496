"""The vote survives everything, or the node does not start."""

import errno
from contextlib import suppress
from pathlib import Path

import pytest
from tests.unit.storage.crash_search import (
    Check,
    Killed,
    call_sites,
    kill_at_folder_sync,
    search,
    until_power_cut,
)

from raftq.protocol.errors import CorruptRecord, SyncFailed, UnsupportedFormat
from raftq.protocol.versions import DATA_FORMAT_VERSION
from raftq.storage.record import VOTE, encode_record
from raftq.storage.vote import VoteFile
from raftq.testing.memory_files import MemoryFiles

PATH = Path("/data/vote")
SYNCS = {
    "write_temporary.sync": "the new content",
    "replace_file.sync_folder": "its name",
    "open.sync_folder": "a name that a killed process left behind",
}


def _stored(disk: MemoryFiles) -> tuple[int, str | None]:
    vote = VoteFile.open(disk, PATH)
    return vote.term, vote.voted_for


def _vote_and_be_killed(disk: MemoryFiles) -> Check:
    states: list[tuple[int, str | None]] = [(0, None)]
    durable = 0

    def run() -> None:
        nonlocal durable
        vote = VoteFile.open(disk, PATH)
        for state in ((1, None), (1, "n2"), (2, "n1"), (9, None)):
            states.append(state)
            vote.store(*state)
            durable = len(states) - 1
        states.append((10, "n3"))
        with kill_at_folder_sync(disk), suppress(Killed):
            vote.store(10, "n3")
        durable = states.index(_stored(disk))  # Others may hear of it from now on.

    until_power_cut(run)

    def check(after: MemoryFiles) -> None:
        assert _stored(after) in states[durable:]
        VoteFile.open(after, PATH).store(11, "n1")
        assert _stored(after) == (11, "n1")

    return check


def test_a_power_cut_at_any_byte_leaves_the_old_vote_or_the_new_one() -> None:
    assert search(_vote_and_be_killed, outcomes=6) is None


def test_every_sync_of_the_vote_is_listed() -> None:
    assert call_sites(_vote_and_be_killed) == SYNCS.keys()


@pytest.mark.parametrize("site", SYNCS)
def test_a_missing_sync_is_caught(site: str) -> None:
    assert search(_vote_and_be_killed, outcomes=20, lie=site) is not None


def test_a_missing_file_is_term_zero_without_a_vote() -> None:
    assert _stored(MemoryFiles()) == (0, None)


def test_every_flipped_bit_is_refused() -> None:
    disk = MemoryFiles()
    VoteFile.open(disk, PATH).store(5, "n2")
    for bit in range(8 * len(disk.read(PATH))):
        disk.flip_bit(PATH, bit)
        with pytest.raises(CorruptRecord):
            VoteFile.open(disk, PATH)
        disk.flip_bit(PATH, bit)
    assert _stored(disk) == (5, "n2")


def test_every_shortened_or_prolonged_file_is_refused() -> None:
    disk = MemoryFiles()
    VoteFile.open(disk, PATH).store(5, "n2")
    whole = disk.read(PATH)
    for damaged in (*(whole[:size] for size in range(len(whole))), whole + b"\0"):
        disk.put(PATH, damaged)
        with pytest.raises(CorruptRecord, match="the stored vote is unreadable"):
            VoteFile.open(disk, PATH)


def test_a_file_of_another_version_is_refused() -> None:
    disk = MemoryFiles()
    disk.put(PATH, encode_record(0, VOTE, DATA_FORMAT_VERSION + 1, 5))
    with pytest.raises(UnsupportedFormat, match=f"has format {DATA_FORMAT_VERSION + 1}"):
        VoteFile.open(disk, PATH)


def test_a_failed_sync_stops_the_node() -> None:
    disk = MemoryFiles()
    vote = VoteFile.open(disk, PATH)
    vote.store(1, "n1")

    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    disk.before_sync = fail
    with pytest.raises(SyncFailed, match="Input/output error"):
        vote.store(2, "n2")
    assert (vote.term, vote.voted_for) == (1, "n1")


def test_a_term_never_goes_back() -> None:
    vote = VoteFile.open(MemoryFiles(), PATH)
    vote.store(4, None)
    with pytest.raises(AssertionError, match="term 3 is older than the stored 4"):
        vote.store(3, None)


def test_a_vote_never_changes_within_its_term() -> None:
    vote = VoteFile.open(MemoryFiles(), PATH)
    vote.store(4, "n1")
    vote.store(4, "n1")
    with pytest.raises(AssertionError, match="the vote of term 4 was given to n1, not to n2"):
        vote.store(4, "n2")
