"""Reading single entries back from the segments of a journal.

Owns the open files. Does not own where entries are (`log_shape`). Invariant: what is returned is
what was appended, bit for bit; a record that is not is reported, never returned.
"""

import errno
from pathlib import Path
from typing import NamedTuple

from raftq.protocol.errors import StorageError
from raftq.storage.files import Files, ReadableFile
from raftq.storage.log_shape import LogShape
from raftq.storage.record import ENTRY, HEAD_BYTES, corrupt, read_record
from raftq.storage.segment import segment_name


class JournalEntry(NamedTuple):
    """One log entry, in the order of fields that PySyncObj's lists have."""

    command: bytes
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls here
    term: int


class EntryReader:
    """Reads the entries of a log whose segments are files in a folder.

    A segment stays open until it is forgotten, so that a process that was forked meanwhile can go
    on reading it.
    """

    def __init__(self, files: Files, folder: Path, shape: LogShape) -> None:
        self._files = files
        self._folder = folder
        self._shape = shape
        self._open: dict[int, ReadableFile] = {}

    def read(self, index: int) -> JournalEntry:
        """Return an entry whose record was written.

        Raises:
            CorruptRecord: It is damaged, or cannot be read.
            StorageError: Too many files are open, which is no damage.
        """
        segment, offset, length, term = self._shape.place(index)
        path = self._folder / segment_name(segment.sequence)
        try:
            data = self._file(segment.sequence).read_at(offset, length)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                text = f"{path} cannot be opened: {error}; raise this node's limit of open files"
                raise StorageError(text, path=str(path)) from error
            raise corrupt(path, offset, f"entry {index} cannot be read: {error}") from error
        record = read_record(data, 0, segment.seed)
        found = None if record is None else (record.tag, record.number, record.term, record.end)
        if record is None or found != (ENTRY, index, term, length):
            raise corrupt(path, offset, f"entry {index} is unreadable")
        return JournalEntry(record.body, index, term)

    def first_byte(self, index: int) -> bytes:
        """Return the first byte of an entry's command, unchecked; nothing if it is empty."""
        segment, offset, length, _ = self._shape.place(index)
        size = min(length - HEAD_BYTES, 1)
        return self._file(segment.sequence).read_at(offset + HEAD_BYTES, size)

    def open_through(self, index: int) -> list[int]:
        """Open every segment that holds entries up to an index; return the descriptors."""
        held = [each.sequence for each in self._shape.segments if 0 < each.first_index <= index]
        return [self._file(sequence).descriptor for sequence in held]

    def forget(self, sequence: int) -> None:
        """Close a segment whose file will be removed."""
        file = self._open.pop(sequence, None)
        if file is not None:
            file.close()

    def close(self) -> None:
        """Close all segments."""
        for sequence in list(self._open):
            self.forget(sequence)

    def _file(self, sequence: int) -> ReadableFile:
        file = self._open.get(sequence)
        if file is None:
            path = self._folder / segment_name(sequence)
            file = self._open[sequence] = self._files.open_read(path)
        return file
