"""What a worker holds: however much it is, all of it is extended, and all of it given back."""

import asyncio
import gc

from tests.support.asyncs import asynchronous, until
from tests.support.fake_node import FakeCluster, Received

from raftq.client import AsyncClient
from raftq.protocol import limits
from raftq.protocol.commands import Extend, Requeue
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import Settled, SettledTask
from raftq.worker.holding import Held, Holding
from raftq.worker.run import Run

COUNT = limits.SETTLEMENTS_PER_CALL_MAX + 1
"""One lease more than a call may name."""


@asynchronous
async def test_more_leases_than_a_call_may_name_are_extended_and_given_back() -> None:
    extended: set[int] = set()
    given_back: set[int] = set()

    def judge(received: Received) -> Settled:
        assert isinstance(received.call, Extend | Requeue)
        found = extended if isinstance(received.call, Extend) else given_back
        found.update(item.token for item in received.call.items)
        return Settled([SettledTask(TaskState.LEASED)] * len(received.call.items))

    async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
        cluster["n1"].fallback = judge
        holding = Holding(client, 3.0, lambda held, code: None)
        for token in range(1, COUNT + 1):
            holding.add(Held(Run(bytes(16), "q", token, 1, b"")))
        extending = asyncio.create_task(holding.extend_for_ever())
        await until(lambda: len(extended) == COUNT)
        extending.cancel()
        await holding.give_back(10.0)
    assert len(given_back) == COUNT


@asynchronous
async def test_a_lease_that_is_over_is_in_no_cycle_that_only_the_collector_frees() -> None:
    async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
        holding = Holding(client, 3.0, lambda held, code: None)
        gc.collect()
        gc.disable()
        try:
            for token in range(1, 101):
                holding.add(Held(Run(bytes(16), "q", token, 1, b"")))
                holding.remove(token)
            assert gc.collect() < 100
        finally:
            gc.enable()
