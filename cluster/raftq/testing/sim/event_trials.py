"""Subscribers to events, while the nodes that tell them are killed, freeze and lose connections."""

from raftq.protocol.errors import EventsLost, RaftqError
from raftq.testing.checks.events import Followed
from raftq.testing.sim.clients import Surroundings
from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.model_trials import Program, start_unjudged, task_model

_SUBSCRIBERS = 3


async def events(cluster: SimCluster) -> None:
    """Tasks with every option move, and subscribers follow from node to node."""
    numbers = range(1, _SUBSCRIBERS + 1)
    program = _follow(cluster.followed)
    start_unjudged(cluster, {f"subscriber{number}": program for number in numbers})
    await task_model(cluster)


def _follow(runs: list[Followed]) -> Program:
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
