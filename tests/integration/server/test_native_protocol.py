"""The native protocol: what it answers, and that no bytes can hurt a node."""

import asyncio
import tracemalloc
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import msgpack
import pytest
from tests.support.asyncs import asynchronous, turns, within
from tests.support.server_bench import NativeClient, ServerBench, serving

from raftq.protocol import limits
from raftq.protocol.calls import Call, LeaseCall
from raftq.protocol.errors import NoLeader, RateLimited
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import Enqueued, EnqueuedTask, Leased, Reply
from raftq.server.native_connection import NativePatience

MIB = limits.MIB
ID = UUID(int=1).bytes
NAN = float("nan")
SOON = 10.0


def refusal(message: Any, code: str) -> str:
    """Check that a message refuses the whole stream, and return its words."""
    kind, call_id, error, result = message
    assert (kind, call_id, result) == (1, None, None)
    assert error[0] == code, error
    return str(error[1])


def error_of(answer: Any, call_id: int, code: str) -> str:
    """Check that an answer refuses one call, and return its words."""
    kind, answered_id, error, result = answer
    assert (kind, answered_id, result) == (1, call_id, None), answer
    assert error[0] == code, error
    return str(error[1])


# ---------------------------------------------------------------- what is answered


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
        await _until(lambda: bench.replica.proposed == 1)
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
        await _until(lambda: bench.server.service.waiters.waiting == 1)
        begun = asyncio.get_running_loop().time()
        await _until(lambda: asyncio.get_running_loop().time() > begun + 0.05)
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
        await _until(lambda: bench.replica.proposed == 1)
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


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.002)


# ---------------------------------------------------------------- bad calls: the stream goes on

BAD_CALLS: list[tuple[str, object, object, str, str]] = [
    ("unknown method", "enqueu", [1_000], "unknown_method", "enqueu"),
    ("method is no text", 7, [1_000], "unknown_method", "7"),
    ("method is bytes", b"enqueue", [1_000], "unknown_method", ""),
    ("long method", "x" * 5_000, [1_000], "unknown_method", ""),
    ("no params", "cluster", [], "invalid_request", "timeout_ms"),
    ("params are no array", "cluster", 1, "invalid_request", "timeout_ms"),
    ("timeout is text", "cluster", ["1"], "invalid_request", "int"),
    ("timeout is NaN", "cluster", [NAN], "invalid_request", "int"),
    ("timeout is 0", "cluster", [0], "invalid_request", ">= 1"),
    ("timeout is negative", "cluster", [-1], "invalid_request", ">= 1"),
    ("timeout is huge", "cluster", [2**63], "invalid_request", "<= 600000"),
    ("a field too many", "cluster", [1_000, 1], "invalid_request", "length"),
    ("a field too few", "enqueue", [1_000, "q"], "invalid_request", "length"),
    ("queue is bytes", "queue", [1_000, b"q"], "invalid_request", "$[1]"),
    ("queue with a space", "queue", [1_000, "a b"], "invalid_request", "$[1]"),
    ("queue too long", "queue", [1_000, "q" * 129], "invalid_request", "$[1]"),
    ("queue with a line end", "queue", [1_000, "q\n"], "invalid_request", "$[1]"),
    ("consistency", "queue", [1_000, "q", "fresh"], "invalid_request", "fresh"),
    ("no tasks", "enqueue", [1_000, "q", []], "invalid_request", "$[2]"),
    ("task is no array", "enqueue", [1_000, "q", [1]], "invalid_request", "$[2][0]"),
    ("short id", "enqueue", [1_000, "q", [[b"x", b""]]], "invalid_request", "$[2][0][0]"),
    ("id is text", "enqueue", [1_000, "q", [["x" * 16, b""]]], "invalid_request", "$[2][0][0]"),
    ("payload is text", "enqueue", [1_000, "q", [[ID, "x"]]], "invalid_request", "$[2][0][1]"),
    ("payload is NaN", "enqueue", [1_000, "q", [[ID, NAN]]], "invalid_request", "$[2][0][1]"),
    ("priority", "enqueue", [1_000, "q", [[ID, b"", 10]]], "invalid_request", "$[2][0][2]"),
    ("priority is NaN", "enqueue", [1_000, "q", [[ID, b"", NAN]]], "invalid_request", "[2]"),
    ("priority is true", "enqueue", [1_000, "q", [[ID, b"", True]]], "invalid_request", "[2]"),
    ("negative delay", "enqueue", [1_000, "q", [[ID, b"", 5, -1]]], "invalid_request", "[3]"),
    ("huge delay", "enqueue", [1_000, "q", [[ID, b"", 5, 2**63]]], "invalid_request", "[3]"),
    ("id twice", "enqueue", [1_000, "q", [[ID, b"a"], [ID, b"a"]]], "invalid_request", "twice"),
    ("large payload", "enqueue", [1_000, "q", [[ID, bytes(15 * MIB + 1)]]],
     "payload_too_large", "payload"),
    ("large result", "ack", [1_000, [[1, bytes(MIB + 1)]]], "payload_too_large", "result"),
    ("lease without queues", "lease", [1_000, [], 1, 1_000, "w", "r"], "invalid_request", "$[1]"),
    ("too many queues", "lease", [1_000, ["q"] * 33, 1, 1_000, "w", "r"], "invalid_request", "[1]"),
    ("lease of nothing", "lease", [1_000, ["q"], 0, 1_000, "w", "r"], "invalid_request", "$[2]"),
    ("short lease", "lease", [1_000, ["q"], 1, 99, "w", "r"], "invalid_request", "$[3]"),
    ("no worker", "lease", [1_000, ["q"], 1, 1_000, "", "r"], "invalid_request", "$[4]"),
    ("long wait", "lease", [1_000, ["q"], 1, 1_000, "w", "r", 300_001], "invalid_request", "$[6]"),
    ("token 0", "ack", [1_000, [[0]]], "invalid_request", "$[1][0][0]"),
    ("token is huge", "ack", [1_000, [[2**63]]], "invalid_request", "$[1][0][0]"),
    ("no items", "extend", [1_000, []], "invalid_request", "$[1]"),
    ("long error", "fail", [1_000, [[1, "x" * 4_001]]], "invalid_request", "$[1][0][1]"),
    ("nil item", "requeue", [1_000, [None]], "invalid_request", "$[1][0]"),
    ("a map", "cluster", [{"a": 1}], "invalid_request", "int"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "params", "code", "named"), [case[1:] for case in BAD_CALLS],
                         ids=[case[0] for case in BAD_CALLS])  # fmt: skip
def test_a_bad_call_is_refused_with_its_id_and_changes_nothing(
    method: object, params: object, code: str, named: str
) -> None:
    @asynchronous
    async def body() -> None:
        async with serving() as bench:
            client = await bench.native()
            before = bench.replica.machine.state_hash
            client.send([0, 41, method, params])
            words = error_of(await client.receive(), 41, code)
            assert named in words
            assert bench.replica.machine.state_hash == before
            assert (await client.call(42, "queue", "q"))[2] is None

    body()


# ---------------------------------------------------------------- bad streams: the end of them


def packed(message: object) -> bytes:
    data = msgpack.packb(message)
    assert isinstance(data, bytes)
    return data


CLUSTER_WITH = b"\x94\x00\x01\xa7cluster\x91"
"""The request [0, 1, "cluster", [ with its only parameter to come."""
BAD_STREAMS: list[tuple[str, bytes, str]] = [
    ("a map", packed({"method": "cluster"}), "invalid_request"),
    ("an empty map", packed({}), "invalid_request"),
    ("a number", packed(7), "invalid_request"),
    ("nil", packed(None), "invalid_request"),
    ("an empty array", b"\x90", "invalid_request"),
    ("a response", packed([1, 1, None, None]), "invalid_request"),
    ("a notification", packed([2, "leader", [1]]), "invalid_request"),
    ("a type of true", packed([False, 1, "cluster", [1_000]]), "invalid_request"),
    ("three fields", packed([0, 1, "cluster"]), "invalid_request"),
    ("five fields", packed([0, 1, "cluster", [1_000], 1]), "invalid_request"),
    ("a negative id", packed([0, -1, "cluster", [1_000]]), "invalid_request"),
    ("an id of text", packed([0, "1", "cluster", [1_000]]), "invalid_request"),
    ("an id of NaN", packed([0, NAN, "cluster", [1_000]]), "invalid_request"),
    ("an id of true", packed([0, True, "cluster", [1_000]]), "invalid_request"),
    ("a reserved byte", b"\xc1", "invalid_request"),
    ("deep nesting", b"\x91" * 100_000, "invalid_request"),
    ("a long array", b"\xdd\xff\xff\xff\xff", "invalid_request"),
    ("a large map", b"\xdf\xff\xff\xff\xff", "invalid_request"),
    ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "invalid_request"),
]


@pytest.mark.parametrize("is_greeted", [True, False], ids=["after hello", "before hello"])
@pytest.mark.parametrize(("data", "code"), [case[1:] for case in BAD_STREAMS],
                         ids=[case[0] for case in BAD_STREAMS])  # fmt: skip
def test_a_bad_stream_is_told_why_and_closed(data: bytes, code: str, is_greeted: bool) -> None:
    @asynchronous
    async def body() -> None:
        async with serving() as bench:
            client = await bench.native(hello=is_greeted)
            before = bench.replica.machine.state_hash
            client.writer.write(data)
            assert refusal(await client.receive(), code)
            client.writer.write_eof()
            assert await client.is_closed_by_server()
            assert bench.replica.machine.state_hash == before
            assert (await (await bench.native()).call(1, "queue", "q"))[2] is None

    body()


@asynchronous
async def test_a_stranger_cannot_send_more_than_a_hello_needs() -> None:
    async with serving() as bench:
        client = await bench.native(hello=False)
        hollow = b"\xdc\x27\x10" + b"\x90" * 10_000  # 10,000 empty arrays in 10 KB
        client.writer.write(b"\x94\x00\x01\xa5hello\xdc\x00\x10" + 7 * hollow)
        assert refusal(await client.receive(), "invalid_request")
        assert await client.is_closed_by_server()


@pytest.mark.parametrize(
    "data",
    [
        CLUSTER_WITH + b"\xc7\x00\x05",
        CLUSTER_WITH + b"\xd4\x05x",
        CLUSTER_WITH + b"\xd6\xff\x00\x00\x00\x01",
        b"\x94\x00\x01\xa2\xff\xfe\x91\x01",
    ],
    ids=["an empty extension", "an extension", "a timestamp", "a method that is no UTF-8"],
)
def test_what_no_call_contains_is_refused_with_the_id_and_the_stream_goes_on(data: bytes) -> None:
    @asynchronous
    async def body() -> None:
        async with serving() as bench:
            client = await bench.native()
            client.writer.write(data)
            error_of(await client.receive(), 1, "invalid_request")
            assert (await client.call(2, "queue", "q"))[2] is None

    body()


@asynchronous
async def test_a_greeted_client_cannot_make_a_node_build_what_it_sends() -> None:
    hollow = b"\xdc\xff\xff" + b"\x90" * 0xFFFF  # 65,535 empty arrays in 64 KiB.
    bomb = b"\xdc\x00\xfe" + hollow * 254
    async with serving() as bench:
        client = await bench.native()
        tracemalloc.start()
        try:
            client.writer.write(b"\x94\x00\x01\xa7enqueue\x93\x01\xa1q" + bomb)
            error_of(await client.receive(), 1, "invalid_request")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8 * limits.REQUEST_BYTES_MAX, "sixteen million arrays would take a GiB"


@asynchronous
async def test_a_refused_client_that_stays_is_closed_anyway() -> None:
    async with serving() as bench:
        client = await bench.native()
        client.send({})
        refusal(await client.receive(), "invalid_request")
        assert await client.is_closed_by_server()
        await _until(lambda: not bench.server.native.connections)


@asynchronous
async def test_a_message_of_17_mib_is_told_why_and_closed() -> None:
    async with serving() as bench:
        one = [[ID, bytes(17 * MIB)]]
        many = [[UUID(int=number).bytes, bytes(MIB)] for number in range(17)]
        for tasks in (one, many):
            client = await bench.native()
            client.send([0, 1, "enqueue", [1_000, "q", tasks]])
            assert refusal(await client.receive(), "payload_too_large")
            client.writer.close()
        assert bench.replica.entries == []


@pytest.mark.parametrize("head", [b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"],
                         ids=["text", "bytes"])  # fmt: skip
def test_a_string_of_4_gib_is_refused_long_before_its_end(head: bytes) -> None:
    @asynchronous
    async def body() -> None:
        async with serving() as bench:
            client = await bench.native()
            client.writer.write(CLUSTER_WITH + head + bytes(17 * MIB))
            assert refusal(await client.receive(), "payload_too_large")

    body()


@asynchronous
async def test_the_largest_payload_passes() -> None:
    async with serving() as bench:
        client = await bench.native()
        answer = await client.call(1, "enqueue", "q", [[ID, bytes(limits.PAYLOAD_BYTES_MAX)]])
        assert answer[2] is None
        leased = await client.call(2, "lease", ["q"], 1, 1_000, "w", "r")
        assert len(leased[3][1][0][4]) == limits.PAYLOAD_BYTES_MAX


@asynchronous
async def test_a_call_before_hello_is_refused() -> None:
    async with serving() as bench:
        client = await bench.native(hello=False)
        client.send([0, 1, "cluster", [1_000]])
        assert "hello" in refusal(await client.receive(), "invalid_request")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ([2, "future"], "unsupported_version"),
        ([0, "past"], "unsupported_version"),
        (["1", "x"], "invalid_request"),
        ([1], "invalid_request"),
        ([1, "x", 3], "invalid_request"),
        ([1, None], "invalid_request"),
        ([True, "x"], "invalid_request"),
        (None, "invalid_request"),
    ],
)
def test_a_bad_hello_is_refused(params: object, code: str) -> None:
    @asynchronous
    async def body() -> None:
        async with serving() as bench:
            client = await bench.native(hello=False)
            client.send([0, 1, "hello", params])
            message = await client.receive()
            refusal(message, code)
            assert (code == "unsupported_version") == (message[2][2] == {"version": 1})

    body()


@asynchronous
async def test_an_id_in_use_may_not_be_used_again_but_an_answered_one_may() -> None:
    async with serving() as bench:
        client = await bench.native()
        for _ in range(2):
            assert (await client.call(1, "queue", "q"))[1] == 1
        client.send([0, 1, "lease", [5_000, ["q"], 1, 1_000, "w", "r", 60_000]])
        client.send([0, 1, "queue", [1_000, "q"]])
        assert "in use" in refusal(await client.receive(), "invalid_request")
        await _until(lambda: bench.server.service.waiters.waiting == 0)


@pytest.mark.parametrize("loop_turns", range(3))
@asynchronous
async def test_no_poll_goes_on_for_a_client_that_left_while_the_leader_changed(
    loop_turns: int,
) -> None:
    async with serving() as bench:
        client = await bench.native()
        client.send([0, 1, "lease", [5_000, ["q"], 1, 1_000, "w", "r", 60_000]])
        await _until(lambda: bench.server.service.waiters.waiting == 1)
        (connection,) = bench.server.native.connections
        connection._stream.close()  # pyright: ignore[reportPrivateUsage]
        await turns(loop_turns)
        bench.server.service.waiters.fail_all()
        await turns(20)
        assert not bench.server.native.connections
        assert bench.server.service.waiters.waiting == 0


@asynchronous
async def test_a_message_cut_in_the_middle_changes_nothing() -> None:
    data = packed([0, 1, "enqueue", [1_000, "q", [[ID, b"payload"]]]])
    async with serving() as bench:
        for size in range(len(data)):
            client = await bench.native()
            client.writer.write(data[:size])
            client.writer.close()
        await _until(lambda: not bench.server.native.connections)
        assert bench.replica.entries == []


@asynchronous
async def test_calls_before_a_bad_message_are_still_executed_in_order() -> None:
    async with serving() as bench:
        client = await bench.native()
        client.send([0, 1, "enqueue", [1_000, "q", [[ID, b"x"]]]], {})
        answers = [await client.receive(), await client.receive()]
        assert any(answer[1] is None for answer in answers)
        await turns()
        assert bench.replica.machine.ready_count("q") <= 1


@asynchronous
async def test_reading_pauses_while_too_many_calls_run() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "NATIVE_CALLS_IN_FLIGHT_MAX", 10)
        async with serving(native_patience=NativePatience()) as bench:
            bench.replica.is_holding = True
            client = await bench.native()
            await _send_in_pieces(client, 30)
            await _until(lambda: bench.replica.proposed >= 10)
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
            await _until(lambda: bench.replica.proposed > 0)
            batch = bench.replica.proposed
            bench.replica.commit()
            for _ in range(batch):
                assert (await client.receive())[2] is None
            count -= batch
