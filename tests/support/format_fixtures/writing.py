"""What a node leaves when a story was told to it: its data folder, a backup, and what it knew."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
from tests.support.replicas import Group, until

from raftq.consensus.backup_child import backup_meta
from raftq.consensus.payloads.store import dump_chunks
from raftq.consensus.replica import RaftReplica
from raftq.core.machine import Machine
from raftq.protocol.commands import Command
from raftq.protocol.replies import CommandReply
from raftq.storage.backups import write_backup
from raftq.storage.files import RealFiles

Tell = Callable[[Command], Awaitable[CommandReply]]
Story = Callable[[Tell], Awaitable[None]]

NODE: Final = "n1"
_LEFT_OUT: Final = ("lock",)


def task_id(number: int) -> bytes:
    """Return the id of the story's task of a number, from 1."""
    return number.to_bytes(16, "big")


def payload(number: int) -> bytes:
    """Return the payload of the story's task of a number."""
    return b"payload of task %d" % number


class Fixture(msgspec.Struct):
    """What the version that wrote the files knew."""

    state_hash: str
    index: int
    snapshot_index: int
    tasks: list[dict[str, object]]
    """Their statuses, in the order of their numbers."""
    queues: dict[str, dict[str, int]]


async def write(folder: Path, before: Story, after: Story) -> None:
    """Tell a story to a node that writes a snapshot in the middle of it; keep what it leaves."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as room:
        group = Group(Path(room), 1)
        try:
            await group.start()
            replica = group.members[NODE].running
            await until(lambda: replica.machine.cluster_id is not None, "the cluster's id")
            await before(group.propose)
            snapshot_index = replica.view().applied_index
            replica.parts.engine.request_snapshot()
            await until(lambda: replica.parts.snapshotter.written_total == 1, "a snapshot")
            await after(group.propose)
            _write_backup(folder / "state.backup", replica)
            expected = _expected(replica.machine, replica.view().applied_index, snapshot_index)
            (folder / "expected.json").write_bytes(msgspec.json.encode(expected) + b"\n")
        finally:
            await group.stop()
        kept = shutil.ignore_patterns(*_LEFT_OUT)
        shutil.copytree(group.members[NODE].folder, folder / NODE, ignore=kept)


def _write_backup(path: Path, replica: RaftReplica) -> None:
    machine, view = replica.machine, replica.view()
    meta = backup_meta(machine, view, taken_at_ms=machine.wall_now_ms, raftq_version="0")
    write_backup(RealFiles(), path, meta, dump_chunks(machine))


def _expected(machine: Machine, index: int, snapshot_index: int) -> Fixture:
    tasks: list[dict[str, object]] = []
    number = 0
    while len(tasks) < machine.last_sequence and number < 10_000:
        number += 1
        status = machine.task(task_id(number))
        if status is not None:
            tasks.append(msgspec.to_builtins(msgspec.structs.asdict(status)))
    queues = {name: dict(machine.queue(name).counts) for name in machine.queues()}
    return Fixture(machine.state_hash, index, snapshot_index, tasks, queues)


def run(folder: Path, before: Story, after: Story) -> None:
    """Write a fixture."""
    asyncio.run(write(folder, before, after))
