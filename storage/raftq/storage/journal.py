"""The journal: the log's changes on disk, in segments, synced in groups.

Owns the order of writing and syncing, and reading entries back. Does not own the entries between
`append` and the write (the caller keeps them), nor the decision when to sync. Everything but
`SyncJob.run` belongs to the loop's thread. Invariants: records reach the disk in the order of the
calls; what `durable_sequence` counts survives any crash; one `SyncJob` at a time, and a batch is
written only when the one before it is durable.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from raftq.protocol.errors import SyncFailed
from raftq.protocol.limits import MIB
from raftq.storage.entry_reader import EntryReader, JournalEntry
from raftq.storage.files import Files
from raftq.storage.log_shape import SegmentRange
from raftq.storage.record import (
    ENTRY,
    HEAD_BYTES,
    RESET,
    SYNCED,
    TRUNCATE,
    crc32c,
    encode_record,
    pack_fields,
)
from raftq.storage.recovery import recover
from raftq.storage.segment import HEADER_BYTES, new_header, segment_name
from raftq.storage.sync_job import SyncJob, create_segment, sync_failed

__all__ = ["SEGMENT_BYTES", "Journal", "JournalEntry", "SyncJob"]

SEGMENT_BYTES: Final = 8 * MIB
"""A segment that has reached this is followed by a new one; the batch that reached it is whole.
About so much a log holds longer than it must, and recovery has in memory at a time."""


class Journal:
    """An append-only log of entries with cuts at both ends. Open one with `Journal.open`."""

    def __init__(self, files: Files, folder: Path, segment_bytes: int) -> None:
        """Recover; use `open`."""
        log, segment_sequence = recover(files, folder)
        header, seed = new_header(segment_sequence, log.size_bytes)
        self._files = files
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._file = create_segment(files, folder, segment_name(segment_sequence), header)
        self._shape = log.shape
        self._shape.segments.append(SegmentRange(segment_sequence, seed))
        self._reader = EntryReader(files, folder, log.shape)
        self._seed = seed
        self._size_bytes = HEADER_BYTES
        self._covered_bytes = HEADER_BYTES
        self._buffer: list[bytes] = []
        self._buffered_bytes = 0
        self._forgotten: list[str] = []
        self._job: SyncJob | None = None
        self._job_index = 0
        self._failure: SyncFailed | None = None
        self.sequence = 0
        """Changes so far."""
        self.durable_sequence = 0
        """Changes that survive a crash."""
        self.durable_index = self._logical_last_index()
        """The highest index up to which every entry now in the log survives a crash."""
        self.written_index = self.durable_index
        """The highest index whose entry can be read back; the caller keeps those above."""

    @classmethod
    def open(cls, files: Files, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> "Journal":
        """Recover the journal in a folder, cutting off a torn end, and start a new segment.

        Args:
            files: The disk.
            folder: Where the segments are; it exists.
            segment_bytes: When to start a new segment.

        Raises:
            CorruptRecord: Durable bytes are damaged; the node must not start.
            UnsupportedFormat: Another version of raftq wrote a segment.
        """
        return cls(files, folder, segment_bytes)

    @property
    def first_index(self) -> int:
        """Index of the first entry, 0 if there is none."""
        return self._shape.first_index

    @property
    def last_index(self) -> int:
        """Index of the last entry, 0 if there is none."""
        return self._shape.last_index

    @property
    def is_idle(self) -> bool:
        """Whether everything is durable and no job is outstanding."""
        return self._job is None and not self._buffer

    # ------------------------------------------------------------ reading back

    def read(self, index: int) -> JournalEntry:
        """Return an entry up to `written_index`.

        Raises:
            CorruptRecord: It is damaged; the node must stop.
        """
        return self._reader.read(index)

    def entries(self) -> Iterator[JournalEntry]:
        """Yield the written entries, one at a time."""
        if self.first_index:
            for index in range(self.first_index, self.written_index + 1):
                yield self.read(index)

    def indexes_of(self, first_byte: bytes) -> Iterator[int]:
        """Yield the indexes of the written entries whose commands begin with a byte.

        It reads that byte only, unchecked: `open` has just checked all of them.
        """
        if self.first_index:
            for index in range(self.first_index, self.written_index + 1):
                if self._reader.first_byte(index) == first_byte:
                    yield index

    def term_at(self, index: int) -> int:
        """Return the term of an entry."""
        return self._shape.place(index).term

    def bytes_at(self, index: int) -> int:
        """Return the size of an entry's command."""
        return self._shape.place(index).length - HEAD_BYTES

    def open_segments(self) -> list[int]:
        """Open all segments for reading; return the descriptors, which a forked child inherits.

        One that was begun and holds nothing written may not exist before the running job ends.
        """
        return self._reader.open_through(self.written_index)

    # ------------------------------------------------------------ changes

    def append(self, index: int, term: int, command: bytes) -> None:
        """Add an entry; `index` continues the log, or is anything after `reset`."""
        shape = self._shape
        assert shape.next_index is None or index == shape.next_index, (
            f"entry {index} does not continue the log, {shape.next_index} would"
        )
        seed = self._seed
        length_bytes = HEAD_BYTES + len(command)
        fields = pack_fields(
            ENTRY, length_bytes, index, term, self._covered_bytes, crc32c(seed, command)
        )
        # Not joined here: a large command is copied once, into the batch that is written.
        self._buffer += (fields, crc32c(seed, fields).to_bytes(4, "little"), command)
        shape.append(index, term, self._size_bytes + self._buffered_bytes, length_bytes)
        self._buffered_bytes += length_bytes
        self.sequence += 1

    def truncate_after(self, index: int) -> None:
        """Remove the entries above an index, as a record: their bytes stay for now.

        Never call it for an index at or below one that was dropped: those are committed.
        """
        if self._shape.next_index is None or index + 1 >= self._shape.next_index:
            return
        self._add(TRUNCATE, index)
        self._shape.truncate_after(index)
        self.durable_index = min(self.durable_index, index)
        self._job_index = min(self._job_index, index)
        self.written_index = min(self.written_index, index)

    def reset(self) -> None:
        """Remove all entries; call only after the snapshot that replaces them is durable."""
        self._add(RESET, 0)
        self._shape.reset()
        self.durable_index = self._job_index = self.written_index = 0
        self._forget_through(0)

    def drop_through(self, index: int) -> None:
        """Forget whole segments, oldest first, that hold no entry above an index.

        Call only after the snapshot that covers them is durable. The files go one with each of
        the next syncs, off the loop's thread; after a crash some may still be there.
        """
        self._forget_through(index)

    def _forget_through(self, index: int) -> None:
        for sequence in self._shape.forget_through(index):
            self._reader.forget(sequence)
            self._forgotten.append(segment_name(sequence))

    def _add(self, tag: bytes, index: int) -> None:
        self._buffer.append(encode_record(self._seed, tag, index, 0, self._covered_bytes))
        self._buffered_bytes += HEAD_BYTES
        self.sequence += 1

    # ------------------------------------------------------------ durability

    def begin_sync(self) -> SyncJob | None:
        """Write what is buffered to the page cache and return the job that makes it durable.

        Returns:
            None if there is nothing to do, or a job is outstanding.

        Raises:
            SyncFailed: This write failed, or an earlier write or sync did.
        """
        if self._job is not None and self._job.failure is not None:
            raise self._job.failure
        if self._failure is not None:
            raise self._failure
        if self._job is not None or not (self._buffer or self._forgotten):
            return None
        batch = b"".join(self._buffer)
        self._buffer.clear()
        self._buffered_bytes = 0
        self._write(batch)
        self._covered_bytes = self._size_bytes
        self._job_index = self.written_index = self._logical_last_index()
        is_full = bool(batch) and self._size_bytes >= self._segment_bytes
        self._job = SyncJob(
            self._files,
            self._folder,
            self._file,
            sequence=self.sequence,
            wrote_bytes=len(batch),
            next_segment=self._rotate() if is_full else None,
            forgotten=self._forgotten.pop(0) if self._forgotten else None,
        )
        return self._job

    def finish_sync(self, job: SyncJob) -> None:
        """Count a job's changes as durable; call it after `job.run()` returned.

        Raises:
            SyncFailed: A write failed.
        """
        assert job is self._job and job.is_done, "finish the job that begin_sync returned, once"
        self._job = None
        self.durable_sequence = job.sequence
        self.durable_index = self._job_index
        if job.next_file is not None:
            self._file.close()
            self._file = job.next_file
        elif job.wrote_bytes and not self._buffer:
            # While idle no later record would prove that this batch had been durable, so damage
            # to it would look like a torn end. This record does; it needs no sync of its own.
            self._write(encode_record(self._seed, SYNCED, 0, 0, self._covered_bytes))

    def close(self) -> None:
        """Release the files. What is not durable by now may be lost."""
        self._file.close()
        self._reader.close()

    def _write(self, batch: bytes) -> None:
        try:
            self._file.write(batch)
        except OSError as error:
            self._failure = sync_failed(self._folder, error)
            raise self._failure from error
        self._size_bytes += len(batch)

    def _rotate(self) -> tuple[str, bytes]:
        """Direct later changes to a new segment, which the job creates before they are written."""
        sequence = self._shape.segments[-1].sequence + 1
        header, self._seed = new_header(sequence, self._size_bytes)
        self._shape.segments.append(SegmentRange(sequence, self._seed))
        self._size_bytes = self._covered_bytes = HEADER_BYTES
        return segment_name(sequence), header

    def _logical_last_index(self) -> int:
        """Return the index before the next one, also when the entry itself was dropped."""
        return (self._shape.next_index or 1) - 1
