"""Where a payload is read from, and what is refused."""

from pathlib import Path

import pytest
from google_crc32c import value as crc32c
from tests.support.machines import entry, task_id

from raftq.consensus.payloads.store import PayloadStore, dump_chunks
from raftq.consensus.raft.entry_versions import ENTRY_COMMAND
from raftq.core.machine import Machine
from raftq.core.payload_chunks import payload_chunks, payload_rows
from raftq.protocol import limits
from raftq.protocol.commands import Command, Enqueue
from raftq.protocol.errors import CorruptRecord
from raftq.protocol.options import NewTask
from raftq.storage.chunk_index import ChunkIndex
from raftq.storage.record_chain import KeyedChunk
from raftq.storage.snapshots import SnapshotMeta, SnapshotStore
from raftq.testing.memory_files import MemoryFiles

FOLDER = Path("/snapshots")
META = SnapshotMeta(9, 1, 8, 1, b"", b"", "", ["n1"], None)


class Log:
    """A log that counts how often it is read, and a machine with its store."""

    def __init__(self) -> None:
        self.entries: dict[int, bytes] = {}
        self.reads: list[int] = []
        self.store = PayloadStore(self.command_at)
        self.machine = Machine(self.store)

    def command_at(self, index: int) -> bytes:
        self.reads.append(index)
        return self.entries[index]

    def apply(self, index: int, *commands: Command) -> None:
        raw = entry(*commands)
        self.entries[index] = bytes([ENTRY_COMMAND]) + raw
        self.store.begin_entry(index)
        self.machine.apply(raw)

    def enqueue(self, index: int, *numbers: int) -> None:
        tasks = [NewTask(task_id(number), b"payload %d" % number) for number in numbers]
        self.apply(index, Enqueue("q", tasks))

    def payload(self, sequence: int, number: int, payload: bytes | None = None) -> bytes:
        wanted = b"payload %d" % number if payload is None else payload
        return self.store.payload(sequence, task_id(number), crc32c(wanted))


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def without_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAYLOAD_CACHE_BYTES", 0)


def snapshot(files: MemoryFiles, rows: dict[int, bytes]) -> ChunkIndex:
    """Return a snapshot that holds payloads, taken into use."""
    store = SnapshotStore(files, FOLDER)
    store.write(META, [KeyedChunk(*each) for each in payload_chunks(rows.items())])
    _, index = store.open_current()
    for _ in index.read_heads():
        pass
    return index


def test_a_short_queue_is_served_from_memory(log: Log) -> None:
    log.enqueue(3, 1, 2)
    assert [log.payload(1, 1), log.payload(2, 2)] == [b"payload 1", b"payload 2"]
    assert log.reads == []


@pytest.mark.usefixtures("without_cache")
def test_an_entry_is_read_once_for_all_its_tasks(log: Log) -> None:
    log.enqueue(3, 1, 2)
    log.enqueue(5, 3)
    assert [log.payload(number, number) for number in (1, 2, 3, 3)] == [
        b"payload 1", b"payload 2", b"payload 3", b"payload 3"
    ]  # fmt: skip
    assert log.reads == [3, 5]


def test_memory_is_bounded_by_bytes(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAYLOAD_CACHE_BYTES", 2_000)
    for index in range(1, 101):
        log.enqueue(index, index)
    for sequence in range(100, 0, -1):
        assert log.payload(sequence, sequence) == b"payload %d" % sequence
    assert 90 <= len(log.reads) <= 97


@pytest.mark.usefixtures("without_cache")
def test_entries_that_make_no_task_are_not_noted(log: Log) -> None:
    log.enqueue(3, 1)
    log.enqueue(4, 1)
    log.enqueue(5, 2)
    assert log.payload(1, 1) == b"payload 1"
    assert log.reads == [3]


@pytest.mark.usefixtures("without_cache")
def test_of_two_commands_with_one_id_in_an_entry_the_accepted_one_counts(log: Log) -> None:
    log.enqueue(1, 7)
    refused = Enqueue("q", [NewTask(task_id(8), b"refused"), NewTask(task_id(7), b"other")])
    accepted = Enqueue("q", [NewTask(task_id(8), b"accepted")])
    late = Enqueue("q", [NewTask(task_id(8), b"too late")])
    log.apply(2, refused, accepted, late)
    assert log.payload(2, 8, b"accepted") == b"accepted"


@pytest.mark.usefixtures("without_cache")
def test_a_payload_with_another_checksum_is_refused(log: Log) -> None:
    log.enqueue(1, 1)
    log.entries[1] = bytes([ENTRY_COMMAND]) + entry(
        Enqueue("q", [NewTask(task_id(1), b"something else")])
    )
    with pytest.raises(CorruptRecord, match=task_id(1).hex()):
        log.payload(1, 1)


@pytest.mark.usefixtures("without_cache")
def test_a_payload_that_is_nowhere_is_damage(log: Log) -> None:
    with pytest.raises(CorruptRecord, match="is not there"):
        log.payload(1, 1)
    log.enqueue(1, 1, 2)
    log.store.change_to(snapshot(MemoryFiles(), {2: b"payload 2"}), 2)
    assert log.payload(2, 2) == b"payload 2"
    with pytest.raises(CorruptRecord, match="is not there"):
        log.payload(1, 1)


@pytest.mark.usefixtures("without_cache")
def test_what_a_snapshot_covers_is_read_from_it_and_the_rest_from_the_log(log: Log) -> None:
    log.enqueue(1, 1, 2)
    log.enqueue(2, 3)
    log.store.change_to(snapshot(MemoryFiles(), {1: b"payload 1", 2: b"payload 2"}), 2)
    assert [log.payload(n, n) for n in (1, 2, 3)] == [b"payload 1", b"payload 2", b"payload 3"]
    assert log.reads == [2]


@pytest.mark.usefixtures("without_cache")
def test_blocks_of_the_snapshot_before_are_not_used(log: Log) -> None:
    log.enqueue(1, 1)
    log.enqueue(2, 2)
    log.store.change_to(snapshot(MemoryFiles(), {1: b"payload 1"}), 1)
    assert log.payload(1, 1) == b"payload 1"
    log.store.change_to(snapshot(MemoryFiles(), {2: b"payload 2"}), 2)
    assert log.payload(2, 2) == b"payload 2"


@pytest.mark.usefixtures("without_cache")
def test_a_snapshot_stays_readable_when_another_takes_its_name(log: Log) -> None:
    files = MemoryFiles()
    log.enqueue(1, 1)
    log.store.change_to(snapshot(files, {1: b"payload 1"}), 1)
    snapshot(files, {5: b"of another one"})
    assert log.payload(1, 1) == b"payload 1"


@pytest.mark.usefixtures("without_cache")
def test_a_machine_is_dumped_and_loaded_without_holding_payloads(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAYLOAD_CHUNK_BYTES", 20)
    log.enqueue(1, *range(1, 8))
    log.apply(2, Enqueue("q", [NewTask(task_id(50), b"")]))
    files = MemoryFiles()
    store = SnapshotStore(files, FOLDER)
    store.write(META, dump_chunks(log.machine))
    opened = store.load()
    assert opened is not None
    loaded = PayloadStore(lambda index: pytest.fail(f"entry {index} was read"))
    machine = Machine.load(opened.chunks, loaded)
    loaded.begin_with(opened.keyed, machine.last_sequence)
    assert not loaded.is_of_old_snapshot
    assert machine.content_hash() == log.machine.content_hash()
    assert loaded.payload(7, task_id(7), crc32c(b"payload 7")) == b"payload 7"
    assert loaded.snapshot_bytes > 7 * len(b"payload 1")


def test_payload_chunks_end_when_they_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAYLOAD_CHUNK_BYTES", 10)
    rows = {3: b"123456", 4: b"1234", 90: b"", 300: bytes(50), 301: b"x"}
    chunks = list(payload_chunks(rows.items()))
    assert [key for key, _ in chunks] == [3, 90, 301]
    assert [payload_rows(chunk) for _, chunk in chunks] == [
        {3: b"123456", 4: b"1234"},
        {90: b"", 300: bytes(50)},
        {301: b"x"},
    ]
