"""Scenarios in which nodes come, go, and forget: empty disks, growing, shrinking, replacing."""

import asyncio

from raftq.testing.memory_files import Keep
from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.trials import others, separate, the_leader


async def forgetful(cluster: SimCluster) -> None:
    """A follower comes back with an empty disk while the leader is down and the rest is behind.

    What leader and follower acknowledged is on the leader's disk alone: nobody may lead until it
    is back.
    """
    await asyncio.sleep(1.0)
    for _ in range(2):
        leader = await the_leader(cluster)
        if leader is None:
            return
        forgets, *behind = others(cluster, leader)
        behind = behind[: len(cluster.nodes) // 2]
        kept = [node for node in cluster.nodes if node not in (leader, forgets, *behind)]
        separate(cluster, behind, [leader, forgets, *kept])
        await asyncio.sleep(cluster.random.uniform(0.3, 1.0))
        for node in (forgets, leader, *kept):
            node.lose_power(Keep.EVERYTHING)
        forgets.wipe()
        cluster.network.heal()
        forgets.start()
        await asyncio.sleep(cluster.random.uniform(1.5, 3.0))
        for node in (leader, *kept):
            node.start()
        await asyncio.sleep(cluster.random.uniform(1.0, 2.0))
