"""Trials of payloads that only the disk has."""

import asyncio
from typing import Final

from raftq.protocol.errors import StorageError
from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.faults import some_up
from raftq.testing.sim.node import SimNode
from raftq.testing.sim.trials import caught_up, settled

_BITS: Final = 6


async def rot_in_use(cluster: SimCluster) -> None:
    """Bits that were synced change while a node runs, in payloads that it will be asked for.

    It may stop at any moment, and does so rather than deliver one of them. A node that has met
    none is started again, which reads everything; who stops gets an empty disk.
    """
    await asyncio.sleep(1.2)
    for _ in range(3):
        await settled(cluster)
        node = some_up(cluster)
        if node is None:
            return
        for _ in range(_BITS):
            _rot(cluster, node)
        await asyncio.sleep(cluster.random.uniform(0.5, 1.5))
        if node.is_up:
            node.kill()
        if not isinstance(node.failure, StorageError):
            node.start()
            await asyncio.sleep(0.8)
        if isinstance(node.failure, StorageError):
            node.wipe()
            node.start()
        await caught_up(cluster, node)
        await asyncio.sleep(0.3)


def _rot(cluster: SimCluster, node: SimNode) -> None:
    """Change a bit of a snapshot or of a log, somewhere behind its beginning, if there is one."""
    files, random = node.disk.files, cluster.random
    folders = (node.path / "journal", node.path / "snapshots")
    paths = [folder / name for folder in folders for name in files.names(folder)]
    paths = [path for path in paths if len(files.read(path)) > 200]
    if not paths:
        return
    path = random.choice(paths)
    bit = random.randrange(8 * 100, 8 * len(files.read(path)))
    cluster.world.note(f"{node.name} bit {bit} of {path} rots in use")
    node.disk.rot(path, bit)


async def backlog(cluster: SimCluster) -> None:
    """Far more tasks wait than the caches hold; processes are killed while they are worked off."""
    end = cluster.world.now + cluster.plan.seconds
    while cluster.world.now < end:
        await asyncio.sleep(cluster.random.uniform(0.6, 1.4))
        node = some_up(cluster)
        if node is not None:
            node.kill()
            await asyncio.sleep(cluster.random.uniform(0.1, 0.5))
            if not node.is_up:
                node.start()
