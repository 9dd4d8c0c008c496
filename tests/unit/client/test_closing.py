"""Closing a client, and cancelling a call: what ends, and what goes on."""

import asyncio
import time
from collections.abc import Callable

import pytest
from tests.support.asyncs import until
from tests.support.fake_node import FakeCluster, Received, Silent, run, slowly, success

from raftq.client import AsyncClient
from raftq.protocol.calls import LeaseCall
from raftq.protocol.commands import Requeue
from raftq.protocol.errors import ConnectionLost, InvalidRequest, NoLeader, RaftqError
from raftq.protocol.replies import Leased, LeasedTask


def test_a_closed_client_refuses_calls_and_closing_twice_is_harmless() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster:
            client = AsyncClient(cluster.addresses)
            await client.enqueue("q", b"x")
            await client.close()
            await client.close()
            with pytest.raises(InvalidRequest, match="closed"):
                await client.enqueue("q", b"x")

    run(main)


def unanswered(cluster: FakeCluster) -> None:
    cluster["n1"].fallback = Silent()


def unconnected(cluster: FakeCluster) -> None:
    cluster["n1"].hello = Silent()


def pausing(cluster: FakeCluster) -> None:
    cluster["n1"].fallback = NoLeader("", retry_after_ms=9_000)


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (unanswered, ConnectionLost),
        (unconnected, InvalidRequest),
        (pausing, InvalidRequest),
    ],
)
def test_close_ends_open_calls_at_once_and_says_whether_they_may_have_happened(
    prepare: Callable[[FakeCluster], None], expected: type[RaftqError]
) -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster:
            client = AsyncClient(cluster.addresses)
            prepare(cluster)
            call = asyncio.create_task(client.enqueue("q", b"x", timeout=50))
            await until(lambda: cluster["n1"].hellos)
            await asyncio.sleep(0.05)
            began = time.monotonic()
            await client.close()
            with pytest.raises(expected):
                await call
            assert time.monotonic() - began < 5

    run(main)


def test_a_cancelled_call_leaves_the_connection_to_the_others() -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            cluster["n1"].script.append(slowly(0.1, success))
            call = asyncio.create_task(client.enqueue("q", b"1"))
            await until(lambda: cluster.calls)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert (await client.enqueue("q", b"2")).created
            assert cluster["n1"].connections == 1

    run(main)


def test_a_cancelled_lease_call_gives_back_what_it_was_granted_meanwhile() -> None:
    leased = LeasedTask(bytes(16), "q", 77, 1, b"x", 30_000)

    def grant(received: Received) -> Leased | Silent:
        assert isinstance(received.call, LeaseCall)
        return Silent() if received.call.wait_ms else Leased([leased], is_repeat=True)

    async def main() -> None:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            cluster["n1"].script.extend([grant, grant])
            call = asyncio.create_task(client.lease("q", worker="w", wait=30))
            await until(lambda: cluster.calls)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            first, second, third = cluster.calls
            assert isinstance(first, LeaseCall) and isinstance(second, LeaseCall)
            assert (first.worker, first.request_id) == (second.worker, second.request_id)
            assert second.wait_ms == 0
            assert isinstance(third, Requeue) and third.items[0].token == 77

    run(main)


def test_a_lease_call_cancelled_while_its_answer_arrives_gives_the_leases_back() -> None:
    leased = LeasedTask(bytes(16), "q", 78, 1, b"x", 30_000)

    async def main() -> None:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            await client.cluster()
            answered = asyncio.Event()

            def grant(_: Received) -> Leased:
                answered.set()
                return Leased([leased])

            cluster["n1"].script.extend([grant, Leased([leased], is_repeat=True)])
            call = asyncio.create_task(client.lease("q", worker="w", wait=30))
            await answered.wait()
            while not call.done():  # Every turn of the loop between the answer and the end.
                call.cancel()
                await asyncio.sleep(0)
            await until(lambda: any(isinstance(each, Requeue) for each in cluster.calls))

    run(main)


def test_a_lease_call_cancelled_without_any_connection_ends_at_once() -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster:
            addresses = cluster.addresses
        async with AsyncClient(addresses) as client:
            call = asyncio.create_task(client.lease("q", worker="w", wait=30))
            await asyncio.sleep(0.05)
            began = time.monotonic()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert time.monotonic() - began < 1

    run(main)
