"""Show what is in a node's files, for people: `python -m raftq.storage.inspect PATH [--json]`.

Owns the report. Does not own any format: it reads with the functions that recovery uses, so both
judge alike. Invariants: it changes nothing and takes no lock, so it may look at a running node.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from raftq.protocol.errors import CorruptRecord, StorageError
from raftq.storage.backups import decode_backup_meta, is_backup, read_backup_records
from raftq.storage.data_dir import (
    IDENTITY_NAME,
    JOURNAL_NAME,
    SNAPSHOTS_NAME,
    VOTE_NAME,
    read_identity,
)
from raftq.storage.files import Files, RealFiles, read_file
from raftq.storage.record import ENTRY, HEAD_BYTES, RESET, SYNCED, TRUNCATE, Record
from raftq.storage.recovery import ReplayedLog, segment_sequences
from raftq.storage.segment import scan_segment, segment_sequence
from raftq.storage.snapshots import decode_meta, read_records
from raftq.storage.vote import read_vote

_SNAPSHOT_SUFFIX: Final = ".snapshot"
_RECORD_WORDS: Final = {ENTRY: "entries", TRUNCATE: "truncations", RESET: "resets", SYNCED: "marks"}

_KIND_OF_NAME: Final = {VOTE_NAME: "vote", IDENTITY_NAME: "identity"}

Facts: TypeAlias = dict[str, int | str | list[str] | None]


class FileReport(msgspec.Struct, omit_defaults=True):
    """What was found in one file; `error` says what is wrong with it, if anything is."""

    path: str
    kind: str
    bytes: int
    facts: Facts = {}
    error: str = ""
    error_offset: int | None = None


def inspect_path(path: Path, files: Files | None = None) -> list[FileReport]:
    """Report on each file of a data folder, of a folder in it, or on one file.

    Raises:
        OSError: The path cannot be read.
        ValueError: There is none of raftq's files.
    """
    files = files or RealFiles()
    if not path.is_dir():
        return [_inspect_file(files, path, ReplayedLog())]
    folders = [path, path / JOURNAL_NAME, path / SNAPSHOTS_NAME]
    reports: list[FileReport] = []
    for folder in folders:
        if folder.is_dir():
            log = ReplayedLog()
            paths = [folder / name for name in files.names(folder)]
            reports += [_inspect_file(files, p, log) for p in paths if _kind(p) is not None]
            reports += _missing_segments(files, folder)
    if not reports:
        raise ValueError(f"{path} holds none of raftq's files")
    return reports


def _kind(path: Path) -> str | None:
    if segment_sequence(path.name) is not None:
        return "segment"
    if path.suffix == _SNAPSHOT_SUFFIX:
        return "snapshot"
    return _KIND_OF_NAME.get(path.name)


def _inspect_file(files: Files, path: Path, log: ReplayedLog) -> FileReport:
    kind = _kind(path) or ("backup" if is_backup(files, path) else None)
    if kind is None:
        raise ValueError(
            f"{path} is none of raftq's files: expected a data folder, a *.segment, a "
            f"*{_SNAPSHOT_SUFFIX}, {VOTE_NAME}, {IDENTITY_NAME} or a backup"
        )
    report = FileReport(str(path), kind, 0)
    try:
        if kind == "snapshot":
            report.facts, report.bytes = _snapshot_facts(files, path)
            return report
        if kind == "backup":
            report.facts, report.bytes = _backup_facts(files, path)
            return report
        data = read_file(files, path)
        report.bytes = len(data)
        if kind == "segment":
            later = [name for name in files.names(path.parent) if name > path.name]
            is_last = all(segment_sequence(name) is None for name in later)
            _add_segment_facts(report.facts, path, data, log, is_last=is_last)
        elif kind == "vote":
            term, voted_for = read_vote(path, data)
            report.facts = {"term": term, "voted_for": voted_for}
        else:
            identity = read_identity(path, data)
            report.facts = msgspec.structs.asdict(identity)
    except StorageError as error:
        offset = error.facts.get("offset")
        report.error = error.message
        report.error_offset = offset if isinstance(offset, int) else None
        log.shape.next_index = log.path = None  # What the damaged segment holds is not known.
    return report


def _add_segment_facts(
    facts: Facts, path: Path, data: bytes, log: ReplayedLog, *, is_last: bool
) -> None:
    scan = scan_segment(path, data, is_last=is_last)
    entries = [record for record in scan.records if record.tag == ENTRY]
    facts["first_index"] = min((e.number for e in entries), default=0)
    facts["last_index"] = max((e.number for e in entries), default=0)
    facts["first_term"] = min((e.term for e in entries), default=0)
    facts["last_term"] = max((e.term for e in entries), default=0)
    for tag, words in _RECORD_WORDS.items():
        facts[words] = sum(record.tag == tag for record in scan.records)
    facts["torn_bytes"] = scan.torn_bytes
    log.replay(path, segment_sequence(path.name) or 0, scan)


def _snapshot_facts(files: Files, path: Path) -> tuple[Facts, int]:
    records = read_records(files, path)
    last = next(records)
    facts: Facts = msgspec.structs.asdict(decode_meta(path, last))
    del facts["last_command"], facts["previous_command"], facts["configuration"]
    return _with_chunks(facts, last, records)


def _backup_facts(files: Files, path: Path) -> tuple[Facts, int]:
    records = read_backup_records(files, path)
    first = next(records)
    return _with_chunks(msgspec.structs.asdict(decode_backup_meta(path, first)), first, records)


def _with_chunks(facts: Facts, last: Record, records: Iterator[Record]) -> tuple[Facts, int]:
    """Read and thereby verify the rest; return the facts with its size, and the file's size."""
    chunks, chunk_bytes = 0, 0
    for last in records:
        chunks += 1
        chunk_bytes += len(last.body)
    return facts | {"chunks": chunks, "chunk_bytes": chunk_bytes}, last.end + HEAD_BYTES


def _missing_segments(files: Files, folder: Path) -> list[FileReport]:
    try:
        segment_sequences(files, folder)
    except CorruptRecord as error:
        path = str(error.facts["path"])
        return [FileReport(path, "segment", 0, error=error.message, error_offset=0)]
    return []


# ---------------------------------------------------------------- for people


def main(arguments: Sequence[str] | None = None, output: Callable[[str], None] = print) -> int:
    """Print the report; return 1 if anything is damaged or unreadable, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m raftq.storage.inspect",
        description="Show what is in a data folder or in one of its files. Changes nothing.",
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--json", action="store_true", help="print a JSON array of reports")
    options = parser.parse_args(arguments)
    try:
        reports = inspect_path(options.path)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        output(msgspec.json.format(msgspec.json.encode(reports)).decode())
    else:
        for report in reports:
            output(_text(report))
    return 1 if any(report.error for report in reports) else 0


def _text(report: FileReport) -> str:
    lines = [f"{report.path}: {report.kind}, {report.bytes} bytes"]
    facts = [f"{name.replace('_', ' ')} {_word(value)}" for name, value in report.facts.items()]
    if facts:
        lines.append(f"    {', '.join(facts)}")
    if report.error:
        where = "" if report.error_offset is None else f" at byte {report.error_offset}"
        lines.append(f"    DAMAGED{where}: {report.error}")
    return "\n".join(lines)


def _word(value: int | str | list[str] | None) -> str:
    if isinstance(value, list):
        return "/".join(value)
    return "none" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
