"""The record: the frame with checksums around everything that storage writes.

Owns the layout (storage/DESIGN.md has the table) and the search for records behind a damaged one.
Does not own what the fields mean in each file. Invariants: a record is never shorter than its
head, so zeros are never a record; checksums start from a seed of the file, so a record that was
valid in another file, or in an older one on the same disk blocks, is not valid in this one.
"""

import struct
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, NamedTuple, cast

import google_crc32c

from raftq.protocol.errors import CorruptRecord, UnsupportedFormat
from raftq.protocol.versions import DATA_FORMAT_VERSION

PREFIX: Final = b"\x9crq"
FILE_HEADER: Final = PREFIX + b"H"
BACKUP_HEADER: Final = PREFIX + b"B"
ENTRY: Final = PREFIX + b"E"
TRUNCATE: Final = PREFIX + b"T"
RESET: Final = PREFIX + b"R"
SYNCED: Final = PREFIX + b"S"
VOTE: Final = PREFIX + b"V"
IDENTITY: Final = PREFIX + b"I"
SNAPSHOT_META: Final = PREFIX + b"M"
SNAPSHOT_CHUNK: Final = PREFIX + b"C"
SNAPSHOT_END: Final = PREFIX + b"Z"

_FIELDS: Final = struct.Struct("<4sIQQII")
_HEAD: Final = struct.Struct("<4sIQQIII")
HEAD_BYTES: Final = _HEAD.size
_CHECKSUM_BYTES: Final = HEAD_BYTES - _FIELDS.size

pack_fields: Final = _FIELDS.pack
_unpack_head: Final = _HEAD.unpack_from
crc32c: Final = cast("Callable[[int, bytes], int]", getattr(google_crc32c, "extend"))  # noqa: B009
"""(seed, bytes) -> CRC32C; takes `bytes` only. The package has no types for it, hence getattr."""


class Record(NamedTuple):
    """A record whose checksums were right."""

    tag: bytes
    number: int
    """The log index; in files that are not part of the log what their module says."""
    term: int
    synced_bytes: int
    """Bytes of this file that were durable when the record was written."""
    body: bytes
    checksum: int
    """Of its head, which includes the body's."""
    offset: int
    end: int


def encode_record(
    seed: int, tag: bytes, number: int, term: int, synced_bytes: int = 0, body: bytes = b""
) -> bytes:
    """Return one record. The journal's `append` does the same without joining."""
    fields = pack_fields(
        tag, HEAD_BYTES + len(body), number, term, synced_bytes, crc32c(seed, body)
    )
    return fields + crc32c(seed, fields).to_bytes(_CHECKSUM_BYTES, "little") + body


def checksum_of(record: bytes) -> int:
    """Return the checksum in an encoded record's head: the seed of what follows it."""
    return int.from_bytes(record[_FIELDS.size : HEAD_BYTES], "little")


def read_record(data: bytes, offset: int, seed: int) -> Record | None:
    """Return the record at an offset, or None if a checksum is wrong or bytes are missing."""
    body_offset = offset + HEAD_BYTES
    if body_offset > len(data):
        return None
    tag, length, number, term, synced_bytes, body_checksum, checksum = _unpack_head(data, offset)
    end = offset + length
    if crc32c(seed, data[offset : body_offset - _CHECKSUM_BYTES]) != checksum or end > len(data):
        return None
    body = data[body_offset:end]
    if length < HEAD_BYTES or crc32c(seed, body) != body_checksum:
        return None
    return Record(tag, number, term, synced_bytes, body, checksum, offset, end)


class Head(NamedTuple):
    """The head of a record, whose own checksum was right."""

    tag: bytes
    length: int
    term: int
    checksum: int


def read_head(data: bytes, seed: int) -> Head | None:
    """Return the head that some bytes begin with, or None if it is damaged."""
    if len(data) < HEAD_BYTES:
        return None
    tag, length, _, term, _, _, checksum = _unpack_head(data, 0)
    is_right = length >= HEAD_BYTES and crc32c(seed, data[: _FIELDS.size]) == checksum
    return Head(tag, length, term, checksum) if is_right else None


def read_lengths(data: bytes, offset: int, seed: int) -> tuple[int, int] | None:
    """Return (length, synced_bytes) of the record at an offset, if its head alone is right."""
    if offset + HEAD_BYTES > len(data):
        return None
    _, length, _, _, synced_bytes, _, checksum = _unpack_head(data, offset)
    if crc32c(seed, data[offset : offset + _FIELDS.size]) != checksum:
        return None
    return length, synced_bytes


def was_synced(data: bytes, offset: int, seed: int) -> bool:
    """Tell whether a record after this offset proves that the byte at it had been durable.

    A head's own checksum makes each candidate cheap to refuse: payloads full of prefixes cost
    no more than one pass over the bytes.
    """
    candidate = data.find(PREFIX, offset + 1)
    while candidate >= 0:
        lengths = read_lengths(data, candidate, seed)
        if lengths is not None and lengths[1] > offset:
            return True
        candidate = data.find(PREFIX, candidate + 1)
    return False


def corrupt(path: Path, offset: int, what: str) -> CorruptRecord:
    """Return the error for a damaged file; says how to rebuild the node."""
    return CorruptRecord(
        f"{path} is damaged at byte {offset}: {what}. This node must not run on it. Stop it, keep "
        "the data folder for analysis, and remove the node from the cluster; or, only if the "
        "other members are a healthy majority, move the data folder away and start the node with "
        "an empty one (it forgets its vote and its log, and gets both from the others)",
        path=str(path),
        offset=offset,
    )


def check_format(
    path: Path, found: int, readable: Collection[int] = (DATA_FORMAT_VERSION,)
) -> None:
    """Raise UnsupportedFormat unless this version of raftq knows the file's format."""
    if found not in readable:
        raise UnsupportedFormat(
            f"{path} has format {found}, this raftq reads up to {max(readable)}: start the version "
            "of raftq that wrote it",
            path=str(path),
            found=found,
            expected=max(readable),
        )
