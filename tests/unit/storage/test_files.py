"""The real disk keeps the contract that the one in memory models."""

import errno
import os
import threading
from pathlib import Path
from queue import SimpleQueue

import pytest
from tests.support.snapshots import load_all

from raftq.protocol.errors import SyncFailed
from raftq.protocol.limits import MIB
from raftq.storage.files import (
    Files,
    RealFiles,
    WritableFile,
    read_file,
    replace_file,
    write_temporary,
)
from raftq.storage.journal import Journal
from raftq.storage.snapshots import SnapshotMeta, SnapshotStore
from raftq.storage.vote import VoteFile
from raftq.testing.memory_files import MemoryFiles


@pytest.fixture(params=[RealFiles, MemoryFiles])
def files(request: pytest.FixtureRequest) -> Files:
    """Both implementations of the seam."""
    made: Files = request.param()
    return made


def test_writes_append_and_reads_take_a_part(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for part in (b"one", bytearray(b"two"), memoryview(b"three")):
        file = files.open_append(path)
        file.write(part)
        file.sync()
        file.close()
    assert read_file(files, path) == b"onetwothree"
    opened = files.open_read(path)
    assert opened.read_at(3, 3) == b"two"
    assert opened.read_at(6, 99) == b"three"
    assert opened.read_at(99, 1) == b""
    files.rename(path, path.with_name("other"))
    files.remove(path.with_name("other"))
    assert opened.read_at(0, 3) == b"one", "what is open stays readable"
    opened.close()


def test_a_file_without_a_name_is_freed_beside_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: SimpleQueue[tuple[int, int]] = SimpleQueue()
    close = os.close

    def watched(descriptor: int) -> None:
        close(descriptor)
        closed.put((descriptor, threading.get_ident()))

    files = RealFiles()
    for name in ("replaced", "kept"):
        replace_file(files, tmp_path / name, b"1")
    replaced, kept = files.open_read(tmp_path / "replaced"), files.open_read(tmp_path / "kept")
    replace_file(files, tmp_path / "replaced", b"2")
    monkeypatch.setattr("raftq.storage.files.os.close", watched)
    here = threading.get_ident()
    kept.close()
    assert closed.get_nowait() == (kept.descriptor, here), "nothing is freed by it"
    replaced.close()
    descriptor, thread = closed.get(timeout=30)
    assert descriptor == replaced.descriptor
    assert thread != here, "freeing its bytes takes long, and the event loop would wait"


def test_a_long_file_is_synced_on_its_way(tmp_path: Path) -> None:
    class Counting:
        def __init__(self, file: WritableFile) -> None:
            self._file = file
            self.unsynced = self.unsynced_max = self.written = 0

        def write(self, data: bytes | bytearray | memoryview) -> None:
            self._file.write(data)
            self.written += len(data)
            self.unsynced += len(data)
            self.unsynced_max = max(self.unsynced, self.unsynced_max)

        def sync(self) -> None:
            self._file.sync()
            self.unsynced = 0

        def close(self) -> None:
            self._file.close()

    class Watched(RealFiles):
        file: Counting

        def open_append(self, path: Path) -> WritableFile:
            self.file = Counting(super().open_append(path))
            return self.file

    files = Watched()
    part = bytes(MIB)
    write_temporary(files, tmp_path / "file", (part for _ in range(20)))
    assert files.file.written == 20 * MIB
    assert files.file.unsynced == 0
    assert files.file.unsynced_max <= 8 * MIB, "others' syncs would wait until the disk has it all"


def test_names_are_sorted_and_follow_renames_and_removals(files: Files, tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        files.open_append(tmp_path / name).close()
    files.rename(tmp_path / "c", tmp_path / "a")
    files.sync_folder(tmp_path)
    assert files.names(tmp_path) == ["a", "b"]
    files.remove(tmp_path / "b")
    assert files.names(tmp_path) == ["a"]


def test_a_truncated_file_is_appended_to_at_its_new_end(files: Files, tmp_path: Path) -> None:
    replace_file(files, tmp_path / "file", b"12345")
    files.truncate(tmp_path / "file", 2)
    file = files.open_append(tmp_path / "file")
    file.write(b"x")
    file.close()
    assert read_file(files, tmp_path / "file") == b"12x"


def test_a_missing_file_is_an_os_error(files: Files, tmp_path: Path) -> None:
    for operation in (files.open_read, files.remove):
        with pytest.raises(FileNotFoundError):
            operation(tmp_path / "missing")


def test_a_replaced_file_never_mixes_with_a_leftover(files: Files, tmp_path: Path) -> None:
    leftover = files.open_append(tmp_path / "file.new")
    leftover.write(b"leftover")
    leftover.close()
    replace_file(files, tmp_path / "file", b"content")
    assert read_file(files, tmp_path / "file") == b"content"
    assert files.names(tmp_path) == ["file"]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def write_three_bytes(descriptor: int, data: bytes | memoryview) -> int:
        return write(descriptor, bytes(data)[:3])

    monkeypatch.setattr(os, "write", write_three_bytes)
    file = RealFiles().open_append(tmp_path / "file")
    file.write(b"0123456789")
    file.close()
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    RealFiles().open_append(tmp_path / "file").close()
    assert (tmp_path / "file").stat().st_mode & 0o077 == 0


def test_the_whole_of_storage_works_on_the_real_disk(tmp_path: Path) -> None:
    files = RealFiles()
    meta = SnapshotMeta(1, 1, 0, 0, b"", b"", "hash", ["n1"], None)
    for round_number in range(3):
        journal = Journal.open(files, tmp_path, segment_bytes=100)
        last = round_number * 10
        assert [entry.index for entry in list(journal.entries())] == list(range(1, last + 1))
        for index in range(last + 1, last + 11):
            journal.append(index, 1, b"command")
            job = journal.begin_sync()
            assert job is not None
            job.run()
            journal.finish_sync(job)
        assert journal.durable_index == last + 10
        journal.close()
        vote = VoteFile.open(files, tmp_path / "vote")
        assert vote.term == round_number
        vote.store(round_number + 1, "n1")
        store = SnapshotStore(files, tmp_path)
        store.write(meta, [b"chunk"] * round_number)
        assert load_all(store) == (meta, [b"chunk"] * round_number)


def test_a_disk_that_refuses_a_sync_stops_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.open(RealFiles(), tmp_path)
    journal.append(1, 1, b"command")
    job = journal.begin_sync()
    assert job is not None

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", refuse)
    with pytest.raises(SyncFailed, match="check the disk"):
        job.run()
    journal.close()
