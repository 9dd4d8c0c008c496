"""One segment file of the journal: its name, its header, and reading it back.

Owns the judgement whether a segment is whole, torn or damaged. Does not own the order of entries
(`log_shape`). Invariants: a segment's header is durable before its first record is written, and
the next segment is created only after this one is durable to its end. So a bad place in any
segment but the last is damage, and in the last it is damage if a later record says that the place
had been durable; otherwise it is the torn end of a write that nobody was promised.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from raftq.protocol.versions import DATA_FORMAT_VERSION
from raftq.storage.record import (
    ENTRY,
    FILE_HEADER,
    HEAD_BYTES,
    RESET,
    SYNCED,
    TRUNCATE,
    Record,
    check_format,
    checksum_of,
    corrupt,
    encode_record,
    read_record,
    was_synced,
)

SALT_BYTES: Final = 16
HEADER_BYTES: Final = HEAD_BYTES + SALT_BYTES
_RECORD_TAGS: Final = frozenset({ENTRY, TRUNCATE, RESET, SYNCED})
_NAME: Final = re.compile(r"(\d{20})\.segment")


class ScannedRecord(NamedTuple):
    """A record of a segment whose checksums were right, without its body."""

    tag: bytes
    number: int
    term: int
    offset: int
    end: int


@dataclass(frozen=True, slots=True)
class SegmentScan:
    """What is in a segment."""

    seed: int
    """Of its records."""
    records: list[ScannedRecord]
    valid_bytes: int
    """Bytes up to the torn end; 0 if the header itself is torn (nothing was ever promised)."""
    torn_bytes: int
    """Bytes after that."""
    previous_bytes: int
    """Size of the segment before it, as its header has it; unknown if the header is torn."""


def segment_name(sequence: int) -> str:
    """Return the file name of a segment."""
    return f"{sequence:020d}.segment"


def segment_sequence(name: str) -> int | None:
    """Return the sequence number of a segment's file name, or None for another file."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def new_header(sequence: int, previous_bytes: int) -> tuple[bytes, int]:
    """Return the header of a new segment and the seed of its records.

    It tells the size of the segment before it, which would otherwise seem whole if it had lost
    its last records. The random salt makes the seed unlike that of any other segment, also of one
    with the same number whose bytes a crash may bring back, and keeps payloads from imitating
    records.
    """
    salt = os.urandom(SALT_BYTES)
    header = encode_record(0, FILE_HEADER, sequence, DATA_FORMAT_VERSION, previous_bytes, salt)
    return header, checksum_of(header)


def scan_segment(path: Path, data: bytes, *, is_last: bool) -> SegmentScan:
    """Read a segment; never changes it.

    Args:
        path: Names the segment.
        data: Its bytes.
        is_last: Whether no later segment exists, so that its end may be torn.

    Raises:
        CorruptRecord: Bytes that had been durable are damaged.
        UnsupportedFormat: Another version of raftq wrote it.
    """
    header = read_record(data, 0, 0)
    if header is None or header.tag != FILE_HEADER:
        if is_last and len(data) <= HEADER_BYTES:
            return SegmentScan(0, [], 0, len(data), 0)
        raise corrupt(path, 0, "its header is unreadable")
    check_format(path, header.term)
    if header.number != segment_sequence(path.name):
        raise corrupt(path, 0, f"it is segment {header.number} under another name")
    return _scan_records(path, data, header, is_last=is_last)


def _scan_records(path: Path, data: bytes, header: Record, *, is_last: bool) -> SegmentScan:
    seed = header.checksum
    records: list[ScannedRecord] = []
    offset = header.end
    while offset < len(data):
        record = read_record(data, offset, seed)
        if record is None:
            if not is_last:
                raise corrupt(path, offset, "a record is unreadable, and later segments exist")
            if was_synced(data, offset, seed):
                raise corrupt(path, offset, "a record is unreadable that had been durable")
            break
        if record.tag not in _RECORD_TAGS or record.synced_bytes > offset:
            raise corrupt(path, offset, f"a record makes no sense there: {record.tag!r}")
        records.append(ScannedRecord(record.tag, record.number, record.term, offset, record.end))
        offset = record.end
    return SegmentScan(seed, records, offset, len(data) - offset, header.synced_bytes)
