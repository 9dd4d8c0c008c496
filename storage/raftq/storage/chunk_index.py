"""The chunks with keys of one chain of records, read one at a time.

Owns the open file and where each chunk begins. Does not own what the chunks hold. Invariants: the
file stays readable when another one takes its name; a chunk that is not what was written is
reported, never returned.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from raftq.storage.files import Files
from raftq.storage.record import (
    HEAD_BYTES,
    SNAPSHOT_CHUNK,
    SNAPSHOT_END,
    Record,
    read_head,
    read_record,
)
from raftq.storage.record_chain import ChainFormat, read_open_chain


class ChunkIndex:
    """A chain of records that is held open.

    20 bytes of memory for each chunk.

    Args:
        kind: Of the file.
        files: The disk.
        path: Where the file is now.
    """

    def __init__(self, kind: ChainFormat, files: Files, path: Path) -> None:
        self._kind = kind
        self._path = path
        self._file = files.open_read(path)
        self._keys: array[int] = array("Q")
        self._offsets: array[int] = array("Q")
        self._seeds: array[int] = array("I")
        self._end = 0
        """Of the last chunk."""

    @property
    def descriptor(self) -> int:
        """The file's, which a forked child must inherit."""
        return self._file.descriptor

    @property
    def keyed_bytes(self) -> int:
        """Bytes of all chunks that have a key."""
        return self._end - self._offsets[0] if self._offsets else 0

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def read_all(self) -> Iterator[Record]:
        """Yield the description's record, then those of the chunks without a key.

        Read to the end, it has verified every byte of the file, and knows where each chunk is.

        Raises:
            CorruptRecord: Anything is damaged.
            UnsupportedFormat: Another version of raftq wrote the file.
        """
        seed = 0
        for record in read_open_chain(self._kind, self._file, self._path):
            if record.tag == SNAPSHOT_CHUNK and record.term:
                self._add(record.term, record.offset, record.end, seed)
            else:
                yield record
            seed = record.checksum

    def read_heads(self) -> Iterator[None]:
        """Learn where each chunk is from the records' heads, one for each step.

        For a file that was verified when it was written: cheap, and in as many steps as one likes.

        Raises:
            CorruptRecord: A head is damaged.
        """
        offset = seed = 0
        while True:
            head = read_head(self._read_at(offset, HEAD_BYTES), seed)
            if head is None:
                raise self._kind.damaged(self._path, offset, "a record is unreadable")
            if head.tag == SNAPSHOT_END:
                return
            if head.tag == SNAPSHOT_CHUNK and head.term:
                self._add(head.term, offset, offset + head.length, seed)
            offset, seed = offset + head.length, head.checksum
            yield

    def _read_at(self, offset: int, size: int) -> bytes:
        try:
            return self._file.read_at(offset, size)
        except OSError as error:
            raise self._kind.damaged(self._path, offset, str(error)) from error

    def _add(self, key: int, offset: int, end: int, seed: int) -> None:
        if self._keys and (key <= self._keys[-1] or offset != self._end):
            raise self._kind.damaged(self._path, offset, "the chunks are out of order")
        self._keys.append(key)
        self._offsets.append(offset)
        self._seeds.append(seed)
        self._end = end

    def position_of(self, key: int) -> int:
        """Return the number of the chunk that has what belongs to a key; -1 if none has."""
        return bisect_right(self._keys, key) - 1

    def read(self, position: int) -> bytes:
        """Return a chunk.

        Raises:
            CorruptRecord: It is damaged; the node must stop.
        """
        offset, is_last = self._offsets[position], position + 1 == len(self._offsets)
        end = self._end if is_last else self._offsets[position + 1]
        data = self._read_at(offset, end - offset)
        record = read_record(data, 0, self._seeds[position])
        if record is None or record.end != end - offset or record.term != self._keys[position]:
            raise self._kind.damaged(self._path, offset, "a record is unreadable")
        return record.body
