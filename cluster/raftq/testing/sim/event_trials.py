"""Subscribers to events, while the nodes that tell them are killed, freeze and lose connections."""

from collections.abc import Awaitable, Callable

from raftq.protocol.errors import EventsLost, RaftqError
from raftq.testing.checks.events import Followed
from raftq.testing.history import History
from raftq.testing.sim.clients import ClientMachine, Surroundings
from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.model_trials import task_model

_SUBSCRIBERS = 3


async def events(cluster: SimCluster) -> None:
    """Tasks with every option move, and subscribers follow from node to node."""
    names = tuple(node.name for node in cluster.nodes)
    unjudged = History()
    for number in range(1, _SUBSCRIBERS + 1):
        name = f"subscriber{number}"
        program = _follow(cluster.followed)
        client = ClientMachine(cluster.world, cluster.network, unjudged, name, names, program)
        client.on_bug = cluster.nodes[0].on_bug
        cluster.clients.append(client)
        client.start(cluster.plan.load.call_timeout)
    await task_model(cluster)


def _follow(runs: list[Followed]) -> Callable[[Surroundings], Awaitable[None]]:
    """Return a program that follows the events of all queues, and notes what it is told."""

    async def run(around: Surroundings) -> None:
        while True:  # Also while the cluster is drained, to the last event.
            followed = Followed(around.name)
            runs.append(followed)
            events = around.client.events()
            while True:
                try:
                    async for event in events:
                        followed.told.append(event)
                except EventsLost:
                    break
                except RaftqError:
                    await around.pause(0.1)

    return run
