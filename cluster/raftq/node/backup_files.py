"""Backup files as what they mean: the machine in them, and a report for people and programs."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from raftq.consensus.payloads.store import PayloadStore
from raftq.core.machine import Machine
from raftq.protocol.errors import CorruptRecord
from raftq.storage.backups import BackupMeta, read_backup
from raftq.storage.files import Files

Print = Callable[[str], None]


def load_backup(files: Files, path: Path) -> tuple[BackupMeta, Machine]:
    """Return what a backup describes and its machine, every bit and every count of it checked.

    Raises:
        CorruptRecord: Something is wrong.
        UnsupportedFormat: Another version of raftq wrote it.
        OSError: It cannot be read.
    """
    meta, chunks, index = read_backup(files, path)
    payloads = PayloadStore(_no_entry)
    machine = Machine.load(chunks, payloads)
    payloads.begin_with(index, machine.last_sequence)
    for _ in machine.dump_keyed():
        pass  # Reads every payload.
    try:
        machine.check_invariants()
    except AssertionError as error:
        raise _wrong(path, str(error)) from None
    found = (machine.state_hash, machine.cluster_id)
    if found != (meta.state_hash, meta.cluster_id):
        raise _wrong(path, f"it describes {meta.state_hash} of {meta.cluster_id} and holds {found}")
    return meta, machine


def _no_entry(index: int) -> bytes:
    raise AssertionError(f"a backup has no log entry {index}")


def _wrong(path: Path, what: str) -> CorruptRecord:
    return CorruptRecord(
        f"{path} was not written as it should be: {what}; use another backup", path=str(path)
    )


def queue_counts(machine: Machine) -> dict[str, dict[str, int]]:
    """Return the tasks of each queue by state, without zeros."""
    return {
        name: {state: count for state, count in machine.queue(name).counts.items() if count}
        for name in machine.queues()
    }


def facts_of(meta: BackupMeta, machine: Machine) -> dict[str, object]:
    """Return a report on a backup."""
    return {**msgspec.structs.asdict(meta), "queues": queue_counts(machine)}


def print_facts(facts: Mapping[str, object], *, as_json: bool, output: Print) -> None:
    """Print a report: as JSON, or as lines that end with the queues'."""
    if as_json:
        output(json.dumps(facts))
        return
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        if isinstance(value, dict):
            for queue, counts in msgspec.convert(value, dict[str, dict[str, int]]).items():
                words = ", ".join(f"{count} {state}" for state, count in counts.items())
                output(f"{'queue':<{width}}  {queue}: {words or 'empty'}")
        else:
            output(f"{name:<{width}}  {value}")
