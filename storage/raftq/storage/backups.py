"""Backup files: the machine's dump at one log index, in one file that stands for itself.

Owns the file's format. Does not own the chunks' meaning, nor how a backup is taken or restored. A
backup knows nothing of Raft: no vote, no log, no entry. Invariant: a file that reads to its end
without an error is bit for bit what was written; see docs/decisions/0006-backup-and-restore.md.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from raftq.protocol.errors import CorruptRecord
from raftq.protocol.versions import BACKUP_FORMAT_VERSION, BACKUP_FORMATS_READABLE
from raftq.storage.chunk_index import ChunkIndex
from raftq.storage.files import Files, write_temporary
from raftq.storage.record import BACKUP_HEADER, Record
from raftq.storage.record_chain import (
    ChainFormat,
    Chunk,
    decode_description,
    encode_chain,
    read_chain,
)


class BackupMeta(msgspec.Struct, frozen=True):
    """What a backup holds and where it comes from; stored with its field names."""

    index: int
    """The log index that the dump reflects: every entry up to it, and none after it."""
    term: int
    """The newest term that the node knew when it was taken; for people only."""
    state_hash: str
    cluster_id: str
    """The cluster that it was taken of; a restored one gets another id."""
    node: str
    """The node that it was taken on."""
    taken_at_ms: int
    """By that node's wall clock; for people only."""
    raftq_version: str
    is_recovered: bool = False
    """Made of the files of a node that had lost its majority: it may lack acknowledged writes."""


def _damaged(path: Path, offset: int, what: str) -> CorruptRecord:
    return CorruptRecord(
        f"{path} is damaged at byte {offset}: {what}. Nothing of it can be trusted; use another "
        "backup",
        path=str(path),
        offset=offset,
    )


_FORMAT: Final = ChainFormat(
    "backup", BACKUP_HEADER, BACKUP_FORMAT_VERSION, BACKUP_FORMATS_READABLE, _damaged
)


def encode_backup(meta: BackupMeta, chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Yield the bytes of a backup file, in pieces of about a mebibyte."""
    return encode_chain(_FORMAT, meta.index, meta.term, meta, chunks)


def write_backup(files: Files, path: Path, meta: BackupMeta, chunks: Iterable[Chunk]) -> None:
    """Write a backup file, durably and verified, in place of a file of that name. Blocks.

    Raises:
        OSError: The disk did not take it.
        CorruptRecord: It read back wrong.
    """
    temporary = write_temporary(files, path, encode_backup(meta, chunks))
    for _ in read_backup_records(files, temporary):
        pass
    files.rename(temporary, path)
    files.sync_folder(path.parent)


def is_backup(files: Files, path: Path) -> bool:
    """Tell whether a file begins like a backup, whatever its name."""
    file = files.open_read(path)
    try:
        return file.read_at(0, len(BACKUP_HEADER)) == BACKUP_HEADER
    finally:
        file.close()


class OpenBackup(NamedTuple):
    """A backup that is being read."""

    meta: BackupMeta
    chunks: Iterator[bytes]
    """Those without a key; only reading them to the end verifies the file."""
    keyed: ChunkIndex
    """Reads the others, after that; to be closed."""


def read_backup(files: Files, path: Path) -> OpenBackup:
    """Open a backup.

    Raises:
        CorruptRecord: It is damaged. Also raised while reading the chunks.
        UnsupportedFormat: Another version of raftq wrote it.
    """
    index = ChunkIndex(_FORMAT, files, path)
    try:
        records = index.read_all()
        meta = decode_backup_meta(path, next(records))
    except BaseException:
        index.close()
        raise
    return OpenBackup(meta, (record.body for record in records), index)


def read_backup_records(files: Files, path: Path) -> Iterator[Record]:
    """Yield the records of a backup, the description's first; verifies as it goes."""
    return read_chain(_FORMAT, files, path)


def decode_backup_meta(path: Path, record: Record) -> BackupMeta:
    """Return the description in a backup's first record."""
    return decode_description(_FORMAT, path, record, BackupMeta)
