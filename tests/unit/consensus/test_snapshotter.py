"""When a snapshot counts as written, and what is loaded back."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.machines import Driver

from raftq.consensus.raft.engine import (
    SNAPSHOT_FAILED,
    SNAPSHOT_IDLE,
    SNAPSHOT_WRITING,
    SNAPSHOT_WRITTEN,
)
from raftq.consensus.raft.member_history import MemberHistory
from raftq.consensus.raft.members import MemberList
from raftq.consensus.replicated_state import ReplicatedState
from raftq.consensus.snapshotter import Snapshotter
from raftq.protocol.errors import CorruptRecord
from raftq.storage.journal import JournalEntry
from raftq.storage.snapshots import SnapshotStore
from raftq.testing.memory_files import MemoryFiles

FOLDER = Path("/snapshots")
PREVIOUS, LAST = JournalEntry(b"previous", 6, 2), JournalEntry(b"last", 7, 3)


class NoIdentity:
    """A data folder of no cluster."""

    cluster_id: str | None = None

    def record_cluster_id(self, cluster_id: str) -> None:
        self.cluster_id = cluster_id


class Job:
    """A background whose job runs, or is lost, when a test says so."""

    def __init__(self) -> None:
        self.job: Callable[[], None] | None = None
        self.outcome: bool | None = None

    def start(self, job: Callable[[], None]) -> None:
        self.job, self.outcome = job, None

    def poll(self) -> bool | None:
        return self.outcome

    def stop(self) -> None:
        self.job, self.outcome = None, False

    def finish(self) -> None:
        assert self.job is not None
        self.job()
        self.outcome = True


class Bench:
    """A snapshotter on a disk in memory, of a machine with two tasks."""

    def __init__(self) -> None:
        self.files = MemoryFiles()
        self.job, self.now, self.passed = Job(), 100.0, True
        self.state = ReplicatedState(NoIdentity())
        driver = Driver(self.state.machine)
        driver.enqueue(1, 2)
        self.snapshotter = Snapshotter(
            SnapshotStore(self.files, FOLDER),
            MemberHistory(MemberList.of_voters({"n1": "127.0.0.1:7621"})),
            self.state,
            self.job,
            lambda: self.now,
            lambda index: self.passed,
        )

    def write(self) -> None:
        self.snapshotter.begin(LAST, PREVIOUS)
        self.job.finish()
        assert self.snapshotter.poll() == SNAPSHOT_WRITTEN


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_snapshot_counts_once_and_only_after_its_writer_succeeded(bench: Bench) -> None:
    snapshotter = bench.snapshotter
    assert snapshotter.poll() == SNAPSHOT_IDLE and snapshotter.is_idle
    snapshotter.begin(LAST, PREVIOUS)
    assert snapshotter.poll() == SNAPSHOT_WRITING and not snapshotter.is_idle
    assert snapshotter.identity() == (0, 0)
    bench.job.finish()
    assert snapshotter.poll() == SNAPSHOT_WRITTEN
    assert snapshotter.poll() == SNAPSHOT_IDLE and snapshotter.is_idle
    assert snapshotter.identity() == (7, 3) and snapshotter.written_total == 1


def test_a_failed_writer_is_told_once_and_the_next_may_begin(bench: Bench) -> None:
    bench.snapshotter.begin(LAST, PREVIOUS)
    bench.job.outcome = False
    assert bench.snapshotter.poll() == SNAPSHOT_FAILED
    assert bench.snapshotter.poll() == SNAPSHOT_IDLE
    assert (bench.snapshotter.failed_total, bench.snapshotter.written_total) == (1, 0)
    bench.write()


def test_the_log_is_kept_for_a_moment_for_a_follower_that_is_a_little_behind(bench: Bench) -> None:
    bench.passed = False
    bench.snapshotter.begin(LAST, PREVIOUS)
    bench.job.finish()
    assert bench.snapshotter.poll() == SNAPSHOT_WRITING
    bench.passed = True
    assert bench.snapshotter.poll() == SNAPSHOT_WRITTEN


def test_no_follower_keeps_the_log_for_long(bench: Bench) -> None:
    bench.passed = False
    bench.snapshotter.begin(LAST, PREVIOUS)
    bench.job.finish()
    assert bench.snapshotter.poll() == SNAPSHOT_WRITING
    bench.now += 2.1
    assert bench.snapshotter.poll() == SNAPSHOT_WRITTEN


@pytest.mark.parametrize("is_durable", [False, True])
def test_a_snapshot_that_a_received_one_replaces_is_given_up(
    bench: Bench, is_durable: bool
) -> None:
    bench.passed = False
    bench.snapshotter.begin(LAST, PREVIOUS)
    if is_durable:
        bench.job.finish()
        assert bench.snapshotter.poll() == SNAPSHOT_WRITING
    bench.snapshotter.cancel()
    assert bench.job.job is None
    assert bench.snapshotter.poll() == SNAPSHOT_FAILED
    assert bench.snapshotter.identity() == (0, 0)


def test_giving_up_nothing_is_no_failure(bench: Bench) -> None:
    bench.snapshotter.cancel()
    assert bench.snapshotter.poll() == SNAPSHOT_IDLE and bench.snapshotter.failed_total == 0


def test_what_was_written_is_loaded_with_both_entries(bench: Bench) -> None:
    written = bench.state.machine
    bench.write()
    assert bench.snapshotter.load() == (LAST, PREVIOUS)
    loaded = bench.state.machine
    assert loaded is not written and loaded.content_hash() == written.content_hash()
    assert bench.snapshotter.identity() == (7, 3)


def test_a_damaged_snapshot_leaves_the_machine_as_it_is(bench: Bench) -> None:
    bench.write()
    machine = bench.state.machine
    bench.files.flip_bit(bench.snapshotter.path, 800)
    with pytest.raises(CorruptRecord):
        bench.snapshotter.load()
    assert bench.state.machine is machine


def test_a_damaged_received_file_leaves_the_current_one(bench: Bench) -> None:
    bench.write()
    received = FOLDER / "received"
    content = bytearray(bench.files.read(bench.snapshotter.path))
    content[len(content) // 2] ^= 1
    bench.files.put(received, bytes(content))
    with pytest.raises(CorruptRecord):
        bench.snapshotter.adopt(received)
    assert bench.snapshotter.load() == (LAST, PREVIOUS)
