"""What can be done to a cluster: the faults that scenarios are made of."""

import asyncio
from random import Random

from raftq.testing.memory_files import Keep, Kept
from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.node import SimNode


async def pause(cluster: SimCluster, mean: float) -> None:
    """Let a random time pass."""
    await asyncio.sleep(cluster.random.expovariate(1 / mean))


def some_up(cluster: SimCluster) -> SimNode | None:
    """Return a node that runs, more often the leader than another."""
    up = [node for node in cluster.nodes if node.is_up]
    leading = [node for node in up if node.replica is not None and node.replica.is_leader]
    if leading and cluster.random.random() < 0.5:
        return leading[0]
    return cluster.random.choice(up) if up else None


def kept(random: Random) -> Kept:
    """Return what a loss of power keeps."""
    return random.choice((Keep.NOTHING, Keep.EVERYTHING, random, random))


def minority(cluster: SimCluster) -> int:
    """Return how many nodes may be down while a majority is up."""
    return (len(cluster.nodes) - 1) // 2


async def crash(cluster: SimCluster, node: SimNode, *, power: bool) -> None:
    """Kill a node's process, or cut its power; now, or between two steps of its next writes."""
    random = cluster.random
    keep = kept(random) if power else None
    if random.random() < 0.5:
        node.cut_keeps = keep
        node.disk.cut_in(random.choice((random.randint(0, 40), random.randint(0, 3_000))))
        await asyncio.sleep(0.2)
    if node.is_up:
        node.disk.uncut()
        node.cut_keeps = None
        if keep is None:
            node.kill()
        else:
            node.lose_power(keep)


async def bring_back(cluster: SimCluster, node: SimNode, mean: float) -> None:
    """Start a node after a while, unless somebody did."""
    await pause(cluster, mean)
    if not node.is_up:
        node.start()


def partition(cluster: SimCluster) -> None:
    """Cut the network: one way between two, around one node, or into two halves."""
    random, network = cluster.random, cluster.network
    names = [node.name for node in cluster.nodes]
    random.shuffle(names)
    kind = random.choice(("one way", "one way", "around", "halves", "inbound"))
    count = 1 if kind != "halves" else random.randint(1, len(names) - 1)
    inside, outside = names[:count], names[count:]
    if kind == "one way":
        outside = outside[:1]
    cluster.world.note(f"partition {kind}: {inside} | {outside}")
    for first in inside:
        for second in outside:
            network.block(second, first)
            if kind in ("around", "halves"):
                network.block(first, second)


def break_some(cluster: SimCluster) -> None:
    """Break the connections between two nodes: for both, or first for one of them."""
    random = cluster.random
    first, second = random.sample([node.name for node in cluster.nodes], 2)
    if random.random() < 0.5:
        cluster.world.note(f"connections between {first} and {second} break")
        cluster.network.break_connections(first, second)
    else:
        lag = random.uniform(0.05, 1.5)
        cluster.world.note(f"{first} loses its connections, {second} hears them for {lag:.2f} s")
        cluster.network.break_one_side(first, second, lag)


def slow_some(cluster: SimCluster) -> None:
    """Make one direction of a link slow."""
    first, second = cluster.random.sample([node.name for node in cluster.nodes], 2)
    cluster.network.slow[first, second] = cluster.random.choice((0.02, 0.1, 0.3))


async def freeze(cluster: SimCluster, seconds: float) -> None:
    """Pause a node or a client for a while."""
    random = cluster.random
    victims = [node.process for node in cluster.nodes if node.is_up]
    victims += [c.process for c in cluster.clients if c.process and c.process.is_alive]
    victim = random.choice(victims)
    if random.random() < 0.6:
        node = some_up(cluster)
        victim = node.process if node is not None else victim
    if victim is not None:
        cluster.world.note(f"{victim.name} is frozen for {seconds:.2f} s")
        victim.pause()
        await asyncio.sleep(seconds)
        victim.resume()


def vary_disks(cluster: SimCluster) -> None:
    """Make some disks slow, so that much is not synced when the power goes."""
    for node in cluster.nodes:
        node.disk.slowness = cluster.random.choice((1.0, 1.0, 30.0, 100.0))


def kill_a_client(cluster: SimCluster) -> None:
    """Kill a client in the middle of whatever it does, and start it anew."""
    client = cluster.random.choice(cluster.clients)
    client.kill()
    client.start(cluster.plan.load.call_timeout)
