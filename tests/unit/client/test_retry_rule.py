"""The retry rule: same ids at every try, one deadline, and an honest end."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest
from tests.support.fake_node import (
    Action,
    Break,
    FakeCluster,
    Received,
    Script,
    Silent,
    run,
    success,
    until,
)

from raftq.client import AckItem, AsyncClient, NewTask
from raftq.client.connection import PATIENCE_SECONDS
from raftq.protocol.calls import LeaseCall
from raftq.protocol.commands import Enqueue, Fail, Requeue
from raftq.protocol.errors import (
    Conflict,
    ConnectionLost,
    DiskFull,
    Forbidden,
    InternalError,
    InvalidRequest,
    LeadershipLost,
    LeaseLost,
    NoLeader,
    NotLeader,
    NotReady,
    OutcomeUnknown,
    PayloadTooLarge,
    QueueFull,
    RaftqError,
    RateLimited,
    ShuttingDown,
    UnavailableError,
    UnknownMethod,
    UnknownTask,
    UnsupportedVersion,
)
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import Leased, LeasedTask, Settled

REFUSALS: Sequence[RaftqError] = (
    NotLeader("no", leader=None),
    NoLeader("no"),
    NotReady("no"),
    ShuttingDown("no"),
    RateLimited("no", retry_after_ms=1),
    QueueFull("no", retry_after_ms=1),
    DiskFull("no", retry_after_ms=1),
)


def ids(cluster: FakeCluster) -> list[bytes]:
    return [call.tasks[0].id for call in cluster.calls if isinstance(call, Enqueue)]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda error: error.code)
def test_a_refused_call_is_tried_again_with_the_same_id(refusal: RaftqError) -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            for node in cluster.nodes:
                node.script.append(refusal)
            task = await client.enqueue("q", b"x")
            assert task.created
            tried = ids(cluster)
            assert len(tried) > 1
            assert set(tried) == {task.id}

    run(main)


@pytest.mark.parametrize("step", [Break(), LeadershipLost("?"), ConnectionLost("?")])
def test_a_call_of_unknown_outcome_is_tried_again_with_the_same_id(step: Script) -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            cluster["n1"].script.append(step)
            task = await client.enqueue("q", b"x")
            assert ids(cluster) == [task.id, task.id]
            assert len(cluster["n1"].calls) == 1, "the node that failed is not asked again"

    run(main)


def test_a_retried_lease_keeps_its_request_id_and_waits_only_what_is_left() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            cluster["n1"].script.extend([slowly(0.1, NoLeader("no"))])
            await client.lease("q", worker="w", wait=5)
            first, second = [call for call in cluster.calls if isinstance(call, LeaseCall)]
            assert first.request_id == second.request_id
            assert second.wait_ms <= first.wait_ms - 100

    run(main)


def slowly(
    delay: float, then: Action | Callable[[Received], Action]
) -> Callable[[Received], Awaitable[Action]]:
    async def answer(received: Received) -> Action:
        await asyncio.sleep(delay)
        return then(received) if callable(then) else then

    return answer


@pytest.mark.parametrize(
    "error",
    [InvalidRequest("no"), UnknownTask("no"), LeaseLost("no"), InternalError("bug")],
    ids=lambda error: error.code,
)
def test_errors_of_the_request_and_bugs_are_raised_at_once(error: RaftqError) -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            for node in cluster.nodes:
                node.script.append(error)
            with pytest.raises(type(error), match=error.message):
                await client.enqueue("q", b"x")
            assert len(cluster.calls) == 1

    run(main)


def test_facts_of_an_error_reach_the_caller() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            cluster["n1"].fallback = QueueFull("full", retry_after_ms=60_000)
            cluster["n2"].fallback = cluster["n3"].fallback = cluster["n1"].fallback
            with pytest.raises(QueueFull) as caught:
                await client.enqueue("q", b"x")
            assert caught.value.facts["retry_after_ms"] == 60_000
            assert len(cluster.calls) == 1, "the advice is later than the deadline"

    run(main)


def test_advice_to_wait_is_never_cut_short() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            cluster["n1"].script.append(RateLimited("slow down", retry_after_ms=150))
            await client.enqueue("q", b"x")
            first, second = [each.at for node in cluster.nodes for each in node.received]
            assert second - first >= 0.15

    run(main)


def test_the_deadline_is_kept_when_every_node_is_silent() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            for node in cluster.nodes:
                node.fallback = Silent()
            began = time.monotonic()
            with pytest.raises(OutcomeUnknown):
                await client.enqueue("q", b"x", timeout="300ms")
            assert 0.25 <= time.monotonic() - began < 5
            told = [each.timeout_ms for node in cluster.nodes for each in node.received]
            assert all(timeout_ms <= 300 for timeout_ms in told)

    run(main)


@pytest.mark.parametrize(
    "refusal",
    [Forbidden("who?"), UnsupportedVersion("2"), UnknownMethod("what?"), InternalError("oh")],
    ids=lambda error: error.code,
)
def test_what_another_node_refuses_may_have_happened_on_the_first(refusal: RaftqError) -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            cluster["n1"].script.extend([LeadershipLost("?"), refusal])
            with pytest.raises(OutcomeUnknown, match="an earlier try may have succeeded"):
                await client.enqueue("q", b"x")

    run(main)


def test_a_task_that_is_another_is_a_conflict_whatever_became_of_earlier_tries() -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            cluster["n1"].script.extend([LeadershipLost("?"), Conflict("other")])
            with pytest.raises(Conflict):
                await client.enqueue("q", b"x")

    run(main)


def test_unknown_is_only_said_if_a_try_may_have_succeeded() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            for node in cluster.nodes:
                node.fallback = NoLeader("none")
            with pytest.raises(NoLeader):
                await client.enqueue("q", b"x", timeout=1.5)
            cluster["n1"].script.append(Break())
            cluster["n2"].script.append(Break())
            cluster["n3"].script.append(Break())
            with pytest.raises(OutcomeUnknown, match="earlier try"):
                await client.enqueue("q", b"x", timeout=1.5)

    run(main)


@pytest.mark.parametrize("step", [Silent(), Break()], ids=["silent", "broken"])
def test_the_outcome_of_a_read_is_never_unknown(step: Script) -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            for node in cluster.nodes:
                node.fallback = step
            for read in (client.queue("q", timeout=0.2), client.cluster(timeout=0.2)):
                with pytest.raises(UnavailableError):
                    await read

    run(main)


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
            assert len(set(ids(cluster))) == 1

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


# ---------------------------------------------------------------- closing and cancelling


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
