"""The final state of a node, read from the data folder that it left behind."""

from pathlib import Path
from typing import Final

from google_crc32c import value as crc32c

from raftq.consensus.raft.engine import ENTRY_COMMAND
from raftq.core.machine import Machine
from raftq.storage.data_dir import JOURNAL_NAME, SNAPSHOTS_NAME
from raftq.storage.files import RealFiles
from raftq.storage.recovery import JournalEntry, recover
from raftq.storage.snapshots import SnapshotStore
from raftq.testing.chaos.records import now_ms
from raftq.testing.facts import ClusterFacts, LogSeen

_ENTRY: Final = bytes([ENTRY_COMMAND])


def keep_final_state(facts: ClusterFacts, node: str, folder: Path, applied_index: int) -> None:
    """Record the machine and the log of a node that has stopped.

    Args:
        facts: Where they are recorded.
        node: The node's id.
        folder: Its data folder.
        applied_index: Entries after this one are not applied: they may not be committed.

    Raises:
        StorageError: The folder does not hold what the node had promised.
    """
    files = RealFiles()
    snapshot = SnapshotStore(files, folder / SNAPSHOTS_NAME).load()
    log, _ = recover(files, folder / JOURNAL_NAME)
    machine, index = Machine(), 0
    if snapshot is not None:
        meta, chunks = snapshot
        machine, index = Machine.load(chunks), meta.last_index
    for entry in log.entries:
        if index < entry.index <= applied_index:
            assert entry.index == index + 1, f"{node}: the log goes from {index} to {entry.index}"
            index = entry.index
            if entry.command.startswith(_ENTRY):
                machine.apply(entry.command[1:])
    facts.keep_machine(node, index, machine)
    if log.entries:
        facts.events.append(_log_seen(node, log.entries))


def _log_seen(node: str, entries: list[JournalEntry]) -> LogSeen:
    return LogSeen(
        now_ms(),
        node,
        entries[0].index,
        [entry.term for entry in entries],
        [crc32c(entry.command) for entry in entries],
    )
