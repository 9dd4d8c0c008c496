"""Backup files: the machine's dump at one log index, in one file that stands for itself.

Owns the file's format. Does not own the chunks' meaning, nor how a backup is taken or restored. A
backup knows nothing of Raft: no vote, no log, no entry. Invariant: a file that reads to its end
without an error is bit for bit what was written; see docs/decisions/0006-backup-and-restore.md.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from raftq.protocol.errors import CorruptRecord
from raftq.protocol.versions import BACKUP_FORMAT_VERSION
from raftq.storage.files import Files, write_temporary
from raftq.storage.record import BACKUP_HEADER, Record
from raftq.storage.record_chain import ChainFormat, decode_description, encode_chain, read_chain


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


_FORMAT: Final = ChainFormat("backup", BACKUP_HEADER, BACKUP_FORMAT_VERSION, _damaged)


def encode_backup(meta: BackupMeta, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a backup file, in pieces of about a mebibyte."""
    return encode_chain(_FORMAT, meta.index, meta.term, meta, chunks)


def write_backup(files: Files, path: Path, meta: BackupMeta, chunks: Iterable[bytes]) -> None:
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
    return files.read(path, 0, len(BACKUP_HEADER)) == BACKUP_HEADER


def read_backup(files: Files, path: Path) -> tuple[BackupMeta, Iterator[bytes]]:
    """Return what a backup describes, and its chunks; only reading them to the end verifies it.

    Raises:
        CorruptRecord: It is damaged. Also raised while reading the chunks.
        UnsupportedFormat: Another version of raftq wrote it.
    """
    records = read_backup_records(files, path)
    meta = decode_backup_meta(path, next(records))
    return meta, (record.body for record in records)


def read_backup_records(files: Files, path: Path) -> Iterator[Record]:
    """Yield the records of a backup, the description's first; verifies as it goes."""
    return read_chain(_FORMAT, files, path)


def decode_backup_meta(path: Path, record: Record) -> BackupMeta:
    """Return the description in a backup's first record."""
    return decode_description(_FORMAT, path, record, BackupMeta)
