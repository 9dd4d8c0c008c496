"""Scenarios about time: a wall clock that is wrong, two that disagree, and long silence."""

import asyncio
from itertools import permutations
from typing import Final

from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.faults import bring_back, freeze, pause
from raftq.testing.sim.node import SimNode
from raftq.testing.sim.trials import others, the_leader

WALL_ERROR_MS: Final = 2_500.0
"""The most by which the cluster's wall time may be wrong here. It is far less than the wrong clock
is: the median leaves that one out. It falls behind by the time in which nothing was committed, if
a restarted node leads next and knows only its own clock and the wrong one."""
TWO_RESTARTS_MS: Final = 4_000.0
"""The same, when that happens twice before a third clock is heard."""
_FAR_MS: Final = 100_000.0
_NEAR_MS: Final = 8_000.0


async def clock_steps(cluster: SimCluster) -> None:
    """One wall clock jumps, by seconds or minutes, and leaders change: no lease may suffer, no
    delay may end early, and none may be held up."""
    end = cluster.world.now + cluster.plan.seconds
    wrong = cluster.random.choice(cluster.nodes)
    while cluster.world.now < end:
        bound_ms = cluster.random.choice((_NEAR_MS, _FAR_MS))
        wrong.clock.wall_error_ms = cluster.random.uniform(-bound_ms, bound_ms)
        cluster.world.note(f"{wrong.name} wall clock is off by {wrong.clock.wall_error_ms:.0f} ms")
        leader = await the_leader(cluster)
        if leader is not None and cluster.random.random() < 0.4:
            leader.kill()
            await bring_back(cluster, leader, 0.2)
        elif cluster.random.random() < 0.3:
            await freeze(cluster, cluster.random.uniform(0.3, 1.5))
        await pause(cluster, 0.4)


async def slow_links(cluster: SimCluster) -> None:
    """A leader dies, and the next one hears the only other clock over a slow link, for a while: a
    clock that is heard late holds no wall time back, so that no delay ends early afterwards."""
    await asyncio.sleep(1.0)
    for _ in range(4):
        leader = await the_leader(cluster)
        if leader is None:
            return
        for first, second in permutations(others(cluster, leader), 2):
            cluster.network.slow[first.name, second.name] = cluster.random.uniform(0.06, 0.12)
        leader.kill()
        await asyncio.sleep(cluster.random.uniform(1.0, 1.5))
        cluster.network.slow.clear()
        leader.start()
        await asyncio.sleep(cluster.random.uniform(0.3, 0.6))


async def two_clocks(cluster: SimCluster) -> None:
    """Of three nodes one is down and one has a clock that is behind, while the lead changes: wall
    time goes on by what was reached, and no delay ends early once the third clock is heard."""
    await asyncio.sleep(1.0)
    wrong, down, *right = cluster.random.sample(cluster.nodes, len(cluster.nodes))
    down.kill()
    wrong.clock.wall_error_ms = -cluster.random.uniform(_NEAR_MS, _FAR_MS)
    cluster.world.note(f"{wrong.name} wall clock is off by {wrong.clock.wall_error_ms:.0f} ms")
    for node in (right[0], wrong):
        node.kill()
        await asyncio.sleep(0.1)
        node.start()
        await asyncio.sleep(cluster.random.uniform(2.0, 3.0))
    down.start()
    await asyncio.sleep(0.5)
    leader = await the_leader(cluster)
    if leader is not None:
        leader.kill()
        await asyncio.sleep(1.5)
        leader.start()
    await asyncio.sleep(1.0)


async def unheard(cluster: SimCluster) -> None:
    """A wall clock is far ahead, and whoever comes to lead loses its connections before anybody has
    told it a clock: its own counts for nothing."""
    await asyncio.sleep(1.0)
    wrong = cluster.random.choice(cluster.nodes)
    wrong.clock.wall_error_ms = _FAR_MS
    cluster.world.note(f"{wrong.name} wall clock is off by {wrong.clock.wall_error_ms:.0f} ms")
    for _ in range(8):
        leader = await the_leader(cluster)
        if leader is None:
            return
        leader.kill()
        new = await _begins_to_lead(others(cluster, leader))
        if new is not None:
            await asyncio.sleep(cluster.random.uniform(0.0, 0.002))
            for node in others(cluster, new):
                cluster.network.break_connections(new.name, node.name)
        await asyncio.sleep(0.5)
        leader.start()
        await asyncio.sleep(0.7)


async def _begins_to_lead(nodes: list[SimNode]) -> SimNode | None:
    """Wait until one of these has won an election of which nothing is committed yet."""
    for _ in range(5_000):
        for node in nodes:
            engine = node.replica.parts.engine if node.replica is not None else None
            if engine is not None and engine.is_leader and engine.read_index is None:
                return node
        await asyncio.sleep(0.0002)
    return None


async def silence(cluster: SimCluster) -> None:
    """All clients stand still for longer than one entry can carry lease time, then come back: what
    passed meanwhile ages no lease that is granted afterwards."""
    await asyncio.sleep(3.0)
    for _ in range(3):
        for client in cluster.clients:
            client.pause()
        await asyncio.sleep(cluster.random.uniform(3.0, 6.0))
        for client in cluster.clients:
            client.resume()
        await asyncio.sleep(1.5)
    leader = await the_leader(cluster)
    if leader is not None:
        others(cluster, leader)[0].kill()
