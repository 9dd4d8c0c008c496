"""Faults of one kind, or of every kind, at random moments.

Scenarios made for one rule, with arranged faults, are in the other files of trials.
"""

import asyncio
from typing import Final

from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.faults import (
    break_some,
    bring_back,
    crash,
    freeze,
    kept,
    kill_a_client,
    minority,
    partition,
    pause,
    slow_some,
    some_up,
    vary_disks,
)

_STOP_SECONDS: Final = 3.0


async def calm(cluster: SimCluster) -> None:
    """Nothing happens."""
    await asyncio.sleep(cluster.plan.seconds)


async def crashes(cluster: SimCluster) -> None:
    """Processes are killed, one after another and several at once, in the middle of writes."""
    end = cluster.world.now + cluster.plan.seconds
    await pause(cluster, 1.0)
    returning: list[asyncio.Task[None]] = []
    while cluster.world.now < end:
        node = some_up(cluster)
        if node is not None:
            await crash(cluster, node, power=False)
            back = bring_back(cluster, node, cluster.random.choice((0.05, 0.3, 1.0)))
            returning.append(asyncio.create_task(back))
        if cluster.random.random() < 0.2:
            kill_a_client(cluster)
        await pause(cluster, 0.4)
    await asyncio.gather(*returning)


async def power_loss(cluster: SimCluster) -> None:
    """A minority loses power, again and again."""
    end = cluster.world.now + cluster.plan.seconds
    await pause(cluster, 1.0)
    returning: list[asyncio.Task[None]] = []
    while cluster.world.now < end:
        vary_disks(cluster)
        node = some_up(cluster)
        down = sum(not each.is_up for each in cluster.nodes)
        if node is not None and down < minority(cluster):
            await crash(cluster, node, power=True)
            returning.append(asyncio.create_task(bring_back(cluster, node, 0.3)))
        await pause(cluster, 0.3)
    await asyncio.gather(*returning)


async def blackout(cluster: SimCluster) -> None:
    """The whole cluster loses power at once, and each node comes back when it likes."""
    for _ in range(max(1, int(cluster.plan.seconds / 2.5))):
        vary_disks(cluster)
        await asyncio.sleep(cluster.random.uniform(0.8, 2.0))
        up = [node for node in cluster.nodes if node.is_up]
        if cluster.random.random() < 0.5:
            await crash(cluster, cluster.random.choice(up), power=True)
        for node in up:
            if node.is_up:
                node.lose_power(kept(cluster.random))
        await asyncio.gather(*(bring_back(cluster, node, 0.2) for node in cluster.nodes))


async def partitions(cluster: SimCluster) -> None:
    """The network is cut in every way, connections break, old ones still deliver."""
    end = cluster.world.now + cluster.plan.seconds
    await pause(cluster, 0.8)
    while cluster.world.now < end:
        event = cluster.random.choice(("cut", "cut", "break", "break", "slow", "freeze"))
        if event == "cut":
            partition(cluster)
            await pause(cluster, cluster.random.choice((0.3, 1.0)))
            cluster.network.heal()
        elif event == "break":
            break_some(cluster)
        elif event == "slow":
            slow_some(cluster)
        else:
            await freeze(cluster, cluster.random.uniform(0.2, 1.0))
        await pause(cluster, 0.3)


async def bad_disks(cluster: SimCluster) -> None:
    """Disks are slow, full, or fail: a node that fails to sync stops, and its machine reboots."""
    end = cluster.world.now + cluster.plan.seconds
    await pause(cluster, 0.8)
    while cluster.world.now < end:
        node = cluster.random.choice(cluster.nodes)
        event = cluster.random.choice(("slow", "error", "reserve", "full"))
        cluster.world.note(f"{node.name} disk: {event}")
        if event == "slow":
            node.disk.slowness = cluster.random.choice((20.0, 200.0))
        elif event == "error":
            node.disk.syncs_to_fail = 1
        elif event == "reserve":
            node.disk.is_full = True
        else:
            node.disk.files.capacity_bytes = node.disk.files.used_bytes() + 500
        await pause(cluster, 0.6)
        node.disk.slowness, node.disk.syncs_to_fail, node.disk.is_full = 1.0, 0, False
        node.disk.files.capacity_bytes = None
        for each in cluster.nodes:
            if not each.is_up:
                each.lose_power(kept(cluster.random))
                each.start()
        await pause(cluster, 0.5)


async def lagging(cluster: SimCluster) -> None:
    """Followers are away until only a snapshot helps them; nodes die while it is on its way."""
    end = cluster.world.now + cluster.plan.seconds
    await asyncio.sleep(0.8)
    returning: list[asyncio.Task[None]] = []
    while cluster.world.now < end:
        node = cluster.random.choice(cluster.nodes)
        if cluster.random.random() < 0.5:
            for other in cluster.nodes:
                if other is not node:
                    cluster.network.block(node.name, other.name)
                    cluster.network.block(other.name, node.name)
            await asyncio.sleep(cluster.random.uniform(0.3, 1.2))
            cluster.network.heal()
        elif node.is_up:
            await crash(cluster, node, power=cluster.random.random() < 0.3)
            await asyncio.sleep(cluster.random.uniform(0.1, 1.0))
            if not node.is_up:
                node.start()
        await asyncio.sleep(cluster.random.uniform(0.0, 0.3))
        if cluster.random.random() < 0.5:
            break_some(cluster)
        second = some_up(cluster)
        if second is not None and cluster.random.random() < 0.5:
            await crash(cluster, second, power=False)
            returning.append(asyncio.create_task(bring_back(cluster, second, 0.3)))
        await pause(cluster, 0.2)
    await asyncio.gather(*returning)


async def rolling_restart(cluster: SimCluster) -> None:
    """Every node is stopped with SIGTERM, one after another, and started again."""
    await asyncio.sleep(1.0)
    for node in list(cluster.nodes):
        if node.is_up:
            node.request_stop()
            begun = cluster.world.now
            deadline = cluster.world.now + cluster.plan.settings.drain_seconds + 2.0
            while node.is_up and cluster.world.now < deadline:
                await asyncio.sleep(0.05)
            seconds = cluster.world.now - begun
            text = f"{node.name} took {seconds:.1f} s to hand over and to stop"
            cluster.expect(seconds < _STOP_SECONDS, "slow-stop", text)
            if node.is_up:
                node.kill()
            await pause(cluster, 0.1)
            node.start()
        await asyncio.sleep(cluster.random.uniform(0.6, 1.5))


async def freezes(cluster: SimCluster) -> None:
    """Nodes and workers are frozen, for longer than elections and leases take."""
    end = cluster.world.now + cluster.plan.seconds
    await pause(cluster, 0.5)
    frozen: list[asyncio.Task[None]] = []
    while cluster.world.now < end:
        seconds = cluster.random.choice((0.1, 0.5, 1.5, 4.0)) * cluster.random.uniform(0.5, 1.5)
        frozen.append(asyncio.create_task(freeze(cluster, seconds)))
        if cluster.random.random() < 0.5:
            kill_a_client(cluster)
        await pause(cluster, 0.8)
    await asyncio.gather(*frozen)


async def mixed(cluster: SimCluster) -> None:
    """Everything at once, in any order."""
    end = cluster.world.now + cluster.plan.seconds
    await pause(cluster, 0.6)
    running: list[asyncio.Task[None]] = []
    while cluster.world.now < end:
        event = cluster.random.choice(
            ("kill", "power", "cut", "break", "slow", "freeze", "disk", "client", "heal", "heal")
        )
        node = some_up(cluster)
        if event in ("kill", "power") and node is not None:
            await crash(cluster, node, power=event == "power")
            running.append(asyncio.create_task(bring_back(cluster, node, 0.5)))
        elif event == "cut":
            partition(cluster)
        elif event == "break":
            break_some(cluster)
        elif event == "slow":
            slow_some(cluster)
        elif event == "freeze":
            running.append(asyncio.create_task(freeze(cluster, cluster.random.uniform(0.1, 2.0))))
        elif event == "disk" and node is not None:
            node.disk.slowness = cluster.random.choice((1.0, 1.0, 30.0))
        elif event == "client":
            kill_a_client(cluster)
        elif event == "heal":
            cluster.network.heal()
        await pause(cluster, 0.25)
    await asyncio.gather(*running)
