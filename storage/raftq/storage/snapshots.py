"""Snapshot files: the state machine's dump with what the log needs to continue behind it.

Owns the file's format, its atomic replacement and its verification. Does not own the chunks'
meaning nor when a snapshot is taken. Invariants: `current.snapshot` is always whole: it was
synced and read back before it got its name; each record's checksum continues the one before, so
that no chunk can be missing, doubled or out of place.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from raftq.protocol.errors import CorruptRecord
from raftq.protocol.limits import MIB
from raftq.protocol.versions import DATA_FORMAT_VERSION
from raftq.storage.files import Files, sync_file, write_temporary
from raftq.storage.record import (
    FILE_HEADER,
    HEAD_BYTES,
    SNAPSHOT_CHUNK,
    SNAPSHOT_END,
    SNAPSHOT_META,
    Record,
    check_format,
    checksum_of,
    corrupt,
    encode_record,
    read_lengths,
    read_record,
)
from raftq.storage.sync_job import sync_failed

_WRITE_BYTES: Final = 1 * MIB
_READ_BYTES: Final = 4 * MIB


class SnapshotMeta(msgspec.Struct, array_like=True, frozen=True):
    """What a snapshot covers, and the last two entries before it, which PySyncObj keeps."""

    last_index: int
    last_term: int
    previous_index: int
    previous_term: int
    last_command: bytes
    previous_command: bytes
    state_hash: str
    members: list[str]
    cluster_id: str | None
    configuration: bytes = b""
    """The member list in force at `last_index`, in the log's own form; empty if there is none."""


class SnapshotStore:
    """The snapshots of one node: the current one and the one before.

    Removes what an interrupted write left behind.

    Args:
        files: The disk.
        folder: Where the snapshots are; it exists.
    """

    def __init__(self, files: Files, folder: Path) -> None:
        self._files = files
        self._folder = folder
        self.current: Final = folder / "current.snapshot"
        self.previous: Final = folder / "previous.snapshot"
        names = files.names(folder)
        for name in names:
            if name.startswith(self.current.name + "."):
                files.remove(folder / name)
        if self.previous.name in names and self.current.name not in names:
            # A crash between the two renames of `write`.
            files.rename(self.previous, self.current)
        files.sync_folder(folder)

    def write(self, meta: SnapshotMeta, chunks: Iterable[bytes]) -> None:
        """Write a snapshot and make it the current one, unless that is already newer. Blocks.

        Raises:
            OSError: The disk did not take it; the current snapshot is still there.
            CorruptRecord: It read back wrong; the current snapshot is still there.
        """
        temporary = write_temporary(self._files, self.current, _encode(meta, chunks))
        self._verify(temporary)
        if self._is_newer(meta):
            self._files.remove(temporary)
        else:
            self._make_current(temporary)

    def adopt(self, received: Path) -> None:
        """Make a file received into this folder the current snapshot. Blocks.

        Renaming it before it is durable and verified would let a power cut, or a peer with a
        damaged disk, destroy the snapshot that this node has.

        Raises:
            SyncFailed: The node must stop.
            CorruptRecord: The file is damaged; the current snapshot is still there.
        """
        try:
            sync_file(self._files, received)
            self._verify(received)
            self._make_current(received)
        except OSError as error:
            raise sync_failed(received, error) from error

    def _verify(self, path: Path) -> None:
        for _ in read_records(self._files, path):
            pass

    def _make_current(self, path: Path) -> None:
        if self.current.name in self._files.names(self._folder):
            self._files.rename(self.current, self.previous)
        self._files.rename(path, self.current)
        self._files.sync_folder(self._folder)

    def _is_newer(self, meta: SnapshotMeta) -> bool:
        """Tell whether the current snapshot, perhaps received meanwhile, is past this one."""
        try:
            current = self.read_meta()
        except CorruptRecord:
            return False  # The one just written and verified is better.
        return current is not None and current.last_index > meta.last_index

    def read_meta(self) -> SnapshotMeta | None:
        """Return what the current snapshot covers, or None if there is none.

        Checks the beginning of the file only; `load` checks all of it.

        Raises:
            CorruptRecord: The beginning is damaged.
            UnsupportedFormat: Another version of raftq wrote it.
        """
        if self.current.name not in self._files.names(self._folder):
            return None
        return decode_meta(self.current, next(read_records(self._files, self.current)))

    def load(self) -> tuple[SnapshotMeta, list[bytes]] | None:
        """Return the current snapshot, every byte of it verified, or None if there is none.

        Raises:
            CorruptRecord: It is damaged.
            UnsupportedFormat: Another version of raftq wrote it.
        """
        if self.current.name not in self._files.names(self._folder):
            return None
        records = read_records(self._files, self.current)
        meta = decode_meta(self.current, next(records))
        return meta, [record.body for record in records]

    def make_durable(self) -> None:
        """Make a file durable that someone else renamed onto `current`. Blocks.

        Raises:
            SyncFailed: The node must stop.
        """
        try:
            sync_file(self._files, self.current)
            self._files.sync_folder(self._folder)
        except OSError as error:
            raise sync_failed(self.current, error) from error


def decode_meta(path: Path, record: Record) -> SnapshotMeta:
    """Return the meta of a snapshot's first record.

    Raises:
        CorruptRecord: It is not one.
    """
    try:
        return msgspec.msgpack.decode(record.body, type=SnapshotMeta)
    except msgspec.MsgspecError as error:
        raise corrupt(path, record.offset, str(error)) from None


def _encode(meta: SnapshotMeta, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the file's bytes in pieces of about a mebibyte; a small chunk costs no write call."""
    header = encode_record(0, FILE_HEADER, 0, DATA_FORMAT_VERSION)
    first = encode_record(
        checksum_of(header),
        SNAPSHOT_META,
        meta.last_index,
        meta.last_term,
        body=msgspec.msgpack.encode(meta),
    )
    seed, count = checksum_of(first), 0
    buffer = [header, first]
    buffered_bytes = len(header) + len(first)
    for count, chunk in enumerate(chunks, 1):
        record = encode_record(seed, SNAPSHOT_CHUNK, count, 0, body=chunk)
        seed = checksum_of(record)
        buffer.append(record)
        buffered_bytes += len(record)
        if buffered_bytes >= _WRITE_BYTES:
            yield b"".join(buffer)
            buffer.clear()
            buffered_bytes = 0
    buffer.append(encode_record(seed, SNAPSHOT_END, count, 0))
    yield b"".join(buffer)


def read_records(files: Files, path: Path) -> Iterator[Record]:
    """Yield the meta record, then each chunk's, and check all of them and the end.

    Raises:
        CorruptRecord: Anything is damaged, missing or left over.
        UnsupportedFormat: Another version of raftq wrote the file.
    """
    reader = _Reader(files, path)
    header = reader.next_record(0)
    if header.tag != FILE_HEADER:
        raise corrupt(path, 0, "this is no snapshot")
    check_format(path, header.term)
    record = reader.next_record(header.checksum)
    if record.tag != SNAPSHOT_META:
        raise corrupt(path, header.end, "the snapshot has no description")
    count = 0
    while record.tag != SNAPSHOT_END:
        yield record
        record = reader.next_record(record.checksum)
        count += 1
    if record.number != count - 1 or not reader.is_at_end():
        raise corrupt(path, reader.offset, "the snapshot does not end where it should")


class _Reader:
    """Reads records through a window, so that verifying needs little memory."""

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
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
            raise corrupt(self._path, self.offset, "a record is unreadable")
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
            self._window = self._files.read(self._path, self.offset, size)
            self._window_offset = self.offset
        return self._window
