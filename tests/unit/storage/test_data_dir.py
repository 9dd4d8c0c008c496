"""One process, one node, one cluster per data folder."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.storage.crash_search import Check, search, until_power_cut

from raftq.protocol.errors import CorruptRecord, DataDirLocked, SyncFailed, UnsupportedFormat
from raftq.protocol.versions import DATA_FORMAT_VERSION
from raftq.storage.data_dir import DataDir, filled_folder, locked_folder, new_identity
from raftq.storage.files import RealFiles
from raftq.storage.record import IDENTITY, encode_record
from raftq.testing.memory_files import Keep, MemoryFiles

MEMBERS = ["n1", "n2", "n3"]
_HOLD_LOCK = """
import sys
from pathlib import Path
from raftq.storage.data_dir import DataDir, filled_folder, locked_folder, new_identity
DataDir.open(Path(sys.argv[1]), node_id="n1", members=["n1", "n2", "n3"])
print("locked", flush=True)
sys.stdin.read()
"""


def _open(path: Path, files: MemoryFiles | None = None) -> DataDir:
    return DataDir.open(path, node_id="n1", members=MEMBERS, files=files)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A data folder of node n1."""
    path = tmp_path / "node"
    _open(path).close()
    return path


def test_a_new_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "parent" / "node"
    data_dir = _open(path)
    assert data_dir.journal_folder.is_dir()
    assert data_dir.snapshot_folder.is_dir()
    assert data_dir.vote_path.parent == path
    assert data_dir.cluster_id is None
    assert path.stat().st_mode & 0o777 == 0o700
    assert 0 < data_dir.free_bytes() < 2**60
    data_dir.close()


def test_a_folder_is_opened_again_whatever_the_order_of_its_members(made: Path) -> None:
    DataDir.open(made, node_id="n1", members=MEMBERS[::-1]).close()


def test_the_cluster_is_recorded_once(made: Path) -> None:
    data_dir = _open(made)
    data_dir.record_cluster_id("c1")
    data_dir.record_cluster_id("c1")
    with pytest.raises(UnsupportedFormat, match=r"belongs to cluster c1.*started for cluster c2"):
        data_dir.record_cluster_id("c2")
    data_dir.close()
    reopened = _open(made)
    assert reopened.cluster_id == "c1"
    reopened.close()


def test_the_folder_of_another_node_is_refused_and_stays_unlocked(made: Path) -> None:
    with pytest.raises(
        UnsupportedFormat,
        match=r"belongs to node n1.*started for node n2.*correct the configuration",
    ):
        DataDir.open(made, node_id="n2", members=MEMBERS)
    _open(made).close()


def test_other_members_than_at_the_first_start_are_noticed(made: Path) -> None:
    data_dir = DataDir.open(made, node_id="n1", members=["n1", "n2"])
    data_dir.check_members(MEMBERS[::-1])
    with pytest.raises(
        UnsupportedFormat, match=r"belongs to members n1, n2, n3.*started for members n1, n2"
    ):
        data_dir.check_members(["n1", "n2"])
    data_dir.close()


def test_the_first_members_addresses_are_kept(tmp_path: Path) -> None:
    addresses = {"n2": "b:2", "n1": "a:1"}
    DataDir.open(tmp_path, node_id="n1", members=addresses).close()
    reopened = DataDir.open(tmp_path, node_id="n1", members={"n1": "elsewhere:1"})
    assert reopened.bootstrap == addresses
    reopened.close()


def test_a_joining_node_begins_on_probation_and_stays_a_joining_one(tmp_path: Path) -> None:
    DataDir.open(tmp_path, node_id="n4", members=["n1", "n4"], is_joining=True).close()
    reopened = DataDir.open(tmp_path, node_id="n4", members=["n1", "n4"])
    assert reopened.is_joining and reopened.is_on_probation
    reopened.close()


def test_probation_outlives_restarts_until_it_ends_with_a_term(made: Path) -> None:
    data_dir = _open(made)
    assert not data_dir.is_on_probation and data_dir.votes_after_term == 0
    data_dir.begin_probation()
    data_dir.close()
    reopened = _open(made)
    assert reopened.is_on_probation
    reopened.end_probation(7)
    reopened.close()
    again = _open(made)
    assert not again.is_on_probation and again.votes_after_term == 7
    again.close()


def test_a_folder_in_use_is_refused_and_names_the_process(made: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD_LOCK, str(made)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(DataDirLocked, match=f"in use by process {holder.pid}: stop") as caught:
            _open(made)
        assert caught.value.facts["pid"] == holder.pid
        holder.kill()
    _open(made).close()  # The lock ended with the process.


def test_the_lock_of_this_process_names_it_too(made: Path) -> None:
    data_dir = _open(made)
    with pytest.raises(DataDirLocked) as caught:
        _open(made)
    assert caught.value.facts["pid"] == os.getpid()
    data_dir.close()


@pytest.mark.parametrize("name", ["vote", "photo.jpg", "journal/00000000000000000001.segment"])
def test_a_folder_with_other_contents_and_no_identity_is_refused(made: Path, name: str) -> None:
    (made / "identity").unlink()
    (made / name).write_bytes(b"x")
    with pytest.raises(UnsupportedFormat, match=f"no identity file, but holds '{name}'"):
        _open(made)
    assert not (made / "identity").exists()


def test_a_half_made_folder_is_made_again(made: Path) -> None:
    (made / "identity").rename(made / "identity.new")
    (made / "snapshots").rmdir()
    _open(made).close()
    assert (made / "snapshots").is_dir()


@pytest.mark.parametrize("name", ["journal", "snapshots"])
def test_a_folder_that_lost_a_part_is_refused(made: Path, name: str) -> None:
    (made / name).rmdir()
    with pytest.raises(CorruptRecord, match=f"{name} is damaged.*the folder is missing"):
        _open(made)


def test_the_format_is_checked_before_anything_else(made: Path) -> None:
    record = encode_record(0, IDENTITY, DATA_FORMAT_VERSION + 1, 0, body=b"unknown to us")
    (made / "identity").write_bytes(record)
    with pytest.raises(UnsupportedFormat, match=f"has format {DATA_FORMAT_VERSION + 1}"):
        _open(made)


def test_every_flipped_bit_of_the_identity_is_refused(made: Path) -> None:
    whole = (made / "identity").read_bytes()
    for bit in range(0, 8 * len(whole), 3):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        (made / "identity").write_bytes(damaged)
        with pytest.raises(CorruptRecord, match="identity of the data folder is unreadable"):
            _open(made)


@pytest.mark.parametrize("lie", [None, "write_temporary.sync", "replace_file.sync_folder"])
def test_a_power_cut_at_any_byte_leaves_no_identity_or_a_whole_one(
    tmp_path: Path, lie: str | None
) -> None:
    path = tmp_path / "node"

    def make(disk: MemoryFiles) -> Check:
        recorded: list[str] = []

        def run() -> None:
            data_dir = _open(path, disk)
            try:
                data_dir.record_cluster_id("c1")
                recorded.append("c1")
            finally:
                data_dir.close()

        def check(after: MemoryFiles) -> None:
            data_dir = _open(path, after)
            data_dir.close()
            assert data_dir.cluster_id == "c1" or not recorded

        until_power_cut(run)
        return check

    found = search(make, outcomes=4, lie=lie)
    assert (found is None) == (lie is None), found


def test_an_identity_that_was_read_is_durable(made: Path) -> None:
    content = (made / "identity").read_bytes()
    disk = MemoryFiles()
    file = disk.open_append(made / "identity")  # Named, but the folder was not synced.
    file.write(content)
    file.sync()
    _open(made, disk).close()
    assert disk.crash(Keep.NOTHING).read(made / "identity") == content


def test_a_failed_sync_of_the_identity_stops_the_node(made: Path) -> None:
    disk = MemoryFiles()
    disk.put(made / "identity", (made / "identity").read_bytes())
    data_dir = _open(made, disk)

    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    disk.before_sync = fail
    with pytest.raises(SyncFailed, match="Input/output error"):
        data_dir.record_cluster_id("c1")
    assert data_dir.cluster_id is None
    data_dir.close()


def test_a_filled_folder_is_a_data_folder_only_when_its_content_is_whole(tmp_path: Path) -> None:
    files = RealFiles()
    identity = new_identity("n1", {"n1": "a:1", "n2": "b:2"})
    with pytest.raises(ZeroDivisionError), filled_folder(files, tmp_path, identity):
        (tmp_path / "vote").write_bytes(b"half")
        raise ZeroDivisionError
    with pytest.raises(UnsupportedFormat, match="no data folder"):
        DataDir.open(tmp_path, node_id="n1", members=["n1", "n2"])
    (tmp_path / "vote").unlink()
    with filled_folder(files, tmp_path, identity):
        assert "identity" not in files.names(tmp_path)
    DataDir.open(tmp_path, node_id="n1", members=["n1", "n2"]).close()


def test_nothing_is_filled_into_a_folder_that_is_in_use_or_not_empty(tmp_path: Path) -> None:
    files = RealFiles()
    identity = new_identity("n1", ["n1"])
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "a").touch()
    with (
        pytest.raises(UnsupportedFormat, match="'a'"),
        filled_folder(files, tmp_path / "foreign", identity),
    ):
        raise AssertionError("the body must not run")
    mine = tmp_path / "mine"
    data_dir = DataDir.open(mine, node_id="n1", members=["n1"])
    with pytest.raises(DataDirLocked), filled_folder(files, mine, identity):
        raise AssertionError("the body must not run")
    with pytest.raises(DataDirLocked), locked_folder(mine):
        raise AssertionError("the body must not run")
    data_dir.close()
    with (
        pytest.raises(UnsupportedFormat, match="a data folder already"),
        filled_folder(files, mine, identity),
    ):
        raise AssertionError("the body must not run")
    with locked_folder(mine), pytest.raises(DataDirLocked):
        DataDir.open(mine, node_id="n1", members=["n1"])
