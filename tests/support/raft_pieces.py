"""Small pieces of a consensus stack for tests of one part of it."""

from pathlib import Path

from raftq.consensus.peers.messages import RaftMessage
from raftq.consensus.raft.raft_log import RaftLog
from raftq.storage.journal import Journal
from raftq.storage.snapshots import SnapshotMeta
from raftq.storage.vote import VoteFile
from raftq.testing.memory_files import MemoryFiles

JOURNAL = Path("/journal")
VOTE = Path("/vote")


def open_log(
    files: MemoryFiles, snapshot: SnapshotMeta | None = None, *, sync_each: bool = False
) -> RaftLog:
    """Open the log on a disk in memory."""
    return RaftLog(
        Journal.open(files, JOURNAL), VoteFile.open(files, VOTE), snapshot, sync_each=sync_each
    )


def sync(log: RaftLog) -> None:
    """Make everything that was written durable."""
    while (job := log.journal.begin_sync()) is not None:
        job.run()
        log.journal.finish_sync(job)


class RecordingRaft:
    """PySyncObj as the guard sees it: settable facts, recorded orders."""

    def __init__(self) -> None:
        self.term = 5
        self.commit_index = 0
        self.is_leader = False
        self.delivered: list[RaftMessage] = []
        self.heartbeats: list[tuple[str, int, int]] = []
        self.next_indexes: list[tuple[str, int]] = []
        self.touched: list[str] = []

    def deliver(self, peer: str, message: RaftMessage) -> None:
        self.delivered.append(message)

    def heartbeat(self, peer: str, term: int, commit_index: int) -> None:
        self.heartbeats.append((peer, term, commit_index))

    def set_next_index(self, peer: str, next_index: int) -> None:
        self.next_indexes.append((peer, next_index))

    def touch(self, peer: str) -> None:
        self.touched.append(peer)


class RecordingWire:
    """Where the guard's messages leave."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, RaftMessage]] = []

    def send(self, peer: str, message: RaftMessage) -> None:
        self.sent.append((peer, message))
