"""The worker loop of production runs on a cluster in memory as it is."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tests.support.asyncs import asynchronous, within

from raftq.client import AsyncClient
from raftq.testing import MemoryBroker
from raftq.testing.memory.clients import async_client
from raftq.worker import Handler, Run, Worker


@asynccontextmanager
async def working(broker: MemoryBroker, handler: Handler) -> AsyncGenerator[AsyncClient]:
    """Run a worker for queue `q` while the block runs."""
    async with async_client(broker) as calls, async_client(broker) as client:
        worker = Worker(client, "q", handler, concurrency=4, lease=30, name="w")
        running = asyncio.create_task(worker.run())
        try:
            yield calls
        finally:
            worker.stop()
            await within(10, running)


class Handled:
    """A handler that tells of each run."""

    def __init__(self) -> None:
        self.runs: asyncio.Queue[Run] = asyncio.Queue()
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self, run: Run) -> bytes:
        self.runs.put_nowait(run)
        await self.may_end.wait()
        return run.payload


@asynchronous
async def test_what_is_enqueued_is_run_and_recorded() -> None:
    broker, handled = MemoryBroker(0), Handled()
    async with working(broker, handled) as calls:
        made = await calls.enqueue_many("q", [b"%d" % number for number in range(50)])
        await within(10, _done(calls, 50))
        assert [(await calls.task(each.id)).result for each in made[:2]] == [b"0", b"1"]


@asynchronous
async def test_a_delayed_task_is_run_when_the_test_moves_the_clock() -> None:
    broker, handled = MemoryBroker(0), Handled()
    async with working(broker, handled) as calls:
        await calls.enqueue("q", b"x", delay="10s")
        broker.advance(10_000)
        assert (await within(5, handled.runs.get())).payload == b"x"


@asynchronous
async def test_a_lease_that_ran_out_is_run_again_and_the_first_run_counts_for_nothing() -> None:
    broker, handled = MemoryBroker(0), Handled()
    handled.may_end.clear()
    async with working(broker, handled) as calls:
        made = await calls.enqueue("q", b"x")
        first = await within(5, handled.runs.get())
        broker.advance(30_000)
        second = await within(5, handled.runs.get())
        assert first.token < second.token
        handled.may_end.set()
        await within(10, _done(calls, 1))
        assert (await calls.task(made.id)).token == second.token


@asynchronous
async def test_a_worker_that_stops_gives_back_what_it_holds() -> None:
    broker, handled = MemoryBroker(0), Handled()
    handled.may_end.clear()
    async with async_client(broker) as client:
        worker = Worker(client, "q", handled, lease=30, drain_timeout=0, name="w")
        running = asyncio.create_task(worker.run())
        made = await client.enqueue("q", b"x")
        await within(5, handled.runs.get())
        worker.stop()
        await within(10, running)
        status = await client.task(made.id)
        assert (status.state, status.attempts) == ("ready", 0)


async def _done(calls: AsyncClient, count: int) -> None:
    while (await calls.queue("q")).counts["done"] < count:
        await asyncio.sleep(0.002)
