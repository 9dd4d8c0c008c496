"""When a snapshot counts as written, and what is loaded back."""

import errno
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from tests.support.machines import LEASE_MS, entry, task_id

from raftq.consensus.raft.engine_seams import (
    SNAPSHOT_FAILED,
    SNAPSHOT_IDLE,
    SNAPSHOT_WRITING,
    SNAPSHOT_WRITTEN,
)
from raftq.consensus.raft.entry_versions import ENTRY_COMMAND
from raftq.consensus.raft.member_history import MemberHistory
from raftq.consensus.raft.members import MemberList
from raftq.consensus.replicated_state import ReplicatedState
from raftq.consensus.snapshotter import Snapshotter
from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.protocol.commands import Ack, AckItem, Command, Enqueue, Lease
from raftq.protocol.errors import CorruptRecord
from raftq.protocol.options import NewTask
from raftq.protocol.replies import CommandReply, Leased
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
        self.damage: CorruptRecord | None = None
        self.refusal: OSError | None = None

    def start(self, job: Callable[[], None], keep: Collection[int]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.job, self.outcome = job, None

    def poll(self) -> bool | None:
        if self.damage is not None:
            raise self.damage
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
        self.entries: dict[int, bytes] = {}
        self.state = ReplicatedState(NoIdentity(), self.entries.__getitem__, list)
        self.apply(5, Enqueue("q", [NewTask(task_id(number), b"payload") for number in (1, 2)]))
        self.snapshotter = Snapshotter(
            SnapshotStore(self.files, FOLDER),
            MemberHistory(MemberList.of_voters({"n1": "127.0.0.1:7621"})),
            self.state,
            self.job,
            lambda: self.now,
            lambda index: self.passed,
        )

    def apply(self, index: int, *commands: Command) -> list[CommandReply]:
        """Apply an entry of the log, and answer its callers."""
        raw = entry(*commands)
        self.entries[index] = bytes([ENTRY_COMMAND]) + raw
        applied = self.state.apply(index, raw)
        return [self.state.answer(reply) for reply in applied.replies]

    def lease(self, index: int, count: int) -> list[bytes]:
        """Return the payloads of the next tasks."""
        (leased,) = self.apply(index, Lease(["q"], count, LEASE_MS, "w", f"r{index}"))
        assert isinstance(leased, Leased)
        return [each.payload for each in leased.leases]

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
    assert bench.snapshotter.may_begin
    bench.snapshotter.begin(LAST, PREVIOUS)
    assert not bench.snapshotter.may_begin
    bench.job.outcome = False
    assert bench.snapshotter.poll() == SNAPSHOT_FAILED
    assert bench.snapshotter.poll() == SNAPSHOT_IDLE
    assert not bench.snapshotter.may_begin, "at once it would fail again"
    bench.now += limits.SNAPSHOT_AGAIN_AFTER_MS / 1_000
    assert bench.snapshotter.may_begin
    assert (bench.snapshotter.failed_total, bench.snapshotter.written_total) == (1, 0)
    bench.write()


def test_a_snapshot_that_no_process_can_be_had_for_has_failed(bench: Bench) -> None:
    bench.job.refusal = OSError(errno.EAGAIN, "no process")
    bench.job.outcome = False
    with pytest.raises(OSError, match="no process"):
        bench.snapshotter.begin(LAST, PREVIOUS)
    assert bench.snapshotter.poll() == SNAPSHOT_FAILED
    assert bench.snapshotter.is_idle


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
    assert bench.snapshotter.may_begin, "nothing is wrong with the disk"


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


def test_a_loaded_machine_tells_at_which_entry_it_began(bench: Bench) -> None:
    assert bench.state.base_index == 0, "an empty machine has seen everything"
    bench.write()
    assert bench.state.base_index == 0, "writing one changes nothing"
    bench.snapshotter.load()
    assert bench.state.base_index == LAST.index


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


@pytest.fixture
def without_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAYLOAD_CACHE_BYTES", 0)


@pytest.mark.usefixtures("without_cache")
def test_payloads_are_read_from_the_log_until_the_snapshot_is_written(bench: Bench) -> None:
    bench.snapshotter.begin(LAST, PREVIOUS)
    assert bench.lease(8, 1) == [b"payload"]
    bench.job.finish()
    assert bench.snapshotter.poll() == SNAPSHOT_WRITTEN
    bench.entries.clear()
    assert bench.lease(9, 1) == [b"payload"], "the log may be cut now"


@pytest.mark.usefixtures("without_cache")
def test_tasks_enqueued_while_a_snapshot_is_written_stay_in_the_log(bench: Bench) -> None:
    bench.snapshotter.begin(LAST, PREVIOUS)
    bench.apply(8, Enqueue("q", [NewTask(task_id(3), b"later")]))
    bench.job.finish()
    assert bench.snapshotter.poll() == SNAPSHOT_WRITTEN
    del bench.entries[5]
    assert bench.lease(9, 3) == [b"payload", b"payload", b"later"]


@pytest.mark.usefixtures("without_cache")
def test_a_loaded_machine_finds_its_payloads_in_the_snapshot(bench: Bench) -> None:
    bench.lease(6, 1)
    bench.apply(7, Ack([AckItem(1)]))
    bench.write()
    bench.entries.clear()
    bench.snapshotter.load()
    bench.apply(8, Enqueue("q", [NewTask(task_id(3), b"new")]))
    assert bench.lease(9, 3) == [b"payload", b"new"]


@pytest.mark.usefixtures("without_cache")
def test_a_second_snapshot_takes_payloads_from_the_first_and_from_the_log(bench: Bench) -> None:
    bench.write()
    bench.apply(8, Enqueue("q", [NewTask(task_id(3), b"new")]))
    bench.snapshotter.begin(JournalEntry(b"last", 9, 3), LAST)
    bench.job.finish()
    assert bench.snapshotter.poll() == SNAPSHOT_WRITTEN
    bench.entries.clear()
    assert bench.lease(10, 3) == [b"payload", b"payload", b"new"]


@pytest.mark.usefixtures("without_cache")
def test_a_newer_snapshot_in_the_place_of_the_written_one_is_not_used(bench: Bench) -> None:
    """Its payloads are those of another state, which may lack one that this machine has."""
    bench.snapshotter.begin(LAST, PREVIOUS)
    meta = bench.snapshotter.describe(JournalEntry(b"x", 99, 3), LAST)
    SnapshotStore(bench.files, FOLDER).write(meta, Machine().dump())
    bench.job.finish()
    assert bench.snapshotter.poll() == SNAPSHOT_FAILED
    assert bench.lease(8, 2) == [b"payload", b"payload"]


def test_a_long_snapshot_is_taken_into_use_in_steps(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAYLOAD_CHUNK_BYTES", 1)
    bench.apply(6, Enqueue("q", [NewTask(task_id(n), b"many") for n in range(10, 610)]))
    bench.snapshotter.begin(LAST, PREVIOUS)
    bench.job.finish()
    states = [bench.snapshotter.poll() for _ in range(3)]
    assert states == [SNAPSHOT_WRITING, SNAPSHOT_WRITING, SNAPSHOT_WRITTEN]


@pytest.mark.usefixtures("without_cache")
def test_a_payload_that_rotted_reaches_nobody(bench: Bench) -> None:
    bench.write()
    content = bench.files.read(bench.snapshotter.path)
    bench.files.flip_bit(bench.snapshotter.path, 8 * content.rindex(b"payload"))
    with pytest.raises(CorruptRecord, match=r"current\.snapshot is damaged"):
        bench.lease(8, 2)


def test_damage_that_the_writer_meets_stops_the_node(bench: Bench) -> None:
    bench.snapshotter.begin(LAST, PREVIOUS)
    bench.job.damage = CorruptRecord("somewhere")
    with pytest.raises(CorruptRecord, match="somewhere"):
        bench.snapshotter.poll()
