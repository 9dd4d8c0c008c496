"""No bytes can hurt a node: bad calls are refused with their id, bad streams are closed."""

import tracemalloc
from uuid import UUID

import msgpack
import pytest
from tests.support.asyncs import asynchronous, turns, until
from tests.support.server_bench import error_of, refusal, serving

from raftq.protocol import limits

MIB = limits.MIB
ID = UUID(int=1).bytes
NAN = float("nan")
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


def packed(message: object) -> bytes:
    data = msgpack.packb(message)
    assert isinstance(data, bytes)
    return data


# The request [0, 1, "cluster", [ with its only parameter to come.
CLUSTER_WITH = b"\x94\x00\x01\xa7cluster\x91"
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
        await until(lambda: not bench.server.native.connections)


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
async def test_a_message_cut_in_the_middle_changes_nothing() -> None:
    data = packed([0, 1, "enqueue", [1_000, "q", [[ID, b"payload"]]]])
    async with serving() as bench:
        for size in range(len(data)):
            client = await bench.native()
            client.writer.write(data[:size])
            client.writer.close()
        await until(lambda: not bench.server.native.connections)
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
