"""Trials of membership changes: what goes wrong only when everything is arranged for it."""

import asyncio

from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.node import SimNode
from raftq.testing.sim.operators import Operator
from raftq.testing.sim.trials import others, separate, the_leader


def deafen(cluster: SimCluster, speaker: SimNode, deaf: list[SimNode]) -> None:
    """Let some nodes hear nothing of one, though their connections stay."""
    for node in deaf:
        cluster.network.block(speaker.name, node.name)


async def hasty(cluster: SimCluster) -> None:
    """Two nodes are removed at once by a leader that only one follower hears."""
    await asyncio.sleep(1.0)
    operator = Operator(cluster)
    leader = await the_leader(cluster)
    if leader is None:
        return
    hears, *deaf = others(cluster, leader)
    deafen(cluster, leader, deaf)
    deafen(cluster, hears, deaf)
    asks = [asyncio.create_task(operator.remove(node)) for node in deaf[:-1]]
    await asyncio.sleep(0.5)
    await _take_over(cluster, [leader, hears], asks)


async def learners_word(cluster: SimCluster) -> None:
    """A leader is cut off with two nodes that were just added: while they learn, their word must
    not count, neither for an entry nor for a read."""
    await asyncio.sleep(0.8)
    operator = Operator(cluster)
    added = [node for node in (await operator.grow(), await operator.grow()) if node is not None]
    for _ in range(2):
        leader = await the_leader(cluster)
        if leader is None or leader in added:
            return
        separate(cluster, [leader, *added], [n for n in others(cluster, leader) if n not in added])
        await asyncio.sleep(2.0)
        cluster.network.heal()
        await asyncio.sleep(1.0)


async def _take_over(
    cluster: SimCluster, gone: list[SimNode], asks: "list[asyncio.Task[bool | None]]"
) -> None:
    """Let some nodes die, and see whether the others elect a leader without them."""
    for node in gone:
        node.kill()
    cluster.network.heal()
    await asyncio.sleep(3.0)
    for node in gone:
        node.start()
    await asyncio.gather(*asks)
    await asyncio.sleep(0.5)
    cluster.nodes[:] = [node for node in cluster.nodes if _is_member(cluster, node)]


def _is_member(cluster: SimCluster, node: SimNode) -> bool:
    """Tell whether the newest list names a node."""
    replicas = [each.replica for each in cluster.nodes if each.replica is not None]
    newest = max(replicas, key=lambda replica: replica.view().commit_index)
    return node.name in newest.members.members
