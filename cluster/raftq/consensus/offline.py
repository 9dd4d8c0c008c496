"""What a node's files mean while no node runs: where its log leads, and how a cluster begins.

For recovering from a lost majority and for restoring a backup. Nothing here decides what was
committed: without a majority nobody can.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from raftq.consensus.payloads.store import PayloadStore
from raftq.consensus.raft.entry_versions import ENTRY_COMMAND
from raftq.core.machine import Machine
from raftq.protocol.errors import StorageError
from raftq.storage.data_dir import JOURNAL_NAME, SNAPSHOTS_NAME
from raftq.storage.entry_reader import EntryReader, JournalEntry
from raftq.storage.files import Files
from raftq.storage.log_shape import LogShape
from raftq.storage.record import corrupt
from raftq.storage.recovery import read_log
from raftq.storage.snapshots import SnapshotMeta, read_snapshot

_NO_OP: Final = bytes([1])
"""The command that PySyncObj itself puts into the log when a leader begins."""
FIRST_TERM: Final = 1
"""The term of a restored cluster's first snapshot: nobody led it, and nobody voted in it."""


@dataclass(frozen=True, slots=True)
class OfflineState:
    """Where a node's log leads if everything in it is applied, committed or not."""

    machine: Machine
    index: int
    term: int
    """Of the last entry: of several nodes, the one with the greatest (term, index) knows most."""
    snapshot_index: int
    """0 if there is no snapshot."""


def replay_folder(files: Files, path: Path) -> OfflineState:
    """Load a stopped node's snapshot and apply every entry of its log; changes nothing.

    Raises:
        CorruptRecord: The files are damaged.
        UnsupportedFormat: Another version of raftq wrote them.
        StorageError: An entry cannot be applied by this version.
    """
    loaded = read_snapshot(files, path / SNAPSHOTS_NAME)
    log = read_log(files, path / JOURNAL_NAME)
    reader = EntryReader(files, path / JOURNAL_NAME, log.shape)
    payloads = PayloadStore(lambda index: reader.read(index).command)
    machine, snapshot_index, snapshot_term = Machine(payloads), 0, 0
    if loaded is not None:
        snapshot_index, snapshot_term = loaded.meta.last_index, loaded.meta.last_term
        machine = Machine.load(loaded.chunks, payloads)
        payloads.begin_with(loaded.keyed, machine.last_sequence)
    last = (snapshot_index, snapshot_term)
    for index in indexes_after(snapshot_index, snapshot_term, log.shape, path):
        entry = reader.read(index)
        payloads.begin_entry(index)
        _apply(machine, entry)
        last = (index, entry.term)
    return OfflineState(machine, *last, snapshot_index)


def indexes_after(index: int, term: int, log: LogShape, path: Path) -> range:
    """Return the entries that continue a snapshot, by the rule by which a node starts.

    Args:
        index: Of the snapshot's last entry; 0 if there is no snapshot.
        term: Of the same entry.
        log: What the journal holds.
        path: The data folder.

    Raises:
        CorruptRecord: Entries between the two are missing.
    """
    first, last = log.first_index, log.last_index
    if not last:
        return range(0)
    if first > index + 1:
        raise corrupt(
            path / JOURNAL_NAME, 0, f"the log begins at index {first}, not at {index + 1}"
        )
    if first == index + 1:
        return range(first, last + 1)
    # A snapshot that another leader sent replaces a log that does not hold its last entry.
    is_continued = index <= last and log.place(index).term == term
    return range(index + 1, last + 1) if is_continued else range(0)


def _apply(machine: Machine, entry: JournalEntry) -> None:
    if entry.command[0] != ENTRY_COMMAND:
        return  # Of a leader's beginning, or of the members, who do not matter any more.
    rejected = machine.apply(entry.command[1:]).rejected
    if rejected is not None and rejected.code == "unsupported_version":
        raise StorageError(
            f"log entry {entry.index} was written by a newer version of raftq "
            f"({rejected.message}); use that version",
            index=entry.index,
        )


def first_snapshot(machine: Machine, index: int, members: Iterable[str]) -> SnapshotMeta:
    """Describe the snapshot with which a restored cluster begins.

    The index goes on from the backup. The last two entries, which PySyncObj wants to see, hold
    nothing: what they did is in the state, and what they said of members is void.
    """
    return SnapshotMeta(
        last_index=index,
        last_term=FIRST_TERM,
        previous_index=index - 1,
        previous_term=FIRST_TERM,
        last_command=_NO_OP,
        previous_command=_NO_OP,
        state_hash=machine.state_hash,
        members=sorted(members),
        cluster_id=machine.cluster_id,
    )
