"""Calls of one item that are made at the same time share a request, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.support.asyncs import until
from tests.support.fake_node import FakeCluster, FakeNode, Received, Silent, run

from raftq.client.connection import Connection, open_connection
from raftq.protocol import codec, limits
from raftq.protocol.calls import Call
from raftq.protocol.commands import Ack, AckItem, Enqueue, Fail, FailItem
from raftq.protocol.errors import (
    Conflict,
    ConnectionLost,
    InternalError,
    NotLeader,
    QueueFull,
    RaftqError,
)
from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask
from raftq.protocol.replies import Enqueued, EnqueuedTask, Settled, SettledTask

Body = Callable[[FakeNode, Connection], Awaitable[None]]
READY, DONE = TaskState.READY, TaskState.DONE


def _ignore(_method: str, _params: list[object]) -> None:
    """Notifications do not matter here."""


def connected(body: Body) -> None:
    """Run a body with a node and a connection to it."""

    async def main() -> None:
        async with FakeCluster(1) as cluster:
            node = cluster["n1"]
            connection, _ = await open_connection(
                ("127.0.0.1", node.port), "test", 5.0, _ignore, lambda: None
            )
            try:
                await body(node, connection)
            finally:
                connection.close()

    run(main)


def task(number: int, payload: bytes = b"x") -> NewTask:
    return NewTask(number.to_bytes(16, "big"), payload)


def enqueue(number: int, queue: str = "q", payload: bytes = b"x") -> Enqueue:
    return Enqueue(queue, [task(number, payload)])


def answered(received: Received) -> Enqueued | Settled:
    """Answer a call with something that tells its items apart."""
    call = received.call
    if isinstance(call, Enqueue):
        return Enqueued([EnqueuedTask(each.id, READY, True) for each in call.tasks])
    assert isinstance(call, Ack | Fail)
    return Settled([SettledTask(None, f"code-{item.token}") for item in call.items])


async def outcomes(futures: "list[asyncio.Future[object]]") -> list[object]:
    async with asyncio.timeout(20):
        return await asyncio.gather(*futures, return_exceptions=True)


def test_enqueues_of_one_turn_are_one_request_and_each_gets_its_own_answer() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = answered
        found = await outcomes([connection.call(enqueue(n), 1_000) for n in range(40)])
        assert found == [Enqueued([EnqueuedTask(task(n).id, READY, True)]) for n in range(40)]
        assert [each.call for each in node.received] == [
            Enqueue("q", [task(number) for number in range(40)])
        ]
        assert node.received[0].timeout_ms == 1_000

    connected(body)


def test_a_call_alone_is_sent_as_it_is() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = answered
        for number in range(2):
            await outcomes([connection.call(enqueue(number), 1_000)])
        assert [each.call for each in node.received] == [enqueue(0), enqueue(1)]

    connected(body)


def test_settlements_share_by_their_kind_and_enqueues_by_their_queue() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = answered
        calls: list[tuple[Call, int]] = [
            (Ack([AckItem(1)]), 1_000),
            (Fail([FailItem(2, "no")]), 1_000),
            (Ack([AckItem(3, b"result")]), 1_000),
            (enqueue(4, "a"), 1_000),
            (enqueue(5, "b"), 1_000),
            (enqueue(6, "a"), 1_000),
        ]
        found = await outcomes([connection.call(*each) for each in calls])
        assert [each.items[0].error_code for each in found if isinstance(each, Settled)] == [
            "code-1",
            "code-2",
            "code-3",
        ]
        assert [each.call for each in node.received] == [
            Ack([AckItem(1), AckItem(3, b"result")]),
            Fail([FailItem(2, "no")]),
            Enqueue("a", [task(4), task(6)]),
            Enqueue("b", [task(5)]),
        ]

    connected(body)


def test_tasks_keep_their_order_whatever_time_each_has_left() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = answered
        await outcomes([connection.call(enqueue(each), 1_000 + each % 2) for each in range(6)])
        (received,) = node.received
        assert received.call == Enqueue("q", [task(each) for each in range(6)])
        assert received.timeout_ms == 1_001, "nobody's wait is cut short"

    connected(body)


def test_calls_of_several_items_travel_alone_and_tasks_keep_their_order() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = answered
        batch = Enqueue("q", [task(2), task(3)])
        calls = [enqueue(1), batch, enqueue(4), enqueue(5)]
        await outcomes([connection.call(each, 1_000) for each in calls])
        assert [each.call for each in node.received] == [
            enqueue(1),
            batch,
            Enqueue("q", [task(4), task(5)]),
        ]

    connected(body)


@pytest.mark.parametrize("error", [Conflict("twice"), QueueFull("full"), InternalError("a bug")])
def test_what_one_call_may_have_done_is_not_held_against_the_others(error: RaftqError) -> None:
    async def judged(received: Received) -> Enqueued | Settled | RaftqError:
        call = received.call
        assert isinstance(call, Enqueue)
        return error if task(2) in call.tasks else answered(received)

    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = judged
        found = await outcomes([connection.call(enqueue(n), 1_000) for n in range(4)])
        assert [type(each) for each in found] == [Enqueued, Enqueued, type(error), Enqueued]
        sent = [len(each.call.tasks) for each in node.received if isinstance(each.call, Enqueue)]
        assert sent == [4, 1, 1, 1, 1]

    connected(body)


def test_what_the_node_cannot_do_each_caller_hears_for_itself() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = NotLeader("not me", leader="n2")
        found = await outcomes([connection.call(enqueue(n), 1_000) for n in range(3)])
        assert [type(each) for each in found] == [NotLeader] * 3
        assert len(set(map(id, found))) == 3, "an exception that is raised twice grows each time"
        assert len(node.received) == 1

    connected(body)


def test_a_caller_that_left_before_the_request_is_not_in_it() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = answered
        futures = [connection.call(enqueue(n), 1_000) for n in range(3)]
        futures[1].cancel()
        found = await outcomes([futures[0], futures[2]])
        assert [type(each) for each in found] == [Enqueued, Enqueued]
        connection.call(enqueue(9), 1_000).cancel()
        await outcomes([connection.call(Ack([AckItem(1)]), 1_000)])
        assert [each.call for each in node.received] == [
            Enqueue("q", [task(0), task(2)]),
            Ack([AckItem(1)]),
        ]

    connected(body)


def test_a_caller_that_leaves_afterwards_disturbs_no_other() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = Silent()
        futures = [connection.call(enqueue(n), 1_000) for n in range(3)]
        await until(lambda: node.received)
        futures[0].cancel()
        connection.forget(futures[1])
        futures[1].cancel()
        node.send(_answer_to(node.received[0]))
        assert await outcomes([futures[2]]) == [Enqueued([EnqueuedTask(task(2).id, READY, True)])]

    connected(body)


def test_when_the_connection_breaks_every_caller_hears_it() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = Silent()
        sent = [connection.call(enqueue(n), 1_000) for n in range(3)]
        await until(lambda: node.received)
        unsent = [connection.call(enqueue(n), 1_000) for n in range(3, 5)]
        connection.connection_lost(None)
        assert [type(each) for each in await outcomes(sent + unsent)] == [ConnectionLost] * 5

    connected(body)


def test_an_answer_with_too_few_items_is_an_error_of_every_call() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = Settled([SettledTask(DONE)])
        found = await outcomes([connection.call(Ack([AckItem(n)]), 1_000) for n in (1, 2)])
        assert [type(each) for each in found] == [InternalError] * 2
        node.fallback = ["no", "answer"]
        found = await outcomes([connection.call(Ack([AckItem(n)]), 1_000) for n in (1, 2)])
        assert [type(each) for each in found] == [InternalError] * 2

    connected(body)


def test_a_request_does_not_grow_for_ever() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = answered
        payload = bytes(100 * limits.KIB)
        large = [connection.call(enqueue(n, payload=payload), 1_000) for n in range(7)]
        huge = connection.call(enqueue(7, payload=bytes(limits.MIB)), 1_000)
        many = [connection.call(Ack([AckItem(n)]), 1_000) for n in range(1, 2_002)]
        await outcomes([*large, huge, *many])
        sizes = [
            len(each.call.tasks if isinstance(each.call, Enqueue) else each.call.items)
            for each in node.received
            if isinstance(each.call, Enqueue | Ack)
        ]
        assert sizes == [3, 3, 1, 1, 1_000, 1_000, 1]

    connected(body)


def _answer_to(received: Received) -> bytes:
    return codec.encode([1, received.call_id, None, answered(received)])
