"""Snapshot files: the state machine's dump with what the log needs to continue behind it.

Owns the file's format, its atomic replacement and its verification. Does not own the chunks'
meaning nor when a snapshot is taken. Invariants: `current.snapshot` is always whole: it was
synced and read back before it got its name; each record's checksum continues the one before, so
that no chunk can be missing, doubled or out of place; who holds a snapshot open can read it until
it closes it, whatever takes its name meanwhile.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from raftq.protocol import limits
from raftq.protocol.errors import CorruptRecord
from raftq.protocol.versions import SNAPSHOT_FORMAT_VERSION, SNAPSHOT_FORMATS_READABLE
from raftq.storage.chunk_index import ChunkIndex
from raftq.storage.files import Files, sync_file, write_temporary
from raftq.storage.record import FILE_HEADER, Record, corrupt
from raftq.storage.record_chain import (
    ChainFormat,
    Chunk,
    decode_description,
    encode_chain,
    read_chain,
)
from raftq.storage.sync_job import sync_failed

_FORMAT: Final = ChainFormat(
    "snapshot", FILE_HEADER, SNAPSHOT_FORMAT_VERSION, SNAPSHOT_FORMATS_READABLE, corrupt
)
_CURRENT: Final = "current.snapshot"
_PREVIOUS: Final = "previous.snapshot"
"""What older versions called the one before."""


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
    """The snapshot of one node.

    Removes what an interrupted write, or an older version, left behind.

    Args:
        files: The disk.
        folder: Where the snapshots are; it exists.
        free_bytes: Returns what is free on the disk; None if it does not matter.
    """

    def __init__(
        self, files: Files, folder: Path, free_bytes: Callable[[], int] | None = None
    ) -> None:
        self._free_bytes = free_bytes
        self._files = files
        self._folder = folder
        self.current: Final = folder / _CURRENT
        names = files.names(folder)
        for name in names:
            if name.startswith(self.current.name + "."):
                files.remove(folder / name)
        if _PREVIOUS in names:
            if self.current.name in names:
                files.remove(folder / _PREVIOUS)
            else:  # An older version crashed between the two renames that it needed.
                files.rename(folder / _PREVIOUS, self.current)
        files.sync_folder(folder)

    def write(self, meta: SnapshotMeta, chunks: Iterable[Chunk]) -> None:
        """Write a snapshot and make it the current one, unless that is already newer. Blocks.

        Raises:
            OSError: The disk did not take it; the current snapshot is still there.
            CorruptRecord: It read back wrong; the current snapshot is still there.
        """
        parts = self._while_there_is_room(_encode(meta, chunks))
        temporary = write_temporary(self._files, self.current, parts)
        self._verify(temporary)
        if self._is_newer(meta):
            self._files.remove(temporary)
        else:
            self._make_current(temporary)

    def _while_there_is_room(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the parts; the last bytes of the disk are the journal's, which cannot wait."""
        for part in parts:
            if self._free_bytes is not None and self._free_bytes() < limits.JOURNAL_RESERVE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.current))
            yield part

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
        # The one before is of no use any more: the log behind it is cut as soon as this one is
        # durable. Until then a crash leaves either of the two under this name.
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

    def load(self) -> "OpenSnapshot | None":
        """Open the current snapshot, or return None if there is none.

        Raises:
            CorruptRecord: It is damaged. Also raised while reading the chunks.
            UnsupportedFormat: Another version of raftq wrote it.
        """
        return _load(self._files, self.current)

    def open_current(self) -> tuple[SnapshotMeta, ChunkIndex]:
        """Open the current snapshot, which was verified when it was written.

        Raises:
            CorruptRecord: Its beginning is damaged.
        """
        opened = self.load()
        assert opened is not None, "a snapshot that was written is there"
        return opened.meta, opened.keyed

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


class OpenSnapshot(NamedTuple):
    """A snapshot that is being read."""

    meta: SnapshotMeta
    chunks: Iterator[bytes]
    """Those without a key; only reading them to the end verifies the file."""
    keyed: ChunkIndex
    """Reads the others, after that; to be closed."""


def read_snapshot(files: Files, folder: Path) -> OpenSnapshot | None:
    """Return the snapshot that a stopped node would start from, as `load` does; changes nothing.

    Raises:
        CorruptRecord: It is damaged.
        UnsupportedFormat: Another version of raftq wrote it.
    """
    # Between two renames of an older version, only the one before is there.
    return _load(files, folder / _CURRENT) or _load(files, folder / _PREVIOUS)


def _load(files: Files, path: Path) -> OpenSnapshot | None:
    if path.name not in files.names(path.parent):
        return None
    index = ChunkIndex(_FORMAT, files, path)
    try:
        records = index.read_all()
        meta = decode_meta(path, next(records))
    except BaseException:
        index.close()
        raise
    return OpenSnapshot(meta, (record.body for record in records), index)


def decode_meta(path: Path, record: Record) -> SnapshotMeta:
    """Return the meta of a snapshot's first record.

    Raises:
        CorruptRecord: It is not one.
    """
    return decode_description(_FORMAT, path, record, SnapshotMeta)


def read_records(files: Files, path: Path) -> Iterator[Record]:
    """Yield the meta record, then each chunk's, and check all of them and the end.

    Raises:
        CorruptRecord: Anything is damaged, missing or left over.
        UnsupportedFormat: Another version of raftq wrote the file.
    """
    return read_chain(_FORMAT, files, path)


def _encode(meta: SnapshotMeta, chunks: Iterable[Chunk]) -> Iterator[bytes]:
    return encode_chain(_FORMAT, meta.last_index, meta.last_term, meta, chunks)
