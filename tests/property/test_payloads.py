"""Payloads on the disk against a machine that has them in memory.

One node's log, snapshots and machine, through appends, commits, ends that are cut off, snapshots
that take a while, snapshots of a leader, kills and power cuts. Every payload that a lease delivers
is compared, with caches of every size.
"""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from random import Random
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.support.machines import LEASE_MS, entry, task_id

from raftq.consensus.payloads.store import dump_chunks
from raftq.consensus.raft.engine_seams import SNAPSHOT_WRITTEN
from raftq.consensus.raft.entry_versions import ENTRY_COMMAND
from raftq.consensus.raft.member_history import MemberHistory
from raftq.consensus.raft.members import MemberList
from raftq.consensus.raft.raft_log import RaftLog
from raftq.consensus.replicated_state import ReplicatedState
from raftq.consensus.snapshotter import Snapshotter
from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.protocol.commands import Ack, AckItem, Command, Enqueue, Lease
from raftq.protocol.options import NewTask
from raftq.protocol.replies import Leased
from raftq.storage.journal import Journal, JournalEntry
from raftq.storage.record_chain import Chunk
from raftq.storage.snapshots import SnapshotMeta, SnapshotStore
from raftq.storage.vote import VoteFile
from raftq.testing.memory_files import Keep, Kept, MemoryFiles

DATA = Path("/data")
TERM = 1
NO_OP = bytes([1])


class NoIdentity:
    """A data folder of no cluster."""

    cluster_id: str | None = None

    def record_cluster_id(self, cluster_id: str) -> None:
        self.cluster_id = cluster_id


class ForkingStore(SnapshotStore):
    """Snapshots whose writer has the state of the fork."""

    at_fork: tuple[SnapshotMeta, list[Chunk]] | None = None

    def write(self, meta: SnapshotMeta, chunks: Iterable[Chunk]) -> None:
        self.at_fork = (meta, list(chunks))

    def write_now(self) -> None:
        assert self.at_fork is not None
        super().write(*self.at_fork)


class Child:
    """A background whose job is done when the test says so."""

    def __init__(self, store: ForkingStore) -> None:
        self.store = store
        self.is_running = False
        self.outcome: bool | None = False

    def start(self, job: Callable[[], None], keep: Collection[int]) -> None:
        job()
        self.is_running, self.outcome = True, None

    def poll(self) -> bool | None:
        return self.outcome

    def stop(self) -> None:
        self.is_running, self.outcome = False, False

    def finish(self) -> None:
        if self.is_running:
            self.store.write_now()
            self.is_running, self.outcome = False, True


class Node:
    """What one process has open."""

    def __init__(self, files: MemoryFiles, segment_bytes: int) -> None:
        snapshots = ForkingStore(files, DATA / "snapshots")
        journal = Journal.open(files, DATA / "journal", segment_bytes=segment_bytes)
        vote = VoteFile.open(files, DATA / "vote")
        vote.store(TERM, None)
        members = MemberHistory(MemberList.of_voters({"n1": "127.0.0.1:7621"}))
        self.log = RaftLog(journal, vote, snapshots.read_meta(), sync_each=False, members=members)
        if not len(self.log):
            self.log.add(NO_OP, 1, TERM)
        self.state = ReplicatedState(
            NoIdentity(), lambda index: self.log.command_at(index), journal.open_segments
        )
        self.child = Child(snapshots)
        self.snapshotter = Snapshotter(
            snapshots, members, self.state, self.child, lambda: 0.0, lambda index: True
        )
        self.applied = 1
        if snapshots.read_meta() is not None:
            self.applied = self.snapshotter.load()[0].index

    def sync(self) -> None:
        while (job := self.log.journal.begin_sync()) is not None:
            job.run()
            self.log.journal.finish_sync(job)

    def apply_through(self, index: int) -> None:
        """Apply what is committed, as after a restart."""
        while self.applied < index:
            for each in self.log[self.applied + 1 - self.log.first_index :][:1]:
                self.applied += 1
                if each.command[0] == ENTRY_COMMAND:
                    self.state.apply(self.applied, each.command[1:])


class PayloadMachine(RuleBasedStateMachine):
    """Drives a node, and a machine in memory that gets the same committed entries."""

    def __init__(self) -> None:
        super().__init__()
        self.files = MemoryFiles()
        self.committed = 1
        self.reference = Machine()
        self.requests = self.ids = 0
        self.held: list[int] = []

    @initialize(
        segment_bytes=st.sampled_from([1, 500, 100_000]),
        cache_bytes=st.sampled_from([0, 400, 100_000]),
        chunk_bytes=st.sampled_from([1, 60, 100_000]),
    )
    def begin(self, segment_bytes: int, cache_bytes: int, chunk_bytes: int) -> None:
        self.segment_bytes = segment_bytes
        self.limits = patch.multiple(
            limits,
            LOG_CACHE_BYTES=cache_bytes,
            PAYLOAD_CACHE_BYTES=cache_bytes,
            PAYLOAD_CHUNK_BYTES=chunk_bytes,
        )
        self.limits.start()
        self.node = Node(self.files, segment_bytes)

    def teardown(self) -> None:
        if hasattr(self, "limits"):
            self.limits.stop()

    # ------------------------------------------------------------ the log

    def propose(self, *commands: Command) -> list[Leased]:
        """Append, sync, commit and apply an entry; compare what its leases deliver."""
        raw = entry(*commands)
        self.node.log.add(bytes([ENTRY_COMMAND]) + raw, self.node.log.last_index + 1, TERM)
        self.node.sync()
        self.committed = self.node.log.last_index
        self.node.apply_through(self.committed - 1)
        applied = self.node.state.apply(self.committed, raw)
        self.node.applied = self.committed
        expected = self.reference.apply(raw, self.committed)
        found = [self.node.state.answer(reply) for reply in applied.replies]
        assert found == [self.reference.answer(reply) for reply in expected.replies]
        return [each for each in found if isinstance(each, Leased)]

    def _tasks(self, sizes: list[int]) -> list[NewTask]:
        tasks: list[NewTask] = []
        for size in sizes:
            self.ids += 1
            tasks.append(NewTask(task_id(self.ids), Random(self.ids).randbytes(size)))
        return tasks

    @rule(batches=st.lists(st.lists(st.integers(0, 90), min_size=1, max_size=4), min_size=1))
    def enqueue(self, batches: list[list[int]]) -> None:
        self.propose(*(Enqueue("q", self._tasks(sizes)) for sizes in batches))

    @rule(size=st.integers(1, 30))
    def enqueue_one_id_twice_with_other_payloads(self, size: int) -> None:
        """In one entry; only one of the two is accepted."""
        (first,) = self._tasks([size])
        self.propose(
            Enqueue("q", [first]), Enqueue("q", [NewTask(first.id, first.payload + b"other")])
        )

    @rule(sizes=st.lists(st.integers(0, 90), min_size=1, max_size=3))
    def enqueue_what_is_cut_off_again(self, sizes: list[int]) -> None:
        """Entries of a leader that is deposed before anybody else has them."""
        log, count = self.node.log, len(sizes)
        for size in sizes:
            raw = entry(Enqueue("q", self._tasks([size])))
            log.add(bytes([ENTRY_COMMAND]) + raw, log.last_index + 1, TERM)
        if count % 2:
            self.node.sync()
        log.deleteEntriesFrom(self.committed + 1 - log.first_index)

    @rule(count=st.integers(1, 6))
    def lease(self, count: int) -> None:
        self.requests += 1
        lease = Lease(["q"], count, LEASE_MS, "w", f"r{self.requests}")
        for leased in self.propose(lease):
            self.held += [each.token for each in leased.leases]

    @rule()
    def lease_again(self) -> None:
        """Repeat the newest lease call: it returns the same payloads."""
        if self.requests:
            self.propose(Lease(["q"], 1, LEASE_MS, "w", f"r{self.requests}"))

    @rule(count=st.integers(1, 8))
    def ack(self, count: int) -> None:
        acked, self.held = self.held[:count], self.held[count:]
        if acked:
            self.propose(Ack([AckItem(token) for token in acked]))

    # ------------------------------------------------------------ snapshots

    @rule()
    def begin_snapshot(self) -> None:
        node, log = self.node, self.node.log
        if node.snapshotter.is_idle and node.applied - log.first_index >= 2:
            position = node.applied - log.first_index
            self.cut_to = log[position - 1].index
            node.snapshotter.begin(log[position], log[position - 1])

    @rule()
    def finish_snapshot(self) -> None:
        node = self.node
        if node.snapshotter.is_idle:
            return
        node.child.finish()
        for _ in range(100):
            if node.snapshotter.poll() == SNAPSHOT_WRITTEN:
                node.log.deleteEntriesTo(self.cut_to - node.log.first_index)
                node.sync()
                return

    @rule(sizes=st.lists(st.integers(1, 90), min_size=1, max_size=3))
    def snapshot_while_tasks_come(self, sizes: list[int]) -> None:
        self.begin_snapshot()
        self.propose(Enqueue("q", self._tasks(sizes)))
        self.finish_snapshot()
        self.everything_that_is_left_is_the_same()

    @rule(sizes=st.lists(st.integers(0, 90), min_size=1, max_size=3))
    def install_snapshot(self, sizes: list[int]) -> None:
        """Others went on without this node, whose leader sends it a snapshot."""
        node = self.node
        for size in sizes:
            self.reference.apply(entry(Enqueue("q", self._tasks([size]))))
        last = JournalEntry(NO_OP, self.committed + 5, TERM)
        previous = JournalEntry(NO_OP, self.committed + 4, TERM)
        meta = node.snapshotter.describe(last, previous)
        leader = MemoryFiles()
        store = SnapshotStore(leader, DATA)
        store.write(meta, dump_chunks(self.reference))
        received = DATA / "snapshots" / "current.snapshot.1.tmp"
        if received.name in self.files.names(received.parent):
            self.files.remove(received)
        self.files.open_append(received).write(leader.read(store.current))
        node.snapshotter.cancel()
        node.snapshotter.adopt(received)
        assert node.snapshotter.load() == (last, previous)
        node.log.clear()
        for each in (previous, last):
            node.log.add(each.command, each.index, each.term)
        node.sync()
        node.snapshotter.poll()
        self.committed = node.applied = last.index

    # ------------------------------------------------------------ ends of processes

    @rule(keep=st.none() | st.sampled_from(Keep) | st.integers(0, 2**32).map(Random))
    def restart(self, keep: Kept | None) -> None:
        """Kill the process, or cut its power; what is committed is on the disk."""
        if keep is not None:
            self.files = self.files.crash(keep)
        node = self.node = Node(self.files, self.segment_bytes)
        if node.log.last_index > self.committed:  # An end that was cut off, not yet durably.
            node.log.deleteEntriesFrom(self.committed + 1 - node.log.first_index)
        node.apply_through(self.committed)

    @invariant()
    def both_machines_are_in_the_same_state(self) -> None:
        if hasattr(self, "node"):
            assert self.node.state.machine.state_hash == self.reference.state_hash

    @rule()
    def everything_that_is_left_is_the_same(self) -> None:
        assert self.node.state.machine.content_hash() == self.reference.content_hash()


TestPayloads = PayloadMachine.TestCase
TestPayloads.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
