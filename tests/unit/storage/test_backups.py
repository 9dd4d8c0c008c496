"""Backup files: what was written is read, and anything else is found."""

from pathlib import Path

import pytest

from raftq.protocol.errors import CorruptRecord, UnsupportedFormat
from raftq.protocol.versions import BACKUP_FORMAT_VERSION
from raftq.storage.backups import BackupMeta, encode_backup, is_backup, read_backup, write_backup
from raftq.storage.files import ReadableFile, RealFiles
from raftq.storage.inspect import inspect_path
from raftq.storage.record import BACKUP_HEADER, encode_record
from raftq.storage.snapshots import SnapshotMeta, SnapshotStore

META = BackupMeta(7, 3, "beef", "cafe", "n1", 1_700_000_000_000, "0.1.0")
CHUNKS = [b"first", b"", b"third and last"]
FILES = RealFiles()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.backup"
    write_backup(FILES, path, META, CHUNKS)
    return path


def read_all(path: Path) -> tuple[BackupMeta, list[bytes]]:
    opened = read_backup(FILES, path)
    try:
        return opened.meta, list(opened.chunks)
    finally:
        opened.keyed.close()


def test_what_was_written_is_read(path: Path) -> None:
    assert read_all(path) == (META, CHUNKS)
    assert path.read_bytes() == b"".join(encode_backup(META, CHUNKS))
    assert is_backup(FILES, path)
    assert [each.name for each in path.parent.iterdir()] == [path.name], "nothing else is left"


def test_a_backup_of_nothing_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "empty.backup"
    write_backup(FILES, path, META, [])
    assert read_all(path) == (META, [])


def test_every_flipped_bit_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(CorruptRecord) as caught:
            read_all(path)
        assert caught.value.facts["path"] == str(path)
        assert "use another backup" in caught.value.message


def test_every_truncation_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(CorruptRecord):
            read_all(path)


def test_anything_behind_the_end_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for surplus in (b"\0", whole[-36:], whole):
        path.write_bytes(whole + surplus)
        with pytest.raises(CorruptRecord, match="does not end where it should"):
            read_all(path)


def test_a_newer_format_is_refused_by_name(path: Path) -> None:
    path.write_bytes(encode_record(0, BACKUP_HEADER, 0, BACKUP_FORMAT_VERSION + 1))
    with pytest.raises(UnsupportedFormat, match="start the version of raftq that wrote it"):
        read_all(path)


def test_a_snapshot_is_no_backup(tmp_path: Path) -> None:
    store = SnapshotStore(FILES, tmp_path)
    store.write(SnapshotMeta(2, 1, 1, 1, b"", b"", "beef", ["n1"], "cafe"), CHUNKS)
    assert not is_backup(FILES, store.current)
    with pytest.raises(CorruptRecord, match="this is no backup"):
        read_all(store.current)


def test_a_backup_that_reads_back_wrong_takes_no_name(tmp_path: Path) -> None:
    class Forgetful(RealFiles):
        """A disk that loses the end of what it was given."""

        def open_read(self, path: Path) -> ReadableFile:
            path.write_bytes(path.read_bytes()[:-1])
            return super().open_read(path)

    with pytest.raises(CorruptRecord):
        write_backup(Forgetful(), tmp_path / "a.backup", META, CHUNKS)
    assert not (tmp_path / "a.backup").exists()


def test_people_are_shown_what_a_backup_says_of_itself_whatever_its_name(path: Path) -> None:
    renamed = path.rename(path.with_name("monday"))
    (report,) = inspect_path(renamed)
    assert (report.kind, report.bytes, report.error) == ("backup", renamed.stat().st_size, "")
    assert report.facts["index"] == 7 and report.facts["state_hash"] == "beef"
    assert report.facts["chunks"] == len(CHUNKS)
    renamed.write_bytes(renamed.read_bytes()[:-1])
    (report,) = inspect_path(renamed)
    assert report.error and report.error_offset is not None
