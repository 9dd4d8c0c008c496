"""The final state of a node, read from the data folder that it left behind."""

from pathlib import Path
from typing import Final

from google_crc32c import value as crc32c

from raftq.consensus.payloads.store import PayloadStore
from raftq.consensus.raft.entry_versions import ENTRY_COMMAND
from raftq.core.machine import Machine
from raftq.storage.data_dir import JOURNAL_NAME, SNAPSHOTS_NAME
from raftq.storage.entry_reader import EntryReader
from raftq.storage.files import RealFiles
from raftq.storage.recovery import read_entries, recover
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
    reader = EntryReader(files, folder / JOURNAL_NAME, log.shape)
    payloads = PayloadStore(lambda index: reader.read(index).command)
    machine, index = Machine(payloads), 0
    if snapshot is not None:
        machine, index = Machine.load(snapshot.chunks, payloads), snapshot.meta.last_index
        payloads.begin_with(snapshot.keyed, machine.last_sequence)
    seen: list[tuple[int, int, int]] = []
    for entry in read_entries(files, folder / JOURNAL_NAME, log):
        seen.append((entry.index, entry.term, crc32c(entry.command)))
        if index < entry.index <= applied_index:
            assert entry.index == index + 1, f"{node}: the log goes from {index} to {entry.index}"
            index = entry.index
            payloads.begin_entry(index)
            if entry.command.startswith(_ENTRY):
                machine.apply(entry.command[1:])
    facts.keep_machine(node, index, machine)
    payloads.close()
    reader.close()
    if seen:
        terms, crcs = [term for _, term, _ in seen], [crc for _, _, crc in seen]
        facts.events.append(LogSeen(now_ms(), node, seen[0][0], terms, crcs))
