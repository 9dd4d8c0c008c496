"""A snapshot is whole and verified, or it is not there."""

import errno
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from tests.support.snapshots import load_all
from tests.unit.storage.crash_search import (
    Check,
    Killed,
    call_sites,
    kill_at_folder_sync,
    search,
    until_power_cut,
)

from raftq.protocol import limits
from raftq.protocol.errors import CorruptRecord, StorageError, SyncFailed, UnsupportedFormat
from raftq.protocol.versions import SNAPSHOT_FORMAT_VERSION, SNAPSHOT_FORMATS_READABLE
from raftq.storage.record import (
    FILE_HEADER,
    SNAPSHOT_CHUNK,
    SNAPSHOT_END,
    SNAPSHOT_META,
    checksum_of,
    encode_record,
)
from raftq.storage.snapshots import SnapshotMeta, SnapshotStore
from raftq.testing.memory_files import Keep, MemoryFiles

FOLDER = Path("/data/snapshots")
CURRENT = FOLDER / "current.snapshot"
PREVIOUS = FOLDER / "previous.snapshot"
SYNCS = {
    "write_temporary.sync": "the new content",
    "sync_file.sync": "a received file",
    "_make_current.sync_folder": "its name",
    "__init__.sync_folder": "a name that a killed process left behind",
}
SYNCS_OF_A_RENAMED_FILE = {
    "sync_file.sync": "its content",
    "make_durable.sync_folder": "its name",
}


def _meta(index: int) -> SnapshotMeta:
    return SnapshotMeta(index, 3, index - 1, 2, b"last", b"previous", "hash", ["n1", "n2"], "c")


def _chunks(index: int) -> list[bytes]:
    return [b"%d" % index, b"", b"chunk"]


def _last_index(disk: MemoryFiles) -> int:
    """Return what the current snapshot covers, every byte of it checked; 0 if there is none."""
    store = SnapshotStore(disk, FOLDER)
    loaded = load_all(store)
    meta = store.read_meta()
    if loaded is None:
        assert meta is None
        return 0
    assert loaded == (meta, _chunks(loaded[0].last_index))
    return loaded[0].last_index


def _write_receive_and_be_killed(disk: MemoryFiles) -> Check:
    newest = durable = 0

    def run() -> None:
        nonlocal newest, durable
        store = SnapshotStore(disk, FOLDER)
        for newest in (10, 20):
            store.write(_meta(newest), _chunks(newest))
            durable = newest
        newest = 30
        store.adopt(_receive(disk, 30))
        durable = newest
        newest = 40
        with kill_at_folder_sync(disk), suppress(Killed):
            store.write(_meta(40), _chunks(40))
        durable = _last_index(disk)  # The log may be cut to it from now on.

    until_power_cut(run)

    def check(after: MemoryFiles) -> None:
        assert durable <= _last_index(after) <= newest
        SnapshotStore(after, FOLDER).write(_meta(50), _chunks(50))
        assert _last_index(after) == 50

    return check


def _receive(disk: MemoryFiles, index: int) -> Path:
    """Place a received snapshot in the folder, as the network leaves it: not synced."""
    received = FOLDER / "current.snapshot.received"
    disk.open_append(received).write(_snapshot(index))
    return received


def _rename_and_make_durable(disk: MemoryFiles) -> Check:
    durable = 0

    def run() -> None:
        nonlocal durable
        store = SnapshotStore(disk, FOLDER)
        disk.rename(_receive(disk, 10), CURRENT)
        store.make_durable()
        durable = 10

    def check(after: MemoryFiles) -> None:
        if durable:
            assert _last_index(after) == durable

    until_power_cut(run)
    return check


def _snapshot(index: int) -> bytes:
    disk = MemoryFiles()
    SnapshotStore(disk, FOLDER).write(_meta(index), _chunks(index))
    return disk.read(CURRENT)


def test_a_power_cut_at_any_byte_leaves_a_whole_snapshot_not_older_than_the_durable_one() -> None:
    assert search(_write_receive_and_be_killed, outcomes=3) is None


def test_every_sync_of_snapshots_is_listed() -> None:
    assert call_sites(_write_receive_and_be_killed) == SYNCS.keys()


@pytest.mark.parametrize("site", SYNCS)
def test_a_missing_sync_is_caught(site: str) -> None:
    assert search(_write_receive_and_be_killed, outcomes=6, lie=site) is not None


def test_a_file_that_was_renamed_onto_the_current_one_can_be_made_durable() -> None:
    assert search(_rename_and_make_durable) is None
    assert call_sites(_rename_and_make_durable) >= SYNCS_OF_A_RENAMED_FILE.keys()


@pytest.mark.parametrize("site", SYNCS_OF_A_RENAMED_FILE)
def test_a_missing_sync_of_a_renamed_file_is_caught(site: str) -> None:
    assert search(_rename_and_make_durable, outcomes=20, lie=site) is not None


def test_a_damaged_received_snapshot_does_not_replace_the_current_one() -> None:
    disk = MemoryFiles()
    store = SnapshotStore(disk, FOLDER)
    store.write(_meta(10), _chunks(10))
    received = _receive(disk, 20)
    disk.flip_bit(received, 900)
    with pytest.raises(CorruptRecord):
        store.adopt(received)
    assert _last_index(disk) == 10


def test_without_a_snapshot_there_is_nothing_to_load() -> None:
    assert _last_index(MemoryFiles()) == 0


def test_only_the_newest_snapshot_takes_room() -> None:
    disk = MemoryFiles()
    store = SnapshotStore(disk, FOLDER)
    for index in (10, 20, 30):
        store.write(_meta(index), _chunks(index))
    assert disk.names(FOLDER) == [CURRENT.name]
    assert disk.read(CURRENT) == _snapshot(30)


@pytest.mark.parametrize("has_current", [True, False])
def test_the_snapshot_before_of_an_older_version_is_removed_or_is_the_only_one(
    has_current: bool,
) -> None:
    disk = MemoryFiles()
    disk.put(PREVIOUS, _snapshot(10))
    if has_current:
        disk.put(CURRENT, _snapshot(20))
    assert _last_index(disk) == (20 if has_current else 10)
    assert disk.crash(Keep.NOTHING).names(FOLDER) == [CURRENT.name]


def test_chunks_larger_than_the_read_window_come_back_whole() -> None:
    disk = MemoryFiles()
    chunks = [b"a" * 5_000_000, b"", b"b" * 3, b"c" * 4_194_304]
    store = SnapshotStore(disk, FOLDER)
    store.write(_meta(10), iter(chunks))
    assert load_all(store) == (_meta(10), chunks)


def test_leftovers_of_interrupted_writes_are_removed() -> None:
    disk = MemoryFiles()
    for name in ("current.snapshot.new", "current.snapshot.1.tmp"):
        disk.put(FOLDER / name, b"half")
    SnapshotStore(disk, FOLDER)
    assert disk.crash(Keep.NOTHING).names(FOLDER) == []


def test_a_write_that_failed_halfway_does_not_spoil_the_next() -> None:
    disk = MemoryFiles()
    store = SnapshotStore(disk, FOLDER)
    store.write(_meta(10), _chunks(10))
    disk.capacity_bytes = disk.used_bytes() + 50
    with pytest.raises(OSError, match="No space left"):
        store.write(_meta(20), _chunks(20))
    assert store.read_meta() == _meta(10)
    assert disk.names(FOLDER) == [CURRENT.name], "what was written of it fills the disk no longer"
    disk.capacity_bytes = None
    store.write(_meta(20), _chunks(20))
    assert _last_index(disk) == 20


def test_a_snapshot_leaves_room_for_the_journal() -> None:
    disk = MemoryFiles()
    free_bytes = limits.JOURNAL_RESERVE_BYTES
    store = SnapshotStore(disk, FOLDER, lambda: free_bytes)
    store.write(_meta(10), _chunks(10))
    free_bytes -= 1
    with pytest.raises(OSError, match="No space left"):
        store.write(_meta(20), _chunks(20))
    assert (disk.names(FOLDER), _last_index(disk)) == ([CURRENT.name], 10)


def test_a_newer_snapshot_that_arrived_meanwhile_is_not_replaced() -> None:
    disk = MemoryFiles()
    store = SnapshotStore(disk, FOLDER)

    def chunks() -> Iterator[bytes]:
        disk.put(CURRENT, _snapshot(30))
        yield from _chunks(20)

    store.write(_meta(20), chunks())
    assert _last_index(disk) == 30
    assert disk.names(FOLDER) == [CURRENT.name]


def test_a_good_snapshot_replaces_a_damaged_one() -> None:
    disk = MemoryFiles()
    disk.put(CURRENT, b"damaged")
    SnapshotStore(disk, FOLDER).write(_meta(10), _chunks(10))
    assert _last_index(disk) == 10


def test_a_snapshot_that_reads_back_wrong_never_becomes_current() -> None:
    disk = MemoryFiles()
    store = SnapshotStore(disk, FOLDER)
    store.write(_meta(10), _chunks(10))
    # The disk takes the bytes, then returns others.
    disk.before_sync = lambda path: disk.flip_bit(path, 500) if path.suffix == ".new" else None
    with pytest.raises(CorruptRecord):
        store.write(_meta(20), _chunks(20))
    disk.before_sync = lambda _: None
    assert _last_index(disk) == 10


def test_every_flipped_bit_is_refused() -> None:
    disk = MemoryFiles()
    disk.put(CURRENT, _snapshot(10))
    store = SnapshotStore(disk, FOLDER)
    for bit in range(8 * len(disk.read(CURRENT))):
        disk.flip_bit(CURRENT, bit)
        with pytest.raises(StorageError):
            load_all(store)
        disk.flip_bit(CURRENT, bit)
    assert _last_index(disk) == 10


def test_every_shortened_or_prolonged_file_is_refused_with_its_path() -> None:
    disk = MemoryFiles()
    whole = _snapshot(10)
    for damaged in (*(whole[:size] for size in range(len(whole))), whole + b"\0"):
        disk.put(CURRENT, damaged)
        with pytest.raises(CorruptRecord) as caught:
            load_all(SnapshotStore(disk, FOLDER))
        assert caught.value.facts["path"] == str(CURRENT)


def test_an_end_that_counts_other_chunks_is_refused() -> None:
    header = encode_record(0, FILE_HEADER, 0, SNAPSHOT_FORMAT_VERSION)
    body = msgspec.msgpack.encode(_meta(10))
    meta = encode_record(checksum_of(header), SNAPSHOT_META, 10, 3, body=body)
    chunk = encode_record(checksum_of(meta), SNAPSHOT_CHUNK, 1, 0, body=b"chunk")
    disk = MemoryFiles()
    for count in (1, 2):
        end = encode_record(checksum_of(chunk), SNAPSHOT_END, count, 0)
        disk.put(CURRENT, header + meta + chunk + end)
        if count == 1:
            assert load_all(SnapshotStore(disk, FOLDER)) == (_meta(10), [b"chunk"])
            continue
        with pytest.raises(CorruptRecord, match="does not end where it should"):
            load_all(SnapshotStore(disk, FOLDER))


def test_missing_doubled_or_exchanged_chunks_are_refused() -> None:
    disk = MemoryFiles()
    whole = _snapshot(10)
    starts = [i for i in range(len(whole)) if whole.startswith(SNAPSHOT_CHUNK, i)]
    end = whole.index(SNAPSHOT_END)
    first, second, third = (whole[a:b] for a, b in zip(starts, [*starts[1:], end], strict=True))
    for chunks in ([first, second], [second, third], [first, first, third], [second, first, third]):
        disk.put(CURRENT, whole[: starts[0]] + b"".join(chunks) + whole[end:])
        with pytest.raises(CorruptRecord):
            load_all(SnapshotStore(disk, FOLDER))


def test_a_damaged_beginning_is_reported_when_only_the_meta_is_read() -> None:
    disk = MemoryFiles()
    disk.put(CURRENT, _snapshot(10))
    disk.flip_bit(CURRENT, 400)
    with pytest.raises(CorruptRecord):
        SnapshotStore(disk, FOLDER).read_meta()


@pytest.mark.parametrize(
    ("version", "body", "error"),
    [
        (max(SNAPSHOT_FORMATS_READABLE) + 1, b"", UnsupportedFormat),
        (SNAPSHOT_FORMAT_VERSION, b"?", CorruptRecord),
    ],
)
def test_an_unknown_version_or_description_is_refused(
    version: int, body: bytes, error: type[StorageError]
) -> None:
    disk = MemoryFiles()
    header = encode_record(0, FILE_HEADER, 0, version)
    disk.put(CURRENT, header + encode_record(checksum_of(header), SNAPSHOT_META, 1, 1, 0, body))
    with pytest.raises(error):
        SnapshotStore(disk, FOLDER).read_meta()


@pytest.mark.parametrize("tag", [SNAPSHOT_META, FILE_HEADER])
def test_a_file_that_begins_otherwise_is_refused(tag: bytes) -> None:
    disk = MemoryFiles()
    first = encode_record(0, tag, 0, SNAPSHOT_FORMAT_VERSION)
    disk.put(CURRENT, first + encode_record(checksum_of(first), SNAPSHOT_CHUNK, 1, 0))
    with pytest.raises(CorruptRecord, match=r"no snapshot|no description"):
        load_all(SnapshotStore(disk, FOLDER))


def test_a_received_file_that_cannot_be_synced_stops_the_node() -> None:
    disk = MemoryFiles()
    disk.put(CURRENT, _snapshot(10))
    store = SnapshotStore(disk, FOLDER)

    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    disk.before_sync = fail
    with pytest.raises(SyncFailed, match="Input/output error"):
        store.make_durable()
    with pytest.raises(SyncFailed, match="Input/output error"):
        store.adopt(_receive(disk, 20))
    assert store.read_meta() == _meta(10)
