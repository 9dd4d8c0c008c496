"""Scenarios in which nodes come, go, and forget: empty disks, growing, shrinking, replacing."""

import asyncio

from raftq.testing.memory_files import Keep
from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.faults import (
    break_some,
    bring_back,
    crash,
    freeze,
    minority,
    partition,
    pause,
    slow_some,
    some_up,
)
from raftq.testing.sim.node import SimNode
from raftq.testing.sim.operators import Operator
from raftq.testing.sim.trials import others, separate, the_leader


async def membership(cluster: SimCluster) -> None:
    """Nodes are added, removed, replaced and emptied, and everything else goes wrong meanwhile."""
    await asyncio.sleep(0.8)
    operator = Operator(cluster)
    end = cluster.world.now + cluster.plan.seconds
    trouble = asyncio.create_task(_trouble(cluster, end))
    while cluster.world.now < end:
        at_once = 2 if cluster.random.random() < 0.3 else 1
        await asyncio.gather(*(_change(cluster, operator) for _ in range(at_once)))
        await pause(cluster, 0.2)
    await trouble
    await operator.settle()


async def _change(cluster: SimCluster, operator: Operator) -> None:
    changes = (
        operator.grow,
        operator.grow,
        operator.shrink,
        operator.shrink,
        operator.replace,
        operator.empty_disk,
        operator.transfer,
    )
    await cluster.random.choice(changes)()


async def _trouble(cluster: SimCluster, end: float) -> None:
    """Kill, cut, freeze and slow down, until an instant."""
    random = cluster.random
    returning: list[asyncio.Task[None]] = []
    while cluster.world.now < end:
        event = random.choice(("kill", "power", "cut", "break", "slow", "freeze", "heal", "none"))
        node = some_up(cluster)
        down = sum(not each.is_up for each in cluster.nodes)
        if event in ("kill", "power") and node is not None and down < minority(cluster):
            await crash(cluster, node, power=event == "power")
            returning.append(asyncio.create_task(_bring_back(cluster, node)))
        elif event == "cut":
            partition(cluster)
            await pause(cluster, random.choice((0.3, 1.0)))
            cluster.network.heal()
        elif event == "break":
            break_some(cluster)
        elif event == "slow":
            slow_some(cluster)
        elif event == "freeze":
            await freeze(cluster, random.uniform(0.1, 1.0))
        elif event == "heal":
            cluster.network.heal()
        await pause(cluster, 0.4)
    cluster.network.heal()
    await asyncio.gather(*returning)


async def _bring_back(cluster: SimCluster, node: SimNode) -> None:
    if node in cluster.nodes:
        await bring_back(cluster, node, 0.4)


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


async def new_disk(cluster: SimCluster) -> None:
    """A follower's disk is replaced by an empty one, as the operator's page allows it.

    All others run and are level, and nothing else happens until the node has caught up: a node
    that forgot its vote and its log may not be needed for a majority meanwhile.
    """
    await asyncio.sleep(1.5)
    for _ in range(max(1, int(cluster.plan.seconds / 4))):
        followers = [n for n in cluster.nodes if n.replica is not None and not n.replica.is_leader]
        node = cluster.random.choice(followers)
        node.kill()
        await asyncio.sleep(1.0)
        node.wipe()
        node.start()
        deadline = cluster.world.now + 20.0
        while cluster.world.now < deadline:
            await asyncio.sleep(0.1)
            if node.replica is not None and node.replica.view().not_ready_reason is None:
                break
        await asyncio.sleep(0.5)
    await crashes_once(cluster)


async def crashes_once(cluster: SimCluster) -> None:
    """Kill the leader, if there is one."""
    for node in cluster.nodes:
        if node.replica is not None and node.replica.is_leader:
            node.kill()
            await bring_back(cluster, node, 0.5)
