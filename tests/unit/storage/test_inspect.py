"""What people are shown of a data folder, whole, torn or damaged."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from raftq.storage.data_dir import DataDir
from raftq.storage.files import RealFiles
from raftq.storage.inspect import main
from raftq.storage.journal import Journal
from raftq.storage.segment import HEADER_BYTES, segment_name
from raftq.storage.snapshots import SnapshotMeta, SnapshotStore
from raftq.storage.vote import VoteFile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with two segments, a vote and a snapshot."""
    files = RealFiles()
    data_dir = DataDir.open(tmp_path, node_id="n1", members=["n1", "n2"])
    VoteFile.open(files, data_dir.vote_path).store(4, "n2")
    SnapshotStore(files, data_dir.snapshot_folder).write(
        SnapshotMeta(2, 1, 1, 1, b"secret", b"secret", "beef", ["n1", "n2"], None), [b"ab", b"c"]
    )
    journal = Journal.open(files, data_dir.journal_folder, segment_bytes=200)
    for index, term in ((3, 1), (4, 2), (5, 4)):
        journal.append(index, term, b"secret" * 5)
        _sync(journal)
    journal.truncate_after(4)
    _sync(journal)
    journal.close()
    data_dir.close()
    return tmp_path


def _sync(journal: Journal) -> None:
    while (job := journal.begin_sync()) is not None:
        job.run()
        journal.finish_sync(job)


def _segment(folder: Path, sequence: int) -> Path:
    return folder / "journal" / segment_name(sequence)


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _report(folder: Path, *, code: int = 0) -> list[dict[str, object]]:
    lines: list[str] = []
    assert main([str(folder), "--json"], lines.append) == code
    reports: list[dict[str, object]] = json.loads("\n".join(lines))
    return reports


def _errors(folder: Path) -> dict[object, object]:
    """Return the reports of damage: path to offset."""
    reports = _report(folder, code=1)
    return {r["path"]: r.get("error_offset") for r in reports if "error" in r}


def test_a_whole_data_folder_is_shown_file_by_file(folder: Path) -> None:
    facts = {Path(str(r["path"])).name: r["facts"] for r in _report(folder)}
    empty = {"first_index": 0, "last_index": 0, "first_term": 0, "last_term": 0,
             "entries": 0, "truncations": 0, "resets": 0, "marks": 0, "torn_bytes": 0}  # fmt: skip
    assert facts == {
        "identity": {
            "node_id": "n1", "members": ["n1", "n2"], "cluster_id": None, "addresses": [],
            "is_joining": False, "is_on_probation": False, "votes_after_term": 0,
        },
        "vote": {"term": 4, "voted_for": "n2"},
        segment_name(1): empty
        | {"first_index": 3, "last_index": 4, "first_term": 1, "last_term": 2}
        | {"entries": 2, "marks": 1},
        segment_name(2): empty
        | {"first_index": 5, "last_index": 5, "first_term": 4, "last_term": 4}
        | {"entries": 1, "marks": 2, "truncations": 1},
        "current.snapshot": {
            "last_index": 2, "last_term": 1, "previous_index": 1, "previous_term": 1,
            "state_hash": "beef", "members": ["n1", "n2"], "cluster_id": None,
            "chunks": 2, "chunk_bytes": 3,
        },
    }  # fmt: skip


def test_sizes_are_those_of_the_files(folder: Path) -> None:
    for report in _report(folder):
        assert report["bytes"] == Path(str(report["path"])).stat().st_size


def test_the_text_is_for_people_and_shows_no_payload(folder: Path) -> None:
    lines: list[str] = []
    assert main([str(folder)], lines.append) == 0
    text = "\n".join(lines)
    assert f"{folder}/vote: vote, 40 bytes\n    term 4, voted for n2" in text
    assert "first index 3, last index 4" in text
    assert "members n1/n2, cluster id none" in text
    assert "secret" not in text


def test_inspecting_changes_nothing_and_takes_no_lock(folder: Path) -> None:
    data_dir = DataDir.open(folder, node_id="n1", members=["n1", "n2"])
    _segment(folder, 2).write_bytes(_segment(folder, 2).read_bytes() + b"torn")
    before = _contents(folder)
    _report(folder)
    assert _contents(folder) == before
    data_dir.close()


def test_a_torn_end_is_no_damage(folder: Path) -> None:
    _segment(folder, 2).write_bytes(_segment(folder, 2).read_bytes() + b"torn")
    facts = _report(_segment(folder, 2))[0]["facts"]
    assert isinstance(facts, dict)
    assert facts["torn_bytes"] == 4


def test_damage_is_shown_with_its_offset_and_only_where_it_is(folder: Path) -> None:
    damaged = bytearray(_segment(folder, 1).read_bytes())
    damaged[HEADER_BYTES + 40] ^= 1
    _segment(folder, 1).write_bytes(damaged)
    assert _errors(folder) == {str(_segment(folder, 1)): HEADER_BYTES}
    assert _errors(folder / "journal") == {str(_segment(folder, 1)): HEADER_BYTES}
    assert _errors(_segment(folder, 1)) == {str(_segment(folder, 1)): HEADER_BYTES}
    lines: list[str] = []
    assert main([str(folder)], lines.append) == 1
    assert f"DAMAGED at byte {HEADER_BYTES}" in "\n".join(lines)


def test_segments_behind_a_damaged_one_are_not_blamed(tmp_path: Path) -> None:
    journal = Journal.open(RealFiles(), tmp_path, segment_bytes=1)
    for index in (1, 2, 3):
        journal.append(index, 1, b"command")
        _sync(journal)
    journal.close()
    damaged = tmp_path / segment_name(2)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert _errors(tmp_path) == {str(damaged): HEADER_BYTES}


@pytest.mark.parametrize("name", ["vote", "identity", "snapshots/current.snapshot"])
def test_damage_to_any_other_file_is_shown(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    assert list(_errors(folder)) == [str(folder / name)]


def test_a_missing_segment_is_shown(folder: Path) -> None:
    _segment(folder, 2).rename(_segment(folder, 3))
    assert _errors(folder) == {str(_segment(folder, 2)): 0, str(_segment(folder, 3)): 0}


@pytest.mark.parametrize("name", ["photo.jpg", "missing", "empty"])
def test_a_path_that_is_not_ours_is_named_on_standard_error(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / name)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert name in captured.err


def test_it_runs_as_a_module(folder: Path) -> None:
    command = [sys.executable, "-m", "raftq.storage.inspect", str(folder / "vote"), "--json"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert json.loads(output)[0]["facts"] == {"term": 4, "voted_for": "n2"}
