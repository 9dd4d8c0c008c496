"""A file that is one chain of records: a header, a description, chunks, and an end with a count.

Owns the order of the records and their verification. Does not own what they describe: see
`snapshots` and `backups`; reading single chunks later is `chunk_index`'s. Invariant: each record's
checksums start from the record before, so no record can be missing, doubled, moved, or of another
file. A chunk may have a key, by which it is found later; those with a key come last, keys growing.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from raftq.protocol.errors import CorruptRecord
from raftq.protocol.limits import MIB
from raftq.storage.files import Files, ReadableFile
from raftq.storage.record import (
    HEAD_BYTES,
    SNAPSHOT_CHUNK,
    SNAPSHOT_END,
    SNAPSHOT_META,
    Record,
    check_format,
    checksum_of,
    encode_record,
    read_lengths,
    read_record,
)

T = TypeVar("T")
_WRITE_BYTES: Final = 1 * MIB
_READ_BYTES: Final = 4 * MIB


class KeyedChunk(NamedTuple):
    """A chunk that is found by a key: it has what belongs to its key and to those up to the next
    chunk's."""

    key: int
    """From 1; greater than that of the chunk before."""
    body: bytes


Chunk: TypeAlias = bytes | KeyedChunk


class ChainFormat(NamedTuple):
    """What one kind of such files has of its own."""

    name: str
    header: bytes
    """The tag of its first record."""
    version: int
    """Of what is written."""
    readable: Collection[int]
    """Versions that can be read."""
    damaged: Callable[[Path, int, str], CorruptRecord]
    """(path, offset, what is wrong) -> the error, which says what to do."""


def encode_chain(
    kind: ChainFormat, index: int, term: int, description: object, chunks: Iterable[Chunk]
) -> Iterator[bytes]:
    """Yield a file's bytes in pieces of about a mebibyte; a small chunk costs no write call."""
    header = encode_record(0, kind.header, 0, kind.version)
    body = msgspec.msgpack.encode(description)
    first = encode_record(checksum_of(header), SNAPSHOT_META, index, term, body=body)
    seed, count = checksum_of(first), 0
    buffer = [header, first]
    buffered_bytes = len(header) + len(first)
    for count, chunk in enumerate(chunks, 1):
        key, body = (0, chunk) if isinstance(chunk, bytes) else chunk
        record = encode_record(seed, SNAPSHOT_CHUNK, count, key, body=body)
        seed = checksum_of(record)
        buffer.append(record)
        buffered_bytes += len(record)
        if buffered_bytes >= _WRITE_BYTES:
            yield b"".join(buffer)
            buffer.clear()
            buffered_bytes = 0
    buffer.append(encode_record(seed, SNAPSHOT_END, count, 0))
    yield b"".join(buffer)


def read_chain(kind: ChainFormat, files: Files, path: Path) -> Iterator[Record]:
    """Yield the description's record, then each chunk's, and check all of them and the end.

    Raises:
        CorruptRecord: Anything is damaged, missing or left over.
        UnsupportedFormat: Another version of raftq wrote the file.
    """
    file = files.open_read(path)
    try:
        yield from read_open_chain(kind, file, path)
    finally:
        file.close()


def read_open_chain(kind: ChainFormat, file: ReadableFile, path: Path) -> Iterator[Record]:
    """Do the same with a file that is open, and stays so; `path` only names it."""
    reader = _Reader(kind, file, path)
    header = reader.next_record(0)
    if header.tag != kind.header:
        raise kind.damaged(path, 0, f"this is no {kind.name}")
    check_format(path, header.term, kind.readable)
    record = reader.next_record(header.checksum)
    if record.tag != SNAPSHOT_META:
        raise kind.damaged(path, header.end, f"the {kind.name} has no description")
    count = 0
    while record.tag != SNAPSHOT_END:
        yield record
        record = reader.next_record(record.checksum)
        count += 1
    if record.number != count - 1 or not reader.is_at_end():
        raise kind.damaged(path, reader.offset, f"the {kind.name} does not end where it should")


def decode_description(kind: ChainFormat, path: Path, record: Record, type_: type[T]) -> T:
    """Return what a file's first record describes.

    Raises:
        CorruptRecord: It does not.
    """
    try:
        return msgspec.msgpack.decode(record.body, type=type_)
    except msgspec.MsgspecError as error:
        raise kind.damaged(path, record.offset, str(error)) from None


class _Reader:
    """Reads records through a window, so that verifying needs little memory."""

    def __init__(self, kind: ChainFormat, file: ReadableFile, path: Path) -> None:
        self._kind = kind
        self._file = file
        self._path = path
        self._window = b""
        self._window_offset = 0
        self.offset = 0
        """Of the next record, in the file."""

    def next_record(self, seed: int) -> Record:
        lengths = read_lengths(self._need(HEAD_BYTES), self._position, seed)
        record = None
        if lengths is not None:
            record = read_record(self._need(lengths[0]), self._position, seed)
        if record is None:
            raise self._kind.damaged(self._path, self.offset, "a record is unreadable")
        end = self.offset + record.end - record.offset
        record = record._replace(offset=self.offset, end=end)
        self.offset = end
        return record

    def is_at_end(self) -> bool:
        return len(self._need(1)) == self._position

    @property
    def _position(self) -> int:
        return self.offset - self._window_offset

    def _need(self, size: int) -> bytes:
        """Return a window that holds `size` bytes from the offset on, or ends with the file."""
        if self._position + size > len(self._window):
            size = max(size, _READ_BYTES)
            self._window = self._file.read_at(self.offset, size)
            self._window_offset = self.offset
        return self._window
