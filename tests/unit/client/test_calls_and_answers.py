"""What a call sends, and what it makes of the answer."""

import asyncio
from collections.abc import Awaitable

import pytest
from tests.support.fake_node import Action, FakeCluster, Received, run, slowly, success

from raftq.client import AckItem, AsyncClient, NewTask
from raftq.protocol.commands import Enqueue, Fail
from raftq.protocol.errors import InternalError, InvalidRequest, LeaseLost, PayloadTooLarge
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import Settled


def out_of_order(received: Received) -> Awaitable[Action]:
    return slowly(0.001 * (received.call_id % 7), success)(received)


def test_concurrent_calls_share_one_connection_and_get_their_own_answers() -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            cluster["n1"].fallback = out_of_order
            tasks = [client.new_task(b"%d" % number) for number in range(200)]
            answers = await asyncio.gather(*(client.enqueue_many("q", [task]) for task in tasks))
            assert [answer[0].id for answer in answers] == [task.id for task in tasks]
            assert cluster["n1"].connections == 1

    run(main)


@pytest.mark.parametrize("answered", [[1, []], [3, []], [3, [["done", ""], ["done", ""]]]])
def test_an_answer_of_another_length_or_kind_is_an_error_and_never_a_success(
    answered: list[object],
) -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            cluster["n1"].fallback = answered
            for call in (client.ack(7), client.enqueue("q", b"x")):
                with pytest.raises(InternalError):
                    await call

    run(main)


def test_a_call_over_the_frame_limit_is_refused_before_it_is_sent() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            with pytest.raises(PayloadTooLarge, match="fewer items"):
                await client.enqueue_many("q", [bytes(9_000_000), bytes(9_000_000)])
            assert cluster.calls == []
            assert (await client.enqueue("q", b"small")).created

    run(main)


def test_values_without_a_form_on_the_wire_are_invalid_requests() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            for call in (client.ack(2**70), client.queue("\ud800")):
                with pytest.raises(InvalidRequest, match="cannot be sent"):
                    await call
            assert cluster.calls == []

    run(main)


def test_a_reason_of_failure_is_cut_and_made_valid_before_it_is_sent() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            assert await client.fail(7, "\ud800" + "x" * 10_000) is TaskState.READY
            call = cluster.calls[0]
            assert isinstance(call, Fail)
            assert call.items[0].error == "?" + "x" * 3_999

    run(main)


def test_empty_batches_make_no_call() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            assert await client.enqueue_many("q", []) == []
            for method in (client.ack_many, client.fail_many, client.requeue_many):
                assert await method([]) == []
            assert await client.extend_many([]) == []
            assert cluster.calls == []

    run(main)


def test_one_refused_item_of_a_batch_does_not_fail_the_others() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            answer: list[object] = [3, [["done", ""], [None, "lease_lost"]]]
            cluster["n1"].script.extend([answer, [3, [[None, "lease_lost"]]]])
            first, second = await client.ack_many([AckItem(1), AckItem(2)])
            assert (first.state, first.error_code) == (TaskState.DONE, "")
            assert (second.state, second.error_code) == (None, "lease_lost")
            with pytest.raises(LeaseLost):
                await client.ack(2)

    run(main)


def test_new_tasks_of_plain_bytes_get_growing_ids_and_defaults() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            await client.enqueue_many("q", [b"1", client.new_task(b"2", delay="1s"), b"3"])
            call = cluster.calls[0]
            assert isinstance(call, Enqueue)
            assert [task.payload for task in call.tasks] == [b"1", b"2", b"3"]
            assert call.tasks[1].id < call.tasks[0].id < call.tasks[2].id, "in order of making"
            assert call.tasks[0] == NewTask(call.tasks[0].id, b"1")
            assert call.tasks[1].delay_ms == 1_000

    run(main)


def test_settled_answers_are_in_the_order_of_the_items() -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            states = [TaskState.DONE, TaskState.READY, TaskState.DEAD]
            cluster["n1"].script.append([Settled.__struct_config__.tag, [[s, ""] for s in states]])
            answer = await client.ack_many([AckItem(1), AckItem(2), AckItem(3)])
            assert [each.state for each in answer] == states

    run(main)
