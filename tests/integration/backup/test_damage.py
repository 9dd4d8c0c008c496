"""A backup of a node whose files are damaged."""

import asyncio
from collections.abc import Sequence

import pytest
from tests.support.asyncs import asynchronous
from tests.support.machines import entry, task_id

from raftq.consensus.backup_child import BackupChild
from raftq.core.machine import Machine
from raftq.core.payloads import PayloadsInMemory
from raftq.protocol.commands import Enqueue
from raftq.protocol.errors import CorruptRecord
from raftq.protocol.options import NewTask
from raftq.server.backups import Backup, BackupFailed
from raftq.storage.backups import BackupMeta

META = BackupMeta(9, 1, "", "", "n1", 0, "1.0")


class Damaged(PayloadsInMemory):
    """Payloads of which none can be read."""

    def payload(self, sequence: int, task_id: bytes, payload_crc: int) -> bytes:
        raise CorruptRecord("a byte is wrong")


async def read_all(backup: Backup) -> Sequence[bytes]:
    pieces: list[bytes] = []
    while piece := await backup.read():
        pieces.append(piece)
    return pieces


@asynchronous
async def test_it_fails_and_makes_room_for_another() -> None:
    machine = Machine(Damaged())
    machine.apply(entry(Enqueue("q", [NewTask(task_id(1), b"payload")])))
    ended: list[bool] = []
    ends_at = asyncio.get_running_loop().time() + 20
    backup = Backup(META, BackupChild(machine, META), ends_at, lambda: ended.append(True))
    with pytest.raises(BackupFailed):
        await read_all(backup)
    await backup.end()
    assert ended == [True]
