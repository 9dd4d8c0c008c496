"""Both clients against three real nodes, while nodes are killed, stopped and started again."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Generator
from uuid import UUID, uuid4

import pytest
from tests.support.asyncs import until
from tests.support.fake_node import run
from tests.support.nodes import heal

from raftq.cli.local_cluster import LocalCluster
from raftq.client import (
    AckItem,
    AsyncClient,
    Client,
    Conflict,
    Consistency,
    ExtendItem,
    FailItem,
    LeaseLost,
    RequeueItem,
    TaskState,
    UnknownTask,
)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes")) as running:
        yield running


@pytest.fixture
def cluster(nodes: LocalCluster) -> Generator[LocalCluster]:
    """A cluster whose nodes all serve, whatever the test before did to them."""
    yield nodes
    heal(nodes)


def fresh() -> str:
    return f"q-{uuid4().hex}"


def test_every_method_through_the_blocking_client(cluster: LocalCluster) -> None:
    queue = fresh()
    with Client(cluster.addresses) as client:
        task = client.enqueue(queue, b"one", priority=2)
        assert (task.state, task.created) == (TaskState.READY, True)
        (lease,) = client.lease(queue, worker="w")
        assert (lease.task_id, lease.payload, lease.attempt) == (task.id, b"one", 1)
        assert client.extend(lease.token, "1m") is TaskState.LEASED
        assert client.requeue(lease.token) is TaskState.READY
        (again,) = client.lease([fresh(), queue], worker="w")
        assert (again.attempt, again.token > lease.token) == (1, True)
        assert client.fail(again.token, "no luck") is TaskState.READY
        (last,) = client.lease(queue, worker="w", wait="5s")
        assert last.attempt == 2
        assert client.ack(last.token, b"result") is TaskState.DONE
        assert client.ack(last.token, b"result") is TaskState.DONE, "a repeated ack is done"
        with pytest.raises(LeaseLost):
            client.extend(lease.token, 30)
        status = client.task(task.id)
        assert (status.result, status.errors, status.priority) == (b"result", ["no luck"], 2)
        with pytest.raises(UnknownTask):
            client.task(uuid4())
        counts = client.queue(queue, consistency=Consistency.STALE).counts
        assert sum(counts.values()) == 1
        assert client.cluster().leader is not None


def test_every_batch_form(cluster: LocalCluster) -> None:
    async def main() -> None:
        queue = fresh()
        async with AsyncClient(cluster.addresses) as client:
            tasks = [client.new_task(b"%d" % number) for number in range(40)]
            first = await client.enqueue_many(queue, tasks)
            assert [each.id for each in first] == [task.id for task in tasks]
            second = await client.enqueue_many(queue, tasks)
            assert [each.created for each in second] == [False] * 40
            with pytest.raises(Conflict):
                taken = client.new_task(b"x", id=UUID(bytes=tasks[0].id))
                await client.enqueue_many(queue, [b"new", taken])
            assert (await client.queue(queue)).enqueued == 40, "all or none"
            leases = await client.lease(queue, worker="w", count=40)
            tokens = [lease.token for lease in leases]
            extended = await client.extend_many([ExtendItem(each, 60_000) for each in tokens])
            assert all(each.state is TaskState.LEASED for each in extended)
            acked = await client.ack_many([AckItem(each, b"r") for each in [*tokens[:10], 2**62]])
            assert [each.error_code for each in acked] == [""] * 10 + ["lease_lost"]
            failed = await client.fail_many([FailItem(each, "no") for each in tokens[10:20]])
            returned = await client.requeue_many([RequeueItem(each) for each in tokens[20:]])
            assert {each.state for each in [*failed, *returned]} == {TaskState.READY}
            counts = (await client.queue(queue)).counts
            assert (counts["done"], counts["ready"]) == (10, 30)

    run(main)


@pytest.mark.parametrize("number", range(3))
def test_any_single_node_serves_everything(cluster: LocalCluster, number: int) -> None:
    queue = fresh()
    with Client(cluster.nodes[number].native) as client:
        task = client.enqueue(queue, b"x")
        (lease,) = client.lease(queue, worker="w", wait="5s")
        assert client.ack(lease.token) is TaskState.DONE
        assert client.task(task.id).state is TaskState.DONE


def test_a_repeated_lease_request_returns_the_same_leases_from_an_empty_queue(
    cluster: LocalCluster,
) -> None:
    queue = fresh()
    with Client(cluster.addresses) as client:
        client.enqueue(queue, b"only")
        first = client.lease(queue, worker="w", request_id="r1")
        for wait in (0, 20):
            began = time.monotonic()
            again = client.lease(queue, worker="w", request_id="r1", wait=wait)
            assert [each.token for each in again] == [each.token for each in first]
            assert time.monotonic() - began < 10


def test_a_cancelled_poll_takes_no_task_with_it(cluster: LocalCluster) -> None:
    async def main() -> None:
        async with AsyncClient(cluster.addresses) as client:
            for turn in range(20):
                queue = fresh()
                poll = asyncio.create_task(client.lease(queue, worker="w", wait=30))
                await asyncio.sleep(0.01)
                adding = asyncio.create_task(client.enqueue(queue, b"x"))
                await asyncio.sleep(0.0005 * turn)
                poll.cancel()
                outcome = (await asyncio.gather(poll, return_exceptions=True))[0]
                await adding
                if isinstance(outcome, asyncio.CancelledError):
                    leases = await client.lease(queue, worker="other", wait=10)
                    assert [lease.attempt for lease in leases] == [1]

    run(main)


# ---------------------------------------------------------------- trouble

Trouble = Callable[[LocalCluster], Awaitable[None]]


async def kill_leader(cluster: LocalCluster) -> None:
    leader = await asyncio.to_thread(cluster.wait_leader)
    await asyncio.to_thread(leader.kill)


async def stop_leader(cluster: LocalCluster) -> None:
    leader = await asyncio.to_thread(cluster.wait_leader)
    leader.send(signal.SIGSTOP)


async def hand_over(cluster: LocalCluster) -> None:
    leader = await asyncio.to_thread(cluster.wait_leader)
    await asyncio.to_thread(leader.stop)


async def restart_all(cluster: LocalCluster) -> None:
    await asyncio.to_thread(cluster.kill_all)
    for node in cluster.nodes:
        node.start()


@pytest.mark.parametrize("trouble", [kill_leader, stop_leader, hand_over, restart_all])
def test_no_call_fails_and_no_task_is_lost_or_doubled(
    cluster: LocalCluster, trouble: Trouble
) -> None:
    async def main() -> None:
        queue = fresh()
        added: list[bytes] = []
        recorded: list[bytes] = []
        stopped = asyncio.Event()

        async def produce(client: AsyncClient) -> None:
            while not stopped.is_set():
                added.append((await client.enqueue(queue, b"x", timeout=40)).id)

        async def consume(client: AsyncClient, name: str) -> None:
            while not stopped.is_set() or len(recorded) < len(added):
                for lease in await client.lease(queue, worker=name, count=8, wait=0.5, timeout=40):
                    await client.ack(lease.token, lease.task_id, timeout=40)
                    recorded.append(lease.task_id)

        async with AsyncClient(cluster.addresses) as client, asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(produce(client))
                group.create_task(consume(client, f"w{number}"))
            await until(lambda: len(recorded) > 50)
            await trouble(cluster)
            seen = len(recorded)
            await until(lambda: len(recorded) > seen + 100, 40)
            stopped.set()
        assert len(set(added)) == len(added)
        assert sorted(recorded) == sorted(added), "each is recorded once"
        async with AsyncClient(cluster.addresses) as client:
            status = await client.queue(queue, timeout=40)
            assert status.enqueued == len(added)
            assert {name: count for name, count in status.counts.items() if count} == {
                "done": len(added)
            }

    run(main)


def test_calls_succeed_elsewhere_soon_after_the_leader_hangs(cluster: LocalCluster) -> None:
    async def main() -> None:
        queue = fresh()
        async with AsyncClient(cluster.addresses) as client:
            await client.enqueue(queue, b"before")
            await stop_leader(cluster)
            began = time.monotonic()
            task = await client.enqueue(queue, b"after", timeout=40)
            took = time.monotonic() - began
            assert took < 10, f"{took} s"
            assert (await client.queue(queue)).enqueued == 2
            assert (await client.task(task.id)).state is TaskState.READY

    run(main)


def test_a_long_poll_outlives_a_hanging_leader(cluster: LocalCluster) -> None:
    async def main() -> None:
        queue = fresh()
        async with AsyncClient(cluster.addresses) as client:
            await client.cluster()
            poll = asyncio.create_task(client.lease(queue, worker="w", wait=60))
            await asyncio.sleep(0.2)
            await stop_leader(cluster)
            began = time.monotonic()
            async with AsyncClient(cluster.addresses) as producer:
                task = await producer.enqueue(queue, b"x", timeout=40)
            (lease,) = await poll
            assert (lease.task_id, lease.attempt) == (task.id, 1)
            assert time.monotonic() - began < 20

    run(main)
