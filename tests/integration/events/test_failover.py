"""Events of a real cluster, while nodes are killed: each transition once, in order, no gap."""

import asyncio
import signal
from collections import Counter, defaultdict
from collections.abc import Generator
from uuid import uuid4

import pytest
from tests.support.asyncs import until
from tests.support.fake_node import run
from tests.support.nodes import heal

from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.client import AsyncClient, Client, TaskEvent, TaskState

TASKS = 1_000
READY, LEASED, DONE = TaskState.READY, TaskState.LEASED, TaskState.DONE


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes")) as running:
        yield running


@pytest.fixture
def cluster(nodes: LocalCluster) -> Generator[LocalCluster]:
    """A cluster whose nodes all serve, whatever the test before did to them."""
    yield nodes
    heal(nodes)


async def produce(client: AsyncClient, queue: str) -> None:
    for _ in range(TASKS // 10):
        await client.enqueue_many(queue, [b"x"] * 10, timeout=40)


async def consume(client: AsyncClient, queue: str, done: Counter[bytes]) -> None:
    while len(done) < TASKS:
        for lease in await client.lease(queue, worker="w", count=10, wait=0.5, timeout=40):
            await client.ack(lease.token, timeout=40)
            done[lease.task_id] += 1


def check(seen: list[TaskEvent], done: Counter[bytes]) -> None:
    """Check that what was seen is every transition of every task, once and in order."""
    positions = [each.position for each in seen]
    assert positions == sorted(set(positions)), "in order, none twice"
    assert [each.at_ms for each in seen] == sorted(each.at_ms for each in seen)
    of_task: dict[bytes, list[TaskState]] = defaultdict(list)
    for event in seen:
        of_task[event.task_id].append(event.state)
    assert of_task.keys() == done.keys() and len(done) == TASKS
    for states in of_task.values():
        # A lease whose answer was lost runs out, and its task is leased again.
        assert states[::2] == [READY] * (len(states) // 2) + [DONE], states
        assert states[1::2] == [LEASED] * (len(states) // 2), states


def test_each_transition_is_seen_once_and_in_order_though_the_leader_is_killed(
    cluster: LocalCluster,
) -> None:
    async def main() -> None:
        queue, seen, done = f"q-{uuid4().hex}", list[TaskEvent](), Counter[bytes]()

        async def follow(client: AsyncClient) -> None:
            async with client.events(queue=queue, timeout=40) as events:
                following.set()
                async for event in events:
                    seen.append(event)
                    if event.state is DONE:
                        ended.add(event.task_id)
                    if len(ended) == TASKS:
                        return

        following, ended = asyncio.Event(), set[bytes]()
        async with AsyncClient(cluster.addresses) as client:
            leader = await asyncio.to_thread(cluster.wait_leader)
            # It knows the leader only, at first: this subscription must end with the leader.
            async with AsyncClient(leader.native) as follower, asyncio.TaskGroup() as group:
                group.create_task(follow(follower))
                await following.wait()
                group.create_task(produce(client, queue))
                group.create_task(consume(client, queue, done))
                await until(lambda: len(seen) > TASKS)
                assert len(ended) < TASKS, "in the middle of it"
                await asyncio.to_thread(leader.kill)
        check(seen, done)

    run(main)


def test_every_node_tells_the_same_events_with_the_same_positions(cluster: LocalCluster) -> None:
    queue = f"q-{uuid4().hex}"
    with Client(cluster.addresses) as client:
        client.enqueue_many(queue, [b"x"] * 20)
        begins = client.last_index - 1
        for lease in client.lease(queue, worker="w", count=20):
            client.ack(lease.token)
        wanted = client.last_index
    told: list[list[TaskEvent]] = []
    for node in cluster.nodes:
        told.append(followed(node, queue, begins, 60))
        assert told[-1][-1].index == wanted
    assert told[0] == told[1] == told[2]


def followed(node: NodeProcess, queue: str, after_index: int, count: int) -> list[TaskEvent]:
    with Client(node.native) as client, client.events(queue=queue, after_index=after_index) as each:
        return [next(each) for _ in range(count)]


def test_a_subscriber_leaves_a_node_that_hangs(cluster: LocalCluster) -> None:
    async def main() -> None:
        queue, leader = f"q-{uuid4().hex}", await asyncio.to_thread(cluster.wait_leader)
        async with (
            AsyncClient(cluster.addresses) as client,
            AsyncClient(leader.native) as other,
            other.events(queue=queue) as events,
        ):
            await client.enqueue(queue, b"before", timeout=40)
            first = await anext(events)
            leader.send(signal.SIGSTOP)
            task = await client.enqueue(queue, b"after", timeout=40)
            second = await anext(events)
            assert second.task_id == task.id and second.position > first.position

    run(main)


def test_a_restarted_node_keeps_what_is_in_its_log(cluster: LocalCluster) -> None:
    queue = f"q-{uuid4().hex}"
    with Client(cluster.addresses) as client:
        client.enqueue(queue, b"x", timeout=40)
        begins = client.last_index - 1
    cluster.kill_all()
    for node in cluster.nodes:
        node.start()
    cluster.wait_ready(60)
    for node in cluster.nodes:
        (event,) = followed(node, queue, begins, 1)
        assert (event.index, event.state) == (begins + 1, READY)
