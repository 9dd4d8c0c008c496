"""What PySyncObj must not do once a node met an entry that it cannot apply."""

from pathlib import Path

import pytest
from tests.support.raft_pieces import open_log

from raftq.consensus.raft.engine import Engine
from raftq.consensus.raft.engine_seams import SNAPSHOT_IDLE
from raftq.consensus.raft.stored_entry import LogEntry
from raftq.protocol.errors import StorageError
from raftq.storage.journal import JournalEntry
from raftq.testing.memory_files import MemoryFiles


class Snapshots:
    """Records what is asked for."""

    path = Path("/nowhere/current.snapshot")

    def __init__(self) -> None:
        self.begun: list[int] = []

    def begin(self, last: LogEntry, previous: LogEntry) -> None:
        self.begun.append(last.index)

    def poll(self) -> int:
        return int(SNAPSHOT_IDLE)

    def cancel(self) -> None:
        raise AssertionError("nothing is received")

    def adopt(self, received: Path) -> None:
        raise AssertionError("nothing is received")

    def load(self) -> tuple[JournalEntry, JournalEntry]:
        raise AssertionError("there is none")


class Alone:
    """An engine of a cluster of one, which leads; it cannot apply an entry `newer`."""

    def __init__(self) -> None:
        self.applied: list[bytes] = []
        self.snapshots = Snapshots()
        self.engine = Engine(
            "n1",
            [],
            open_log(MemoryFiles(), sync_each=True),
            self.apply,
            self.snapshots,
            heartbeat=0.1,
            fallback=1.0,
            on_state=lambda: None,
        )
        self.engine.start_election()
        for _ in range(3):
            self.engine.tick()
        assert self.engine.is_leader

    def apply(self, index: int, entry: bytes) -> object:
        if entry == b"newer":
            raise StorageError(f"entry {index} is of a newer version")
        self.applied.append(entry)
        return None

    def propose(self, *entries: bytes) -> None:
        for entry in entries:
            self.engine.propose(entry, lambda result, is_committed: None)


def test_no_entry_after_it_is_applied() -> None:
    alone = Alone()
    alone.propose(b"one", b"newer", b"two")
    with pytest.raises(StorageError, match="newer"):
        alone.engine.tick()
    assert alone.applied == [b"one"]


def test_no_snapshot_says_that_it_was_applied() -> None:
    alone = Alone()
    alone.propose(b"one")
    alone.engine.tick()
    alone.engine.request_snapshot()
    alone.propose(b"newer")
    with pytest.raises(StorageError, match="newer"):
        alone.engine.tick()
    assert alone.snapshots.begun == []


def test_a_snapshot_is_begun_otherwise() -> None:
    alone = Alone()
    alone.engine.request_snapshot()
    alone.propose(b"one")
    alone.engine.tick()
    assert alone.snapshots.begun == [alone.engine.applied_index]
