"""Any state goes through a backup unchanged, and begins a new cluster without losing a task."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import command_strategies as some
from tests.support.machines import entry

from raftq.consensus.payloads.store import PayloadStore, dump_chunks
from raftq.core.machine import Machine
from raftq.core.task import OVER
from raftq.node.backup_files import load_backup
from raftq.node.restore import restore
from raftq.protocol.commands import Command, FoundCluster
from raftq.protocol.fields import TaskState
from raftq.storage.backups import BackupMeta, write_backup
from raftq.storage.data_dir import DataDir
from raftq.storage.files import RealFiles
from raftq.storage.snapshots import SnapshotStore
from raftq.storage.vote import VoteFile

FILES = RealFiles()
CLUSTER = {"n1": ("127.0.0.1", 1), "n2": ("127.0.0.1", 2)}
steps = st.tuples(st.integers(0, 1_500), some.commands)


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """Machines of clusters that have done something."""
    machine = Machine()
    machine.apply(entry(FoundCluster("old"), wall_at_ms=1_700_000_000_000))
    for passed_ms, command in draw(st.lists(steps, max_size=40)):
        _apply(machine, command, passed_ms)
    return machine


def _apply(machine: Machine, command: Command, passed_ms: int) -> None:
    wall_at_ms = machine.wall_now_ms + passed_ms
    machine.apply(entry(command, lease_ms=passed_ms, wall_at_ms=wall_at_ms))


def _totals(machine: Machine) -> Iterator[tuple[str, int, int, int]]:
    """Yield for each queue what was enqueued, what is over, and what is still to do."""
    for name in machine.queues():
        queue = machine.queue(name)
        over = sum(queue.counts[state] for state in OVER)
        yield name, queue.enqueued, over, sum(queue.counts.values()) - over


@settings(deadline=None, max_examples=50)  # Each one syncs real files.
@given(machines())
def test_any_state_survives_backup_and_restore(machine: Machine) -> None:
    with TemporaryDirectory() as folder:
        check(machine, Path(folder))


def check(machine: Machine, folder: Path) -> None:
    meta = BackupMeta(99, 4, machine.state_hash, "old", "n3", 0, "0.1.0")
    write_backup(FILES, folder / "a.backup", meta, dump_chunks(machine))
    found, loaded = load_backup(FILES, folder / "a.backup")
    assert found == meta
    assert loaded.content_hash() == machine.content_hash()

    folders = {node: folder / node for node in CLUSTER}
    restore(FILES, meta, loaded, folders, CLUSTER, f"{1:032x}")
    restored = [_start(node, folders[node]) for node in CLUSTER]
    assert len({each.content_hash() for each in restored}) == 1
    for each in restored:
        each.check_invariants()
        assert each.state_hash == machine.state_hash
        assert list(_totals(each)) == list(_totals(machine))
        assert all(each.queue(name).counts[TaskState.LEASED] == 0 for name in each.queues())


def _start(node: str, folder: Path) -> Machine:
    """Return the machine that a node would load, having checked what it would check."""
    data_dir = DataDir.open(folder, node_id=node, members=list(CLUSTER))
    try:
        assert data_dir.cluster_id == f"{1:032x}" and not data_dir.is_on_probation
        data_dir.check_members(CLUSTER)
        vote = VoteFile.open(FILES, data_dir.vote_path)
        loaded = SnapshotStore(FILES, data_dir.snapshot_folder).load()
        assert loaded is not None
        meta = loaded.meta
        assert (meta.last_index, meta.last_term) == (99, vote.term)
        assert (meta.previous_index, meta.previous_term) == (98, vote.term)
        assert vote.voted_for is None
        payloads = PayloadStore(lambda index: pytest.fail(f"there is no entry {index}"))
        machine = Machine.load(loaded.chunks, payloads)
        payloads.begin_with(loaded.keyed, machine.last_sequence)
        return machine
    finally:
        data_dir.close()
