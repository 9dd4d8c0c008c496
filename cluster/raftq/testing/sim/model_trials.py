"""Tasks with every option, while processes are killed and connections break."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from raftq.testing.history import History
from raftq.testing.sim.clients import ClientMachine, Surroundings
from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.faults import break_some, bring_back, crash, freeze, pause, some_up

Program: TypeAlias = Callable[[Surroundings], Awaitable[None]]
_PRODUCERS = 2
_WORKERS = 3


async def task_model(cluster: SimCluster) -> None:
    """Leaders die, freeze and lose connections in the middle of joins, limits and orders."""
    _start_clients(cluster)
    end = cluster.world.now + cluster.plan.seconds
    await asyncio.sleep(1.5)
    returning: list[asyncio.Task[None]] = []
    while cluster.world.now < end:
        event = cluster.random.choice(("kill", "power", "break", "freeze"))
        node = some_up(cluster)
        if event in ("kill", "power") and node is not None:
            await crash(cluster, node, power=event == "power")
            returning.append(asyncio.create_task(bring_back(cluster, node, 0.3)))
        elif event == "break":
            break_some(cluster)
        else:
            await freeze(cluster, cluster.random.uniform(0.1, 1.0))
        await pause(cluster, 0.5)
    await asyncio.gather(*returning)


def _start_clients(cluster: SimCluster) -> None:
    model = cluster.model
    programs = {f"maker{number}": model.producer() for number in range(1, _PRODUCERS + 1)}
    programs |= {f"doer{number}": model.worker() for number in range(1, _WORKERS + 1)}
    start_unjudged(cluster, programs)


def start_unjudged(cluster: SimCluster, programs: Mapping[str, Program]) -> None:
    """Start programs by their clients' names; their calls are in no history that is judged."""
    names = tuple(node.name for node in cluster.nodes)
    unjudged = History()
    for name, program in programs.items():
        client = ClientMachine(cluster.world, cluster.network, unjudged, name, names, program)
        client.on_bug = cluster.nodes[0].on_bug
        cluster.clients.append(client)
        client.start(cluster.plan.load.call_timeout)
