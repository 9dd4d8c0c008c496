"""Schedules, while leaders die, freeze and are cut off in the very moment of a tick."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import permutations
from typing import Final

from raftq.protocol.errors import OutcomeUnknown, UnavailableError
from raftq.testing.memory_files import Keep
from raftq.testing.sim.clients import ClientMachine, Surroundings
from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.faults import bring_back, minority, pause, vary_disks
from raftq.testing.sim.node import SimNode
from raftq.testing.sim.trials import others, the_leader

_EVERY_SECONDS: Final = {"ticks-steady": 1.0, "ticks-odd": 1.7}
"""Schedule, and queue of the same name → the time between two ticks."""
_SET_AGAIN_SECONDS: Final = 1.2


async def schedules(cluster: SimCluster) -> None:
    """Each tick fires once, though at most ticks something happens to the leader."""
    _start_owner(cluster)
    end = cluster.world.now + cluster.plan.seconds
    returning: list[asyncio.Task[None]] = []
    await asyncio.sleep(1.5)
    while cluster.world.now < end:
        leader = await the_leader(cluster)
        if leader is None:
            break
        await _until_about_a_tick(cluster, leader)
        down = sum(not each.is_up for each in cluster.nodes)
        if leader.is_up and down < minority(cluster):
            returning += await _strike(cluster, leader)
        await pause(cluster, 0.3)
        vary_disks(cluster)
    await asyncio.gather(*returning)


def _start_owner(cluster: SimCluster) -> None:
    """Start the program that sets the schedules."""
    names = tuple(node.name for node in cluster.nodes)
    owner = ClientMachine(cluster.world, cluster.network, cluster.history, "owner", names, _own())
    owner.on_bug = cluster.nodes[0].on_bug
    cluster.clients.append(owner)
    owner.start(cluster.plan.load.call_timeout)


def _own() -> Callable[[Surroundings], Awaitable[None]]:
    """Return a program that sets the schedules again and again, each time with another payload.

    Times and names stay, so that all ticks must come as if they had been set once.
    """

    async def run(around: Surroundings) -> None:
        number = 0
        while not around.is_stopping():
            number += 1
            for name, seconds in _EVERY_SECONDS.items():
                with suppress(UnavailableError, OutcomeUnknown):
                    await around.client.set_schedule(
                        name, name, b"%d" % number, every=seconds, missed="all"
                    )
            await around.pause(_SET_AGAIN_SECONDS)

    return run


async def _until_about_a_tick(cluster: SimCluster, leader: SimNode) -> None:
    """Wait until shortly before, at or after the next tick: while it is proposed, or written."""
    replica = leader.replica
    next_at_ms = None if replica is None else replica.machine.next_schedule_at_ms()
    if replica is None or next_at_ms is None:
        await asyncio.sleep(0.2)
        return
    seconds = (next_at_ms - replica.wall_ms) / 1_000 + cluster.random.uniform(-0.02, 0.06)
    await asyncio.sleep(max(seconds, 0.0))


async def _strike(cluster: SimCluster, leader: SimNode) -> list[asyncio.Task[None]]:
    """Do something to the leader; return what brings it back, if that takes time."""
    event = cluster.random.choice(("kill", "power", "cut", "freeze", "stop", "nobody"))
    cluster.world.note(f"{leader.name} at a tick: {event}")
    if event == "cut":
        for other in others(cluster, leader):
            cluster.network.block(leader.name, other.name)
            cluster.network.block(other.name, leader.name)
        await pause(cluster, 0.8)
        cluster.network.heal()
    elif event == "freeze" and leader.process is not None:
        process = leader.process
        # Not longer: a leader that hears no clock for a second after its election may be behind.
        process.pause()
        await asyncio.sleep(cluster.random.uniform(0.1, 0.9))
        process.resume()
    elif event == "nobody":
        for first, second in permutations(cluster.nodes, 2):
            cluster.network.block(first.name, second.name)
        await asyncio.sleep(cluster.random.uniform(1.5, 3.0))
        cluster.network.heal()
    elif event == "stop":
        leader.request_stop()
        return [asyncio.create_task(_restart(cluster, leader))]
    else:
        if event == "power":
            leader.lose_power(cluster.random.choice((Keep.NOTHING, Keep.EVERYTHING)))
        else:
            leader.kill()
        return [asyncio.create_task(bring_back(cluster, leader, 0.4))]
    return []


async def _restart(cluster: SimCluster, node: SimNode) -> None:
    """Start a node again once it has stopped, unless another fault ended it before."""
    starts = node.starts
    while node.is_up and node.starts == starts:
        await asyncio.sleep(0.05)
    await bring_back(cluster, node, 0.2)
