"""The group commit: what a sync that ends badly does to the node."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from raftq.consensus.group_commit import GroupCommit
from raftq.protocol.errors import SyncFailed
from raftq.storage.journal import Journal
from raftq.testing.memory_files import MemoryFiles

FOLDER = Path("/journal")


def _inline(job: Callable[[], None]) -> "asyncio.Future[None]":
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    job()
    future.set_result(None)
    return future


def test_a_disk_that_is_full_when_a_sync_ends_stops_the_node() -> None:
    async def main() -> None:
        disk = MemoryFiles()
        journal = Journal.open(disk, FOLDER)
        failures: list[BaseException] = []
        commit = GroupCommit(journal, _inline, lambda: None, failures.append)
        journal.append(1, 1, b"entry")
        commit.start()
        disk.capacity_bytes = disk.used_bytes()  # No room for the mark that ends the sync.
        await asyncio.sleep(0)
        assert [type(failure) for failure in failures] == [SyncFailed]

    asyncio.run(main())
