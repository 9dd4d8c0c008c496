"""What the journal promises while nothing crashes, and when the disk fails."""

import errno
import threading
from pathlib import Path

import pytest

from raftq.protocol.errors import CorruptRecord, StorageError, SyncFailed, UnsupportedFormat
from raftq.protocol.versions import DATA_FORMAT_VERSION
from raftq.storage.files import Files, ReadableFile
from raftq.storage.journal import Journal, JournalEntry
from raftq.storage.record import FILE_HEADER, HEAD_BYTES, encode_record
from raftq.storage.segment import segment_name
from raftq.testing.memory_files import Keep, MemoryFiles

FOLDER = Path("/data/journal")


def _open(disk: Files, segment_bytes: int = 200) -> Journal:
    return Journal.open(disk, FOLDER, segment_bytes=segment_bytes)


def _sync(journal: Journal) -> None:
    while (job := journal.begin_sync()) is not None:
        job.run()
        journal.finish_sync(job)


def _append(journal: Journal, *indices: int) -> None:
    for index in indices:
        journal.append(index, 1, b"command %d" % index)


def _indices(journal: Journal) -> list[int]:
    return [entry.index for entry in list(journal.entries())]


def test_recovered_entries_have_the_order_of_fields_that_pysyncobj_indexes() -> None:
    disk = MemoryFiles()
    journal = _open(disk)
    journal.append(7, 3, b"x")
    _sync(journal)
    assert list(_open(disk).entries()) == [JournalEntry(b"x", 7, 3)] == [(b"x", 7, 3)]


def test_an_entry_can_be_read_as_soon_as_it_is_written() -> None:
    journal = _open(MemoryFiles())
    _append(journal, 1, 2)
    assert journal.written_index == 0
    job = journal.begin_sync()
    assert job is not None
    assert journal.read(2) == (b"command 2", 2, 1)
    _append(journal, 3)
    assert (journal.written_index, journal.last_index) == (2, 3)


def test_an_entry_that_was_damaged_since_it_was_written_is_not_returned() -> None:
    disk = MemoryFiles()
    journal = _open(disk)
    _append(journal, 1, 2)
    _sync(journal)
    segment = FOLDER / segment_name(1)
    place = disk.read(segment).index(b"command 2")
    disk.flip_bit(segment, 8 * place)
    assert journal.read(1).command == b"command 1"
    with pytest.raises(CorruptRecord, match="entry 2 is unreadable") as raised:
        journal.read(2)
    assert raised.value.facts["offset"] == place - HEAD_BYTES


def test_a_child_is_given_no_segment_that_is_still_being_made() -> None:
    disk = MemoryFiles()
    journal = _open(disk, segment_bytes=1)
    _append(journal, 1)
    _sync(journal)
    _append(journal, 2)
    job = journal.begin_sync()
    assert job is not None
    _append(journal, 3)
    assert len(journal.open_segments()) == 2, "3 will be in a segment that the job creates"
    job.run()
    journal.finish_sync(job)
    _sync(journal)
    assert len(journal.open_segments()) == 3


def test_a_segment_that_was_dropped_can_be_read_by_who_has_it_open() -> None:
    disk = MemoryFiles()
    journal = _open(disk, segment_bytes=1)
    for index in (1, 2, 3):
        _append(journal, index)
        _sync(journal)
    path = FOLDER / segment_name(1)
    held, content = disk.open_read(path), disk.read(path)
    journal.drop_through(2)
    _sync(journal)
    assert path.name not in disk.names(FOLDER)
    assert held.read_at(0, 1_000) == content
    assert journal.read(3).command == b"command 3"


def test_too_many_open_files_are_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryFiles()
    journal = _open(disk)
    _append(journal, 1)
    _sync(journal)

    def refuse(_: Path) -> ReadableFile:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(disk, "open_read", refuse)
    with pytest.raises(StorageError, match="limit of open files") as raised:
        journal.read(1)
    assert not isinstance(raised.value, CorruptRecord)


def test_entries_are_found_by_their_first_byte() -> None:
    disk = MemoryFiles()
    journal = _open(disk)
    for index, command in enumerate((b"a1", b"", b"b", b"a"), 1):
        journal.append(index, 1, command)
    _sync(journal)
    assert list(_open(disk).indexes_of(b"a")) == [1, 4]


def test_a_restarted_journal_reads_entries_of_all_its_segments() -> None:
    disk = MemoryFiles()
    journal = _open(disk, segment_bytes=1)
    for index in (1, 2, 3):
        _append(journal, index)
        _sync(journal)
    journal.truncate_after(2)
    journal.append(3, 2, b"other")
    _sync(journal)
    journal = _open(disk)
    assert [journal.read(index)[0] for index in (3, 1, 2)] == [b"other", b"command 1", b"command 2"]
    assert (journal.term_at(3), journal.bytes_at(3)) == (2, 5)


def test_an_empty_journal_has_no_entries_and_nothing_to_sync() -> None:
    journal = _open(MemoryFiles())
    assert (journal.first_index, journal.last_index, journal.durable_index) == (0, 0, 0)
    assert journal.begin_sync() is None


def test_nothing_counts_as_durable_before_its_job_is_finished() -> None:
    journal = _open(MemoryFiles())
    _append(journal, 1, 2)
    job = journal.begin_sync()
    assert job is not None
    _append(journal, 3)
    job.run()
    assert (journal.durable_index, journal.durable_sequence) == (0, 0)
    journal.finish_sync(job)
    assert (journal.durable_index, journal.durable_sequence, journal.sequence) == (2, 2, 3)


def test_only_one_job_is_outstanding_at_a_time() -> None:
    journal = _open(MemoryFiles())
    _append(journal, 1)
    assert journal.begin_sync() is not None
    _append(journal, 2)
    assert journal.begin_sync() is None


def test_a_job_that_did_not_run_cannot_be_finished() -> None:
    journal = _open(MemoryFiles())
    _append(journal, 1)
    job = journal.begin_sync()
    assert job is not None
    with pytest.raises(AssertionError, match="finish the job"):
        journal.finish_sync(job)


def test_an_entry_that_leaves_a_hole_is_refused() -> None:
    journal = _open(MemoryFiles())
    _append(journal, 5)
    with pytest.raises(AssertionError, match="entry 7 does not continue the log, 6 would"):
        _append(journal, 7)


def test_truncation_during_a_sync_lowers_what_the_job_makes_durable() -> None:
    journal = _open(MemoryFiles())
    _append(journal, 1, 2, 3)
    job = journal.begin_sync()
    assert job is not None
    journal.truncate_after(1)
    _append(journal, 2)
    job.run()
    journal.finish_sync(job)
    assert journal.durable_index == 1
    assert journal.last_index == 2


def test_truncation_of_durable_entries_lowers_the_durable_index_at_once() -> None:
    journal = _open(MemoryFiles())
    _append(journal, 1, 2, 3)
    _sync(journal)
    journal.truncate_after(1)
    _append(journal, 2)
    assert journal.durable_index == 1
    _sync(journal)
    assert journal.durable_index == 2


def test_a_busy_journal_writes_no_marks() -> None:
    disk = MemoryFiles()
    journal = _open(disk)
    before = disk.used_bytes()
    job = None
    for index in (1, 2, 3):
        _append(journal, index)
        if job is not None:
            job.run()
            journal.finish_sync(job)
        job = journal.begin_sync()
    assert disk.used_bytes() - before == 3 * (HEAD_BYTES + len(b"command 1"))


def test_truncation_behind_the_end_changes_nothing() -> None:
    journal = _open(MemoryFiles())
    journal.truncate_after(4)
    _append(journal, 1, 2)
    journal.truncate_after(2)
    assert (journal.sequence, journal.last_index) == (2, 2)


def test_reset_empties_the_log_and_any_index_may_follow() -> None:
    disk = MemoryFiles()
    journal = _open(disk)
    _append(journal, 1, 2)
    _sync(journal)
    journal.reset()
    assert (journal.last_index, journal.durable_index) == (0, 0)
    _append(journal, 90)
    _sync(journal)
    assert journal.durable_index == 90
    assert _indices(_open(disk)) == [90]


def test_reset_frees_the_segments_before_it() -> None:
    disk = MemoryFiles()
    journal = _open(disk, segment_bytes=1)
    for index in (1, 2):
        _append(journal, index)
        _sync(journal)
    journal.reset()
    _append(journal, 9)
    _sync(journal)
    assert disk.names(FOLDER) == [segment_name(3), segment_name(4)]


def test_dropping_removes_only_segments_without_a_later_entry() -> None:
    disk = MemoryFiles()
    journal = _open(disk, segment_bytes=1)  # Every sync fills a segment.
    for index in range(1, 5):
        _append(journal, index)
        _sync(journal)
    journal.drop_through(2)
    _sync(journal)
    assert journal.first_index == 3
    assert disk.names(FOLDER) == [segment_name(n) for n in (3, 4, 5)]
    assert _indices(_open(disk)) == [3, 4]


def test_dropped_segments_are_removed_one_with_each_sync_and_off_the_loop() -> None:
    disk = MemoryFiles()
    journal = _open(disk, segment_bytes=1)
    for index in range(1, 4):
        _append(journal, index)
        _sync(journal)
    journal.drop_through(2)
    job = journal.begin_sync()
    assert job is not None
    assert segment_name(1) in disk.names(FOLDER)
    job.run()
    journal.finish_sync(job)
    assert disk.names(FOLDER)[0] == segment_name(2)
    _sync(journal)
    assert disk.names(FOLDER)[0] == segment_name(3)


def test_the_journal_goes_on_after_every_entry_was_dropped() -> None:
    disk = MemoryFiles()
    journal = _open(disk, segment_bytes=1)
    _append(journal, 1)
    _sync(journal)
    journal.drop_through(1)
    _sync(journal)
    assert (journal.first_index, journal.last_index, journal.durable_index) == (0, 0, 1)
    _append(journal, 2)
    _sync(journal)
    assert _indices(_open(disk)) == [2]


def test_a_batch_is_one_write_however_many_records_it_has() -> None:
    disk = MemoryFiles()
    journal = _open(disk, segment_bytes=1)
    before = disk.names(FOLDER)
    _append(journal, *range(1, 100))
    _sync(journal)
    assert len(disk.names(FOLDER)) == len(before) + 1


def test_the_loop_appends_and_truncates_while_a_sync_blocks() -> None:
    disk = MemoryFiles()
    journal = _open(disk, segment_bytes=1)
    reached, released = threading.Event(), threading.Event()

    def block(_: Path) -> None:
        reached.set()
        assert released.wait(10)

    _append(journal, 1, 2, 3)
    job = journal.begin_sync()
    assert job is not None
    disk.before_sync = block
    thread = threading.Thread(target=job.run)
    thread.start()
    assert reached.wait(10)
    journal.truncate_after(2)
    _append(journal, 3, 4)
    journal.drop_through(1)
    released.set()
    thread.join(10)
    journal.finish_sync(job)
    _sync(journal)
    assert [(e.index, e.command) for e in list(_open(disk).entries())] == [
        (index, b"command %d" % index) for index in (1, 2, 3, 4)
    ]


def test_a_failed_sync_is_never_retried_and_its_changes_never_count() -> None:
    disk = MemoryFiles()
    journal = _open(disk)
    _append(journal, 1)
    _sync(journal)
    _append(journal, 2)
    job = journal.begin_sync()
    assert job is not None

    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    disk.before_sync = fail
    with pytest.raises(SyncFailed, match="Input/output error") as caught:
        job.run()
    assert caught.value.facts["errno"] == errno.EIO
    disk.before_sync = lambda _: None
    with pytest.raises(SyncFailed):
        journal.begin_sync()
    with pytest.raises(AssertionError):
        journal.finish_sync(job)
    assert journal.durable_index == 1
    assert _indices(_open(disk.crash(Keep.EVERYTHING))) == [1]


def test_a_full_disk_stops_the_journal_and_loses_nothing_durable() -> None:
    disk = MemoryFiles()
    journal = _open(disk)
    _append(journal, 1)
    _sync(journal)
    disk.capacity_bytes = disk.used_bytes() + 20
    _append(journal, 2)
    for _ in range(2):
        with pytest.raises(SyncFailed, match="No space left"):
            journal.begin_sync()
    assert _indices(_open(disk.crash(Keep.EVERYTHING))) == [1]


def test_a_disk_that_fills_up_behind_a_finished_sync_stops_the_journal() -> None:
    disk = MemoryFiles()
    journal = _open(disk)
    _append(journal, 1)
    job = journal.begin_sync()
    assert job is not None
    job.run()
    disk.capacity_bytes = disk.used_bytes()
    with pytest.raises(SyncFailed, match="No space left"):
        journal.finish_sync(job)


def test_a_restart_without_changes_leaves_no_further_segment() -> None:
    disk = MemoryFiles()
    for _ in range(3):
        _open(disk).close()
    assert disk.names(FOLDER) == [segment_name(1)]


def test_files_that_are_no_segments_are_left_alone() -> None:
    disk = MemoryFiles()
    disk.put(FOLDER / "1.segment", b"x")
    assert _indices(_open(disk)) == []
    assert disk.read(FOLDER / "1.segment") == b"x"


def test_a_segment_of_another_version_is_refused_by_name() -> None:
    disk = MemoryFiles()
    newer = encode_record(0, FILE_HEADER, 1, DATA_FORMAT_VERSION + 1)
    disk.put(FOLDER / segment_name(1), newer)
    with pytest.raises(UnsupportedFormat, match="start the version of raftq that wrote it"):
        _open(disk)


def test_a_renamed_segment_is_refused() -> None:
    disk = MemoryFiles()
    journal = _open(disk)
    _append(journal, 1)
    _sync(journal)
    disk.rename(FOLDER / segment_name(1), FOLDER / segment_name(4))
    with pytest.raises(CorruptRecord, match="it is segment 1 under another name"):
        _open(disk)


def test_a_missing_segment_is_refused_and_named() -> None:
    disk = MemoryFiles()
    journal = _open(disk, segment_bytes=1)
    for index in range(1, 4):
        _append(journal, index)
        _sync(journal)
    disk.remove(FOLDER / segment_name(2))
    with pytest.raises(CorruptRecord, match="missing") as caught:
        _open(disk)
    assert caught.value.facts["path"] == str(FOLDER / segment_name(2))
