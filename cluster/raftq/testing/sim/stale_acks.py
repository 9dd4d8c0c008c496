"""A trial for acks that arrive in another term than they were given in; it needs five nodes.

Arranged, because chance does not get there: a follower acknowledges entries of a leader that is cut
off from all others; both lose these entries to the next leader; then the first leads again, with a
shorter log, and hears the old ack. If it counted, an entry would be committed with two copies of
five, and the other three elect a leader without it.
"""

import asyncio
from collections.abc import Callable

from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.node import SimNode
from raftq.testing.sim.trials import others, separate, the_leader


async def on_a_living_link(cluster: SimCluster) -> None:
    """The old ack waits in the network, on the connection that is in use."""
    await _repeat(cluster, breaks=False)


async def on_an_old_link(cluster: SimCluster) -> None:
    """The old ack is on a connection that its sender has given up and replaced."""
    await _repeat(cluster, breaks=True)


async def _repeat(cluster: SimCluster, *, breaks: bool) -> None:
    await asyncio.sleep(0.6)
    for _ in range(3):
        leader = await the_leader(cluster)
        if leader is None or len(cluster.nodes) < 5:
            return
        far = await _try(cluster, leader, breaks=breaks)
        cluster.world.note(f"the trial got to: {far}")
        for node in cluster.nodes:
            if not node.is_up:
                node.start()
        for client in cluster.clients:
            client.resume()
        cluster.network.heal()
        await asyncio.sleep(1.5)


async def _try(cluster: SimCluster, leader: SimNode, *, breaks: bool) -> str:
    """Go through the steps; return the step that could not be done, or "the end"."""
    network = cluster.network
    follower, middle, near, far = others(cluster, leader)
    if breaks:  # The node with the greater name dials; this one is to connect again.
        middle, near, far, follower = sorted(others(cluster, leader), key=lambda node: node.name)
        if follower.name < leader.name:
            leader.kill()
            return "a follower that dials"
    rest = [middle, near, far]
    first_term = _term(leader)
    base = _last(leader)
    # The leader reaches one follower only, and does not hear it.
    network.block(follower.name, leader.name)
    separate(cluster, [leader, follower], rest)
    if not await _until(cluster, 0.7, lambda: _last(follower) >= base + 6):
        return "entries on two nodes"
    acked = _last(follower)
    for client in cluster.clients:
        client.pause()  # Until the old ack arrives, the logs may hardly grow.
    network.block(leader.name, follower.name)
    # The rest elects one of them, which replaces those entries on both.
    if not await _until(cluster, 3.0, lambda: any(_leads(node) for node in rest)):
        return "another leader"
    middle = next(node for node in rest if _leads(node))
    near, far = (node for node in rest if node is not middle)
    for node in (leader, follower):
        for other in rest:
            network.unblock(node.name, other.name)
            network.unblock(other.name, node.name)
    second_term = _term(middle)
    replaced = lambda: all(_last_term(node) == second_term for node in cluster.nodes)  # noqa: E731
    if not await _until(cluster, 1.5, replaced) or _last(leader) >= acked:
        return "a shorter log"
    if breaks:
        network.give_up(follower.name, leader.name)
        network.unblock(follower.name, leader.name)
        network.unblock(leader.name, follower.name)
        if not await _until(cluster, 0.6, lambda: _is_linked(follower, leader)):
            return "a new connection"
        if _last(leader) >= acked:
            return "a shorter log"
    # Only the first leader can win now.
    middle.kill()
    separate(cluster, [follower], [node for node in cluster.nodes if node is not follower])
    if breaks:
        network.unblock(follower.name, leader.name)  # Only what is old waits there.
    separate(cluster, [near], [far])
    if not await _until(cluster, 3.0, lambda: _leads(leader)) or _term(leader) <= first_term:
        return "the first leader again"
    if _last(leader) > acked:
        return "an index that was acknowledged"
    for client in cluster.clients:
        client.resume()
    # It has one real follower, and hears the old ack.
    separate(cluster, [leader, near], [far])
    network.release() if breaks else network.unblock(follower.name, leader.name)
    await asyncio.sleep(0.3)
    separate(cluster, [leader, near], [follower, far, middle])
    for first, second in ((follower, far), (follower, middle), (far, middle)):
        network.unblock(first.name, second.name)
        network.unblock(second.name, first.name)
    middle.start()
    await _until(cluster, 4.0, lambda: any(_leads(node) for node in (follower, far, middle)))
    return "the end"


async def _until(cluster: SimCluster, seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = cluster.world.now + seconds
    while not holds():
        if cluster.world.now > deadline:
            return False
        await asyncio.sleep(0.001)
    return True


def _term(node: SimNode) -> int:
    return 0 if node.replica is None else node.replica.parts.engine.term


def _last(node: SimNode) -> int:
    return 0 if node.replica is None else node.replica.parts.log.last_index


def _last_term(node: SimNode) -> int:
    return 0 if node.replica is None else node.replica.parts.log.last_term


def _leads(node: SimNode) -> bool:
    return node.replica is not None and node.replica.parts.engine.is_leader


def _is_linked(node: SimNode, other: SimNode) -> bool:
    return node.replica is not None and node.replica.parts.links.reachable()[other.name]
