"""Mutations of the disk: each sync, the vote file, and what is done about damage."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from raftq.consensus.raft.engine import Engine
from raftq.consensus.raft.raft_log import RaftLog
from raftq.consensus.snapshotter import Snapshotter
from raftq.storage import journal as journal_module
from raftq.storage import record as record_module
from raftq.storage import segment as segment_module
from raftq.storage.journal import JournalEntry
from raftq.storage.snapshots import SnapshotMeta, SnapshotStore
from raftq.storage.sync_job import SyncJob
from raftq.storage.vote import VoteFile
from raftq.testing.sim.disk import SimDisk
from raftq.testing.sim.mutations.mutation import Inside, Mutation
from raftq.testing.sim.patching import Patch, original


def _lying(lies: Callable[[Path], bool]) -> Callable[[], list[Patch]]:
    """Return the patches of a disk whose syncs of some paths do nothing."""
    return lambda: [(SimDisk, "lies_about", staticmethod(lies))]


def _vote_file() -> list[Patch]:
    def store(self: Inside, term: int, voted_for: str | None) -> None:
        self.term, self.voted_for = term, voted_for

    return [(VoteFile, "store", store)]


def _log_reconcile() -> list[Patch]:
    reconcile = cast("Callable[[Inside, SnapshotMeta], None]", original(RaftLog, "_reconcile"))

    def clear(self: Inside, snapshot: SnapshotMeta) -> None:
        """Do as PySyncObj: what does not begin with the snapshot is thrown away."""
        if self.journal.first_index != snapshot.previous_index:
            self.journal.reset()
        reconcile(self, snapshot)

    return [(RaftLog, "_reconcile", clear)]


def _sync_failure() -> list[Patch]:
    run = cast("Callable[[Inside], None]", original(SyncJob, "run"))

    def retry(self: Inside) -> None:
        try:
            run(self)
        except Exception:
            self.failure = None
            run(self)

    return [(SyncJob, "run", retry)]


def _snapshot_cancel() -> list[Patch]:
    def cancel(self: Inside) -> None:
        """Let the child go on."""

    def is_newer(self: Inside, meta: SnapshotMeta) -> bool:
        return False

    return [(Snapshotter, "cancel", cancel), (SnapshotStore, "_is_newer", is_newer)]


def _snapshot_before_cut() -> list[Patch]:
    def take_over(self: Inside, _meta: SnapshotMeta) -> bool:
        return True

    return [(Snapshotter, "_take_over", take_over)]


def _snapshot_damage() -> list[Patch]:
    def deserialize(self: Inside, _path: str) -> tuple[JournalEntry, JournalEntry, list[object]]:
        last, previous = self._snapshots.load()
        return last, previous, []

    return [(Engine, "_deserialize", deserialize)]


def _checksums() -> list[Patch]:
    def constant(_seed: int, _data: bytes) -> int:
        return 0

    return [(module, "crc32c", constant) for module in (record_module, journal_module)]


def _torn_end() -> list[Patch]:
    def never(_data: bytes, _offset: int, _seed: int) -> bool:
        return False

    return [(segment_module, "was_synced", never)]


_POWER: Final = ("blackout", "power-loss", "mixed")
MUTATIONS: Final[dict[str, Mutation]] = {
    "journal-sync": Mutation(
        "the journal's entries are not synced",
        _lying(lambda path: path.suffix == ".segment"),
        _POWER,
    ),
    "journal-folder-sync": Mutation(
        "the names of segments are not synced",
        _lying(lambda path: path.name == "journal"),
        _POWER,
    ),
    "vote-sync": Mutation(
        "the vote file's bytes are not synced",
        _lying(lambda path: path.name == "vote.new"),
        ("usurpers", *_POWER),
    ),
    "vote-folder-sync": Mutation(
        "the vote file's name is not synced",
        _lying(lambda path: path.parent == Path("/") and path.suffix == ""),
        ("usurpers", *_POWER),
    ),
    "snapshot-sync": Mutation(
        "a snapshot's bytes are not synced",
        _lying(lambda path: path.name == "current.snapshot.new"),
        ("lagging-power", *_POWER),
    ),
    "snapshot-received-sync": Mutation(
        "a received snapshot's bytes are not synced",
        _lying(lambda path: path.name == "current.snapshot.1.tmp"),
        ("received-power", "lagging-power"),
    ),
    "snapshot-folder-sync": Mutation(
        "a snapshot's name is not synced",
        _lying(lambda path: path.name == "snapshots"),
        ("lagging-power", *_POWER),
    ),
    "vote-file": Mutation("term and vote are kept in memory only", _vote_file, ("crashes",)),
    "log-reconcile": Mutation(
        "a log that does not begin with the snapshot is thrown away at the start",
        _log_reconcile,
        ("lagging", "crashes", "mixed"),
    ),
    "sync-failure": Mutation(
        "a failed sync is tried again, and believed", _sync_failure, ("failed-sync",)
    ),
    "snapshot-cancel": Mutation(
        "an older snapshot may be renamed over a received one",
        _snapshot_cancel,
        ("slow-snapshots",),
    ),
    "snapshot-before-cut": Mutation(
        "the log is cut before the snapshot is durable",
        _snapshot_before_cut,
        ("lagging", "crashes", "mixed"),
    ),
    "snapshot-damage": Mutation(
        "a damaged snapshot is ignored, and the node goes on empty", _snapshot_damage, ("bit-rot",)
    ),
    "checksums": Mutation("damaged records are believed", _checksums, ("bit-rot", "blackout")),
    "torn-end": Mutation(
        "damage to the newest segment is taken for a torn end", _torn_end, ("rot-in-majority",)
    ),
}
