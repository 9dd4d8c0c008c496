"""What the engine needs of others: where its messages go, how snapshots are written and read."""

from pathlib import Path
from typing import Final, Protocol

from pysyncobj.config import SERIALIZER_STATE

from raftq.consensus.peers.messages import RaftMessage
from raftq.consensus.raft.stored_entry import LogEntry
from raftq.storage.journal import JournalEntry

SNAPSHOT_IDLE: Final = SERIALIZER_STATE.NOT_SERIALIZING
SNAPSHOT_WRITING: Final = SERIALIZER_STATE.SERIALIZING
SNAPSHOT_WRITTEN: Final = SERIALIZER_STATE.SUCCESS
SNAPSHOT_FAILED: Final = SERIALIZER_STATE.FAILED


class Outbox(Protocol):
    """Where PySyncObj's messages go: through the guard to the wire."""

    def outgoing(self, peer: str, message: RaftMessage) -> None: ...
    def snapshot_chunk(self, peer: str, term: int, chunk: tuple[bytes, bool, bool]) -> None:
        """Send a chunk `(data, is_first, is_last)` of the current snapshot."""
        ...

    def pause(self, peer: str) -> None:
        """Stop offering entries to a peer for a moment."""
        ...


class SnapshotHooks(Protocol):
    """How snapshots are written and read; see `snapshotter.py`."""

    path: Path

    def begin(self, last: LogEntry, previous: LogEntry) -> None:
        """Start writing a snapshot of the machine as it is now."""
        ...

    def poll(self) -> int:
        """Return one of the states above, which are PySyncObj's SERIALIZER_STATE values."""
        ...

    def cancel(self) -> None:
        """Give up the snapshot being written, because a received one replaces it."""
        ...

    def adopt(self, received: Path) -> None:
        """Check a received file, make it durable and put it in place of the one at `path`."""
        ...

    def load(self) -> tuple[JournalEntry, JournalEntry]:
        """Load the snapshot at `path` into the machine; return its last and previous entry."""
        ...
