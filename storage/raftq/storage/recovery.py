"""Reading a journal back after a stop or a crash.

Owns the replay of segments into entries. Does not own writing, except for cutting a torn end.
Invariant: the result holds every entry that was reported durable and not removed since, and
nothing that contradicts it; damage to durable bytes is reported, never skipped.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from raftq.storage.files import Files
from raftq.storage.log_shape import LogShape, SegmentRange
from raftq.storage.record import ENTRY, RESET, TRUNCATE, Record, corrupt
from raftq.storage.segment import SegmentScan, scan_segment, segment_name, segment_sequence


class JournalEntry(NamedTuple):
    """One log entry, in the order of fields that PySyncObj's lists have."""

    command: bytes
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls here
    term: int


@dataclass(slots=True)
class ReplayedLog:
    """The log as its records, read in order, leave it."""

    entries: list[JournalEntry] = field(default_factory=list[JournalEntry])
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
        self.shape.segments.append(SegmentRange(sequence))
        for record in scan.records:
            if not self._apply(record):
                raise corrupt(
                    path,
                    record.offset,
                    f"entry {record.number} is there, {self.shape.next_index} was expected",
                )

    def _apply(self, record: Record) -> bool:
        tag, index = record.tag, record.number
        if tag == ENTRY:
            if self.shape.next_index not in (None, index):
                return False
            self.shape.append(index)
            self.entries.append(JournalEntry(record.body, index, record.term))
        elif tag == TRUNCATE:
            self.shape.truncate_after(index)
            kept = index + 1 - self.entries[0].index if self.entries else 0
            del self.entries[max(kept, 0) :]
        elif tag == RESET:
            self.shape.reset()
            self.entries.clear()
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
        scan = scan_segment(path, files.read(path), is_last=sequence == sequences[-1])
        log.replay(path, sequence, scan)
    return log


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
        scan = scan_segment(path, files.read(path), is_last=is_last)
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
