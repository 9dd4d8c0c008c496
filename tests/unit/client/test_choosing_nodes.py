"""Which node is asked: the leader, and another one if it is silent, down or going away."""

import asyncio
import time

import pytest
from tests.support.asyncs import until
from tests.support.fake_node import FakeCluster, Silent, enqueued_ids, run, slowly, success

from raftq.client import AsyncClient
from raftq.client.connection import PATIENCE_SECONDS
from raftq.protocol.calls import LeaseCall
from raftq.protocol.errors import NoLeader, NotLeader


def test_calls_go_to_the_leader_that_hello_names() -> None:
    async def main() -> None:
        async with (
            FakeCluster(leader="n3") as cluster,
            AsyncClient(cluster["n1"].address) as client,
        ):
            await client.enqueue("q", b"1")
            await client.enqueue("q", b"2")
            assert [len(node.calls) for node in cluster.nodes] == [1, 0, 1]

    run(main)


def test_a_pushed_leader_change_is_followed() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            await client.enqueue("q", b"1")
            cluster["n1"].push("leader", ["n2", 7])
            await client.cluster()  # Its answer comes behind the push.
            await client.enqueue("q", b"2")
            assert [len(node.calls) for node in cluster.nodes] == [2, 1, 0]

    run(main)


def test_a_not_leader_answer_that_names_the_leader_is_followed() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            cluster["n1"].script.append(NotLeader("no", leader="n3"))
            await client.enqueue("q", b"1")
            assert [len(node.calls) for node in cluster.nodes] == [1, 0, 1]

    run(main)


def test_a_node_that_shuts_down_gets_no_further_calls() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            await client.cluster()
            cluster["n1"].push("shutting_down", [])
            await client.cluster()
            await client.enqueue("q", b"2")
            assert len(cluster["n1"].calls) == 2

    run(main)


def test_a_silent_leader_is_left_after_patience_and_not_at_the_deadline() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            cluster["n1"].fallback = Silent()
            began = time.monotonic()
            await client.enqueue("q", b"x", timeout=60)
            assert PATIENCE_SECONDS * 0.9 <= time.monotonic() - began < 10
            assert len(set(enqueued_ids(cluster))) == 1

    run(main)


def test_the_wait_of_a_lease_call_is_not_silence() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            cluster["n1"].fallback = slowly(1.6, success)
            await client.lease("q", worker="w", wait=10)
            assert len(cluster.calls) == 1

    run(main)


def test_a_long_poll_leaves_a_node_that_hangs_long_before_its_wait_is_over() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            cluster["n1"].fallback = Silent()
            poll = asyncio.create_task(client.lease("q", worker="w", wait=120))
            await until(lambda: cluster["n1"].calls)
            cluster["n1"].hello = Silent()
            began = time.monotonic()
            await poll
            assert time.monotonic() - began < 20
            leases = [call for call in cluster.calls if isinstance(call, LeaseCall)]
            assert len({call.request_id for call in leases}) == 1

    run(main)


def test_many_nodes_down_still_leave_one_that_serves() -> None:
    async def main() -> None:
        async with FakeCluster(5, leader=None) as cluster:
            for node in cluster.nodes[:4]:
                await node.stop()
            async with AsyncClient(cluster.addresses) as client:
                assert (await client.enqueue("q", b"x")).created

    run(main)


def test_all_nodes_down_is_unavailable_and_says_where_it_tried() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster:
            addresses = cluster.addresses
        async with AsyncClient(addresses) as client:
            with pytest.raises(NoLeader, match=r"cannot reach 127\.0\.0\.1"):
                await client.enqueue("q", b"x", timeout=0.3)

    run(main)


def test_a_node_that_comes_back_is_used_by_a_waiting_call() -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster:
            await cluster["n1"].stop()
            async with AsyncClient(cluster.addresses) as client:
                call = asyncio.create_task(client.enqueue("q", b"x", timeout=30))
                await asyncio.sleep(0.05)
                await cluster["n1"].start(cluster)
                assert (await call).created

    run(main)


def test_calls_that_need_the_same_hanging_node_do_not_queue_up_behind_each_other() -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            cluster["n1"].hello = Silent()
            began = time.monotonic()
            calls = [client.enqueue("q", b"x", timeout=0.5) for _ in range(30)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(each, NoLeader) for each in results)
            assert time.monotonic() - began < 5
            assert cluster["n1"].connections <= 3

    run(main)
