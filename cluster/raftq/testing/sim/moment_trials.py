"""Trials of one moment each: a snapshot has just arrived, a call was just forwarded."""

import asyncio

from raftq.testing.memory_files import Keep
from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.node import SimNode
from raftq.testing.sim.trials import others, separate, the_leader


async def received_power(cluster: SimCluster) -> None:
    """A follower loses power at the moment at which it has loaded a snapshot from its leader, and
    keeps only what was synced: it comes back with that snapshot."""
    await asyncio.sleep(0.8)
    for _ in range(3):
        leader = await the_leader(cluster)
        if leader is None:
            return
        node = others(cluster, leader)[0]
        node.kill()
        await asyncio.sleep(cluster.random.uniform(0.8, 1.4))
        node.start()
        if await _loads_a_snapshot(cluster, node):
            node.lose_power(Keep.NOTHING)
            await asyncio.sleep(0.1)
            node.start()
        await asyncio.sleep(cluster.random.uniform(0.5, 1.0))


async def _loads_a_snapshot(cluster: SimCluster, node: SimNode) -> bool:
    """Wait until a node's machine is replaced by the one of a snapshot."""
    deadline = cluster.world.now + 2.0
    first = None
    while cluster.world.now < deadline:
        await asyncio.sleep(0.0005)
        replica = node.replica
        if replica is not None and replica.machine is not first:
            if first is not None:
                return True
            first = replica.machine
    return False


async def one_door(cluster: SimCluster) -> None:
    """All clients reach the leader through one follower. The leader commits what was forwarded, but
    its replies do not arrive; then the follower is cut off from the others, and no client meets a
    leader again before its deadline: what was forwarded may have happened."""
    await asyncio.sleep(0.8)
    for _ in range(3):
        leader = await the_leader(cluster)
        if leader is None:
            return
        door = others(cluster, leader)[0]
        cluster.world.note(f"{door.name} is the only door")
        for client in cluster.clients:
            for node in others(cluster, door):
                cluster.network.block(client.name, node.name)
                cluster.network.break_connections(client.name, node.name)
        await asyncio.sleep(1.5)
        cluster.network.block(leader.name, door.name)
        await asyncio.sleep(cluster.random.uniform(0.05, 0.2))
        for node in others(cluster, door):
            cluster.network.give_up(door.name, node.name)
        separate(cluster, [door], others(cluster, door))
        await asyncio.sleep(2.0)
        cluster.network.heal()
        await asyncio.sleep(1.0)
