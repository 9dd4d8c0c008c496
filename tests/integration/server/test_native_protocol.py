"""The native protocol: what it answers, and to whom."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import msgpack
import pytest
from tests.support.asyncs import asynchronous, turns, until, within
from tests.support.server_bench import NativeClient, ServerBench, error_of, refusal, serving

from raftq.protocol import limits
from raftq.protocol.calls import Call, LeaseCall
from raftq.protocol.errors import NoLeader, RateLimited
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import Enqueued, EnqueuedTask, Leased, Reply
from raftq.server.native_connection import NativePatience

MIB = limits.MIB
ID = UUID(int=1).bytes
SOON = 10.0


@asynchronous
async def test_hello_tells_who_answers_and_where_the_others_are() -> None:
    async with serving() as bench:
        client = await bench.native(hello=False)
        kind, call_id, error, reply = await client.hello()
        assert (kind, call_id, error) == (1, 0, None)
        assert reply == [1, "n1", "c", "n1", []]


@asynchronous
async def test_every_method_answers_as_documented() -> None:
    async with serving() as bench:
        client = await bench.native()
        second, third = UUID(int=2).bytes, UUID(int=3).bytes
        new = [
            [ID, b"p1"],
            [second, b"p2", 3, 0, 7],
            [third, b"", 5, 60_000],
        ]
        enqueued = await client.call(1, "enqueue", "q", new)
        assert enqueued[3] == [
            1,
            [[ID, "ready", True], [second, "ready", True], [third, "scheduled", True]],
            1,
        ]
        leased = await client.call(2, "lease", ["q"], 5, 30_000, "w", "r1")
        assert leased[3] == [
            2,
            [[second, "q", 1, 1, b"p2", 30_000], [ID, "q", 2, 1, b"p1", 30_000]],
            False,
        ]
        again = await client.call(3, "lease", ["q"], 5, 30_000, "w", "r1", 0)
        assert again[3] == [2, leased[3][1], True]
        assert (await client.call(4, "extend", [[1, 60_000]]))[3] == [3, [["leased", ""]], 4]
        assert (await client.call(5, "requeue", [[1]]))[3] == [3, [["ready", ""]], 5]
        acked = await client.call(6, "ack", [[1], [2, b"result"], [99]])
        assert acked[3] == [3, [[None, "lease_lost"], ["done", ""], [None, "lease_lost"]], 6]
        leased = await client.call(7, "lease", ["other", "q"], 1, 30_000, "w", "r2")
        assert (await client.call(8, "fail", [[3, "reason"]]))[3] == [3, [["ready", ""]], 8]
        status = (await client.call(9, "task", ID))[3]
        assert status[:4] == [103, ID, "q", "done"] and status[10] == b"result"
        stale = (await client.call(10, "task", ID, "stale"))[3]
        assert (stale[:-1], stale[-2:], status[-1]) == (status[:-1], [8, 0], None)
        queue = (await client.call(11, "queue", "q", "linearizable"))[3]
        assert queue[:3] == [104, "q", 3]
        assert {state: count for state, count in queue[3].items() if count} == {
            "done": 1, "ready": 1, "scheduled": 1,
        }  # fmt: skip
        cluster = (await client.call(12, "cluster"))[3]
        assert cluster[:4] == [105, "c", "n1", "n1"]


@asynchronous
async def test_every_method_of_control_answers_as_documented() -> None:
    async with serving() as bench:
        client = await bench.native()
        second = UUID(int=2).bytes

        async def answer(method: str, *params: Any) -> Any:
            _, _, error, result = await client.call(1, method, *params)
            assert error is None, (method, error)
            return result

        parts = [["a", [[ID, b"p"]]], ["b", [[second, b"p", 5, 0, 0, 0, {"depends_on": [ID]}]]]]
        created = [[ID, "ready", True], [second, "blocked", True]]
        assert await answer("enqueue_parts", parts) == [1, created, 1]
        assert await answer("edit", ID, 60_000) == [3, [["scheduled", ""]], 2]
        why = await answer("why", second)
        assert why[:3] == [112, second, "blocked"] and why[3][0][0] == "parents"
        assert await answer("confirm", [ID]) == [3, [["scheduled", "conflict"]], 3]
        assert await answer("set_queue", "a", {"paused": True}) == [8, True, 4]
        assert await answer("set_limit", "k", {"concurrency": 1}) == [8, True, 5]
        assert await answer("set_quota", {"tasks_max": 9}) == [8, True, 6]
        schedule = {"queue": "a", "payload": b"p", "every_ms": 60_000}
        assert await answer("set_schedule", "s", schedule) == [8, True, 7]
        queues = await answer("queues")
        assert queues[0] == 113 and [each[1] for each in queues[1]] == ["a", "b"]
        assert queues[1][0][4] == {"paused": True}, "only what is not the default"
        assert await answer("settings") == [
            114,
            {"tasks_max": 9},
            [["k", {"concurrency": 1}, 0, 0]],
            None,
        ]
        schedules = await answer("schedules", "s")
        assert schedules[0] == 115 and schedules[1][0][:3] == ["s", schedule, 7]
        assert await answer("delete_schedule", "s") == [8, True, 8]
        page = await answer("tasks", {"queue": "a"}, 0, 10)
        assert (page[0], page[1][0][:2], page[2:]) == (111, [103, ID], [1, None])
        swept = await answer("sweep", "cancel", {"queue": "a"})
        assert swept == [9, 1, None, 2, 9]
        assert (await answer("result", second, 1_000))[3] == "cancelled", "with its parent"
        assert await answer("cancel", [second, bytes(16)]) == [
            3, [["cancelled", ""], [None, "unknown_task"]], 10,
        ]  # fmt: skip


@asynchronous
async def test_a_client_cannot_fire_a_schedule() -> None:
    async with serving() as bench:
        client = await bench.native()
        error_of(await client.call(1, "fire_schedule", "s", 1, 1, 2, None), 1, "unknown_method")


@asynchronous
async def test_a_wait_for_a_result_is_answered_when_the_task_is_over() -> None:
    async with serving() as bench:
        client, worker = await bench.native(), await bench.native()
        await worker.call(1, "enqueue", "q", [[ID, b"p"]])
        client.send([0, 7, "result", [5_000, ID, 60_000]])
        assert (await client.call(8, "queue", "q"))[1] == 8, "nobody waits behind it"
        await worker.call(2, "lease", ["q"], 1, 30_000, "w", "r")
        await worker.call(3, "ack", [[1, b"result"]])
        kind, call_id, error, status = await client.receive()
        assert (kind, call_id, error) == (1, 7, None)
        assert status[:4] == [103, ID, "q", "done"] and status[10] == b"result"


@asynchronous
async def test_many_pipelined_calls_are_all_answered_by_their_ids() -> None:
    async with serving() as bench:
        client = await bench.native()
        count = 3_000
        for number in range(1, count + 1):
            task = [UUID(int=number).bytes, b"x"]
            client.send([0, number, "enqueue", [5_000, "q", [task]]])
        answered = {(await client.receive())[1] for _ in range(count)}
        assert answered == set(range(1, count + 1))
        assert bench.replica.machine.ready_count("q") == count
        assert len(bench.replica.entries) < count / 10, "commands of one turn share an entry"


@asynchronous
async def test_a_quick_call_overtakes_a_long_poll() -> None:
    async with serving() as bench:
        client = await bench.native()
        client.send([0, 1, "lease", [5_000, ["q"], 1, 1_000, "w", "r", 60_000]])
        assert (await client.call(2, "queue", "q"))[1] == 2
        client.send([0, 3, "enqueue", [5_000, "q", [[ID, b"x"]]]])
        assert {(await client.receive())[1] for _ in range(2)} == {1, 3}


@asynchronous
async def test_bytes_may_come_one_at_a_time() -> None:
    async with serving() as bench:
        client = await bench.native(hello=False)
        for byte in msgpack.packb([0, 7, "hello", [1, "slow"]]):
            client.writer.write(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.receive())[:3] == [1, 7, None]


@asynchronous
async def test_clients_are_told_of_a_new_leader_and_of_a_shutdown() -> None:
    async with serving() as bench:
        client = await bench.native()
        stranger = await bench.native(hello=False)
        bench.replica.lead(False)
        assert await client.receive() == [2, "leader", ["n2", 2]]
        bench.replica.lead(True)
        assert await client.receive() == [2, "leader", ["n1", 3]]
        drained = asyncio.ensure_future(bench.server.drain(asyncio.get_running_loop().time() + 0.5))
        assert await client.receive() == [2, "shutting_down", []]
        late = await stranger.hello()
        assert late[:3] == [1, 0, None], "nobody is told before its hello"
        assert await stranger.receive() == [2, "shutting_down", []]
        await within(SOON, drained)


@asynchronous
async def test_a_command_whose_leader_changes_goes_to_the_new_one() -> None:
    async with serving() as bench:
        client = await bench.native()
        done = Enqueued([EnqueuedTask(ID, TaskState.READY, False)], 7)

        async def forward(_call: Call, _deadline: float) -> Reply:
            return done

        bench.replica.on_forward = forward
        bench.replica.is_holding = True
        client.send([0, 1, "enqueue", [5_000, "q", [[ID, b"x"]]]])
        await until(lambda: bench.replica.proposed == 1)
        bench.replica.lead(False)
        assert await client.receive() == [2, "leader", ["n2", 2]]
        assert await client.receive() == [1, 1, None, [1, [[ID, "ready", False]], 7]]


@asynchronous
async def test_a_long_poll_whose_leader_changes_waits_on_for_the_rest_at_the_new_one() -> None:
    async with serving() as bench:
        client = await bench.native()
        asked: list[Call] = []

        async def forward(call: Call, _deadline: float) -> Reply:
            asked.append(call)
            return Leased([])

        bench.replica.on_forward = forward
        client.send([0, 1, "lease", [5_000, ["q"], 1, 1_000, "w", "r", 60_000]])
        await until(lambda: bench.server.service.waiters.waiting == 1)
        begun = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > begun + 0.05)
        bench.replica.lead(False)
        assert await client.receive() == [2, "leader", ["n2", 2]]
        assert await client.receive() == [1, 1, None, [2, [], False]]
        (call,) = asked
        assert isinstance(call, LeaseCall)
        assert 30_000 < call.wait_ms <= 59_950
        assert bench.server.service.waiters.waiting == 0


@asynchronous
async def test_a_command_lost_with_its_leader_is_never_reported_as_not_happened() -> None:
    async with serving() as bench:
        client = await bench.native()
        bench.replica.is_holding = True
        client.send([0, 1, "enqueue", [100, "q", [[ID, b"x"]]]])
        await until(lambda: bench.replica.proposed == 1)
        bench.replica.lead(False)  # And nobody leads afterwards: forwarding fails.
        assert (await client.receive())[0] == 2
        error_of(await client.receive(), 1, "commit_timeout")


@asynchronous
async def test_a_refused_proposal_is_an_error_of_its_call() -> None:
    async with serving() as bench:
        client = await bench.native()
        bench.replica.propose_error = RateLimited("too many", retry_after_ms=7)
        answer = await client.call(1, "enqueue", "q", [[ID, b"x"]])
        error_of(answer, 1, "rate_limited")
        assert answer[2][2] == {"retry_after_ms": 7}


@asynchronous
async def test_a_bug_is_answered_as_internal_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as bench:
        client = await bench.native()
        bench.replica.barrier_error = RuntimeError("boom")  # type: ignore[assignment]
        error_of(await client.call(1, "queue", "q"), 1, "internal")
        assert [record.getMessage() for record in caplog.records] == ["call_failed"]
        bench.replica.barrier_error = NoLeader("none")
        client.send([0, 2, "queue", [50, "q"]])
        error_of(await client.receive(), 2, "no_leader")


@asynchronous
async def test_an_id_in_use_may_not_be_used_again_but_an_answered_one_may() -> None:
    async with serving() as bench:
        client = await bench.native()
        for _ in range(2):
            assert (await client.call(1, "queue", "q"))[1] == 1
        client.send([0, 1, "lease", [5_000, ["q"], 1, 1_000, "w", "r", 60_000]])
        client.send([0, 1, "queue", [1_000, "q"]])
        assert "in use" in refusal(await client.receive(), "invalid_request")
        await until(lambda: bench.server.service.waiters.waiting == 0)


@pytest.mark.parametrize("loop_turns", range(3))
@asynchronous
async def test_no_poll_goes_on_for_a_client_that_left_while_the_leader_changed(
    loop_turns: int,
) -> None:
    async with serving() as bench:
        client = await bench.native()
        client.send([0, 1, "lease", [5_000, ["q"], 1, 1_000, "w", "r", 60_000]])
        await until(lambda: bench.server.service.waiters.waiting == 1)
        (connection,) = bench.server.native.connections
        connection._stream.close()  # pyright: ignore[reportPrivateUsage]
        await turns(loop_turns)
        bench.server.service.waiters.fail_all()
        await turns(20)
        assert not bench.server.native.connections
        assert bench.server.service.waiters.waiting == 0


@asynchronous
async def test_reading_pauses_while_too_many_calls_run() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "NATIVE_CALLS_IN_FLIGHT_MAX", 10)
        async with serving(native_patience=NativePatience()) as bench:
            bench.replica.is_holding = True
            client = await bench.native()
            await _send_in_pieces(client, 30)
            await until(lambda: bench.replica.proposed >= 10)
            await turns(50)
            assert bench.replica.proposed < 30
            await _commit_until_answered(bench, client, 30)
            assert bench.replica.machine.ready_count("q") == 30


async def _send_in_pieces(client: NativeClient, count: int) -> None:
    for _ in range(count):
        client.send([0, uuid4().int % 2**63, "enqueue", [5_000, "q", [[uuid4().bytes, b"x"]]]])
        await client.writer.drain()
        await asyncio.sleep(0.002)


async def _commit_until_answered(bench: ServerBench, client: NativeClient, count: int) -> None:
    async with asyncio.timeout(SOON):
        while count:
            await until(lambda: bench.replica.proposed > 0)
            batch = bench.replica.proposed
            bench.replica.commit()
            for _ in range(batch):
                assert (await client.receive())[2] is None
            count -= batch
