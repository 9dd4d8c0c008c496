"""Finding out after a stop or a crash which entries a journal holds, and where.

Owns the replay of segments. Does not own writing, except for cutting a torn end, nor the entries,
which stay on the disk: a log may be larger than the memory.
Invariant: the result holds every entry that was reported durable and not removed since, and
nothing that contradicts it; damage to durable bytes is reported, never skipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from raftq.storage.entry_reader import EntryReader, JournalEntry
from raftq.storage.files import Files, read_file
from raftq.storage.log_shape import LogShape, SegmentRange
from raftq.storage.record import ENTRY, RESET, TRUNCATE, corrupt
from raftq.storage.segment import (
    ScannedRecord,
    SegmentScan,
    scan_segment,
    segment_name,
    segment_sequence,
)


@dataclass(slots=True)
class ReplayedLog:
    """The log as its records, read in order, leave it."""

    shape: LogShape = field(default_factory=LogShape)
    path: Path | None = None
    """The newest segment that was replayed."""
    size_bytes: int = 0
    """Its size without a torn end."""

    def check_follows(self, scan: SegmentScan) -> None:
        """Check that the segment before the scanned one is as long as it was.

        Raises:
            CorruptRecord: It is not; records were lost.
        """
        if self.path is not None and scan.valid_bytes and scan.previous_bytes != self.size_bytes:
            raise corrupt(
                self.path, self.size_bytes, f"the segment had {scan.previous_bytes} bytes"
            )

    def replay(self, path: Path, sequence: int, scan: SegmentScan) -> None:
        """Apply the records of the next segment.

        Raises:
            CorruptRecord: It does not continue the log.
        """
        self.check_follows(scan)
        self.path, self.size_bytes = path, scan.valid_bytes
        self.shape.segments.append(SegmentRange(sequence, scan.seed))
        for record in scan.records:
            if not self._apply(record):
                raise corrupt(
                    path,
                    record.offset,
                    f"entry {record.number} is there, {self.shape.next_index} was expected",
                )

    def _apply(self, record: ScannedRecord) -> bool:
        tag, index = record.tag, record.number
        if tag == ENTRY:
            if self.shape.next_index not in (None, index):
                return False
            self.shape.append(index, record.term, record.offset, record.end - record.offset)
        elif tag == TRUNCATE:
            self.shape.truncate_after(index)
        elif tag == RESET:
            self.shape.reset()
        return True


def segment_sequences(files: Files, folder: Path) -> list[int]:
    """Return the numbers of the segments in a folder, in order.

    Raises:
        CorruptRecord: One between the first and the last is missing.
    """
    found = [n for name in files.names(folder) if (n := segment_sequence(name)) is not None]
    for previous, sequence in pairwise(found):
        if sequence != previous + 1:
            missing = folder / segment_name(previous + 1)
            raise corrupt(missing, 0, "the segment is missing, though later ones exist")
    return found


def read_log(files: Files, folder: Path) -> ReplayedLog:
    """Replay all segments of a stopped node, without its torn end, and change nothing.

    Raises:
        CorruptRecord: Durable bytes are damaged.
        UnsupportedFormat: Another version of raftq wrote a segment.
    """
    log = ReplayedLog()
    sequences = segment_sequences(files, folder)
    for sequence in sequences:
        path = folder / segment_name(sequence)
        scan = scan_segment(path, read_file(files, path), is_last=sequence == sequences[-1])
        log.replay(path, sequence, scan)
    return log


def read_entries(files: Files, folder: Path, log: ReplayedLog) -> Iterator[JournalEntry]:
    """Yield the entries of a log, one at a time; its segments must stay where they are.

    Raises:
        CorruptRecord: An entry is damaged.
    """
    shape = log.shape
    reader = EntryReader(files, folder, shape)
    try:
        for index in range(shape.first_index, shape.last_index + 1 if shape.last_index else 0):
            yield reader.read(index)
    finally:
        reader.close()


def recover(files: Files, folder: Path) -> tuple[ReplayedLog, int]:
    """Replay all segments, make the result durable, and return it with the next segment's number.

    A last segment without records is removed: its header may be torn, and a new one is made.

    Raises:
        CorruptRecord: Durable bytes are damaged.
        UnsupportedFormat: Another version of raftq wrote a segment.
    """
    log = ReplayedLog()
    sequences = segment_sequences(files, folder)
    for sequence in sequences:
        path = folder / segment_name(sequence)
        is_last = sequence == sequences[-1]
        scan = scan_segment(path, read_file(files, path), is_last=is_last)
        if is_last and not scan.records:
            log.check_follows(scan)
            files.remove(path)
            return log, sequence
        log.replay(path, sequence, scan)
        if is_last:
            # Also without a torn end: after a kill the bytes may be in the page cache only, and
            # the next segment's existence must prove that these are durable.
            files.truncate(path, scan.valid_bytes)
    return log, sequences[-1] + 1 if sequences else 1
