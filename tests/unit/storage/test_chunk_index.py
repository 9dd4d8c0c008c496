"""Chunks with keys, read one at a time from a file that is held open."""

from collections.abc import Callable
from pathlib import Path

import pytest

from raftq.protocol.errors import CorruptRecord, StorageError
from raftq.storage.chunk_index import ChunkIndex
from raftq.storage.record_chain import Chunk, KeyedChunk
from raftq.storage.snapshots import SnapshotMeta, SnapshotStore
from raftq.testing.memory_files import MemoryFiles

FOLDER = Path("/data/snapshots")
CURRENT = FOLDER / "current.snapshot"
META = SnapshotMeta(10, 3, 9, 2, b"last", b"previous", "hash", ["n1"], "c")
CHUNKS: list[Chunk] = [
    b"state",
    b"",
    KeyedChunk(3, b"three"),
    KeyedChunk(7, b""),
    KeyedChunk(8, b"eight and more"),
]


@pytest.fixture
def disk() -> MemoryFiles:
    disk = MemoryFiles()
    SnapshotStore(disk, FOLDER).write(META, CHUNKS)
    return disk


def by_heads(disk: MemoryFiles) -> ChunkIndex:
    _, index = SnapshotStore(disk, FOLDER).open_current()
    assert len(list(index.read_heads())) == 2 + len(CHUNKS)
    return index


def by_all(disk: MemoryFiles) -> ChunkIndex:
    opened = SnapshotStore(disk, FOLDER).load()
    assert opened is not None
    assert list(opened.chunks) == [b"state", b""], "those with a key are not handed over"
    return opened.keyed


@pytest.mark.parametrize("learn", [by_heads, by_all])
def test_a_key_leads_to_the_chunk_that_begins_at_it_or_before(
    disk: MemoryFiles, learn: Callable[[MemoryFiles], ChunkIndex]
) -> None:
    index = learn(disk)
    assert [index.position_of(key) for key in (1, 2, 3, 6, 7, 8, 99)] == [-1, -1, 0, 0, 1, 2, 2]
    assert [index.read(position) for position in range(3)] == [b"three", b"", b"eight and more"]
    assert index.keyed_bytes == 3 * 36 + len(b"three" + b"eight and more")


def test_every_flipped_bit_of_a_chunk_is_refused_when_it_is_read(disk: MemoryFiles) -> None:
    index = by_heads(disk)
    start = disk.read(CURRENT).index(b"eight") - 36
    for bit in range(8 * start, 8 * (start + 36 + len(b"eight and more"))):
        disk.flip_bit(CURRENT, bit)
        with pytest.raises(CorruptRecord) as raised:
            index.read(2)
        assert raised.value.facts["offset"] == start
        disk.flip_bit(CURRENT, bit)
    assert index.read(2) == b"eight and more"


def test_every_flipped_bit_of_a_head_is_refused_when_heads_are_read(disk: MemoryFiles) -> None:
    content = disk.read(CURRENT)
    for body in (b"state", b"three"):
        start = content.index(body) - 36
        for bit in range(8 * start, 8 * (start + 36)):
            disk.flip_bit(CURRENT, bit)
            with pytest.raises(StorageError):
                by_heads(disk)
            disk.flip_bit(CURRENT, bit)
    by_heads(disk)


@pytest.mark.parametrize(
    "chunks",
    [
        [KeyedChunk(3, b"a"), KeyedChunk(3, b"b")],
        [KeyedChunk(3, b"a"), KeyedChunk(2, b"b")],
        [KeyedChunk(3, b"a"), b"without", KeyedChunk(4, b"b")],
    ],
)
def test_keys_out_of_order_are_refused(chunks: list[Chunk]) -> None:
    disk = MemoryFiles()
    SnapshotStore(disk, FOLDER).write(META, chunks)
    opened = SnapshotStore(disk, FOLDER).load()
    assert opened is not None
    with pytest.raises(CorruptRecord, match="out of order"):
        list(opened.chunks)


def test_a_file_without_keys_has_no_such_chunk() -> None:
    disk = MemoryFiles()
    SnapshotStore(disk, FOLDER).write(META, [b"state"])
    _, index = SnapshotStore(disk, FOLDER).open_current()
    list(index.read_heads())
    assert (index.position_of(1), index.keyed_bytes) == (-1, 0)


def test_a_file_that_cannot_be_read_is_damage(disk: MemoryFiles) -> None:
    index = by_heads(disk)

    class Failing:
        descriptor = -1

        def read_at(self, offset: int, size: int) -> bytes:
            raise OSError("Input/output error")

        def close(self) -> None: ...

    vars(index)["_file"] = Failing()
    with pytest.raises(CorruptRecord, match="Input/output error"):
        index.read(0)
    with pytest.raises(CorruptRecord, match="Input/output error"):
        next(index.read_heads())
