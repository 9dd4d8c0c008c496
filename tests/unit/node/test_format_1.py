"""What the first version wrote is read: its snapshots and backups have payloads in tasks' rows.

`tests/fixtures/format_1` was written by that version: the data folder of a node that had three
tasks leased, finished or failed after its snapshot, and a backup of the same state.
"""

import shutil
from pathlib import Path

import msgspec
import pytest
from google_crc32c import value as crc32c

from raftq.consensus.offline import replay_folder
from raftq.consensus.payloads.store import PayloadStore, dump_chunks
from raftq.core.machine import Machine
from raftq.node.backup_files import load_backup
from raftq.protocol.fields import TaskState
from raftq.storage.data_dir import DataDir
from raftq.storage.files import RealFiles
from raftq.storage.inspect import inspect_path
from raftq.storage.snapshots import SnapshotMeta, SnapshotStore

FIXTURE = Path(__file__).parents[2] / "fixtures" / "format_1"
FILES = RealFiles()


class Expected(msgspec.Struct):
    """What the version that wrote the files knew."""

    state_hash: str
    payloads: dict[str, str]
    """Of all tasks that are not done, by task id, in hex, in the order of their sequences."""


EXPECTED = msgspec.json.decode((FIXTURE / "expected.json").read_bytes(), type=Expected)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE / "n1", tmp_path / "n1"))


def check(machine: Machine) -> None:
    """Fail unless the machine is the one that was written, with all its payloads."""
    assert machine.queue("mail").counts == {
        **dict.fromkeys(TaskState, 0), TaskState.DONE: 1, TaskState.READY: 10, TaskState.LEASED: 2
    }  # fmt: skip
    assert machine.queue("later").counts[TaskState.SCHEDULED] == 3
    sequences = [*range(2, 15), 15, 16, 17]
    for sequence, (task_id, payload) in zip(sequences, EXPECTED.payloads.items(), strict=True):
        wanted = bytes.fromhex(payload)
        if wanted:
            found = machine.payloads.payload(sequence, bytes.fromhex(task_id), crc32c(wanted))
            assert found == wanted


def test_a_stopped_node_s_folder_is_read(folder: Path) -> None:
    state = replay_folder(FILES, folder)
    assert (state.index, state.term, state.snapshot_index) == (9, 3, 6)
    check(state.machine)


def test_a_backup_is_read() -> None:
    meta, machine = load_backup(FILES, FIXTURE / "old.backup")
    assert meta.state_hash == machine.state_hash == EXPECTED.state_hash
    check(machine)


def test_people_are_shown_the_old_files(folder: Path) -> None:
    reports = inspect_path(folder)
    assert not [report for report in reports if report.error]
    assert {"snapshot", "segment", "vote", "identity"} == {report.kind for report in reports}


def test_the_next_snapshot_has_the_new_form_and_takes_the_payloads_out_of_memory(
    folder: Path,
) -> None:
    data_dir = DataDir.open(folder, node_id="n1", members=["n1"])
    store = SnapshotStore(FILES, data_dir.snapshot_folder)
    assert FILES.names(data_dir.snapshot_folder) == ["current.snapshot"], "the room is needed"
    machine = replay_folder(FILES, folder).machine
    assert isinstance(machine.payloads, PayloadStore) and machine.payloads.is_of_old_snapshot
    meta = SnapshotMeta(9, 3, 8, 3, b"", b"", machine.state_hash, ["n1"], machine.cluster_id)
    store.write(meta, dump_chunks(machine))
    _, written = store.open_current()
    for _ in written.read_heads():
        pass
    machine.payloads.change_to(written, machine.last_sequence)
    assert not machine.payloads.is_of_old_snapshot
    check(machine)
    machine.payloads.close()
    data_dir.close()
