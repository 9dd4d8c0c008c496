"""One connection against servers that are slow, newer, broken or malicious."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from tests.support.asyncs import until
from tests.support.fake_node import (
    Action,
    FakeCluster,
    FakeNode,
    Raw,
    Received,
    Silent,
    run,
    success,
)

from raftq.client.connection import Connection, open_connection
from raftq.protocol import codec, limits
from raftq.protocol.calls import Call, ClusterCall, QueueCall
from raftq.protocol.commands import Ack, AckItem, Enqueue
from raftq.protocol.errors import (
    ConnectionLost,
    InternalError,
    InvalidRequest,
    LeaseLost,
    NoLeader,
    UnsupportedVersion,
)
from raftq.protocol.options import NewTask
from raftq.protocol.statuses import QueueStatus

Body = Callable[[FakeNode, Connection], Awaitable[None]]


class Told:
    """What a connection told its owner."""

    def __init__(self) -> None:
        self.pushes: list[tuple[str, list[object]]] = []
        self.losses = 0

    def push(self, method: str, params: list[object]) -> None:
        self.pushes.append((method, params))

    def lost(self) -> None:
        self.losses += 1


def connected(body: Body, told: Told | None = None) -> None:
    """Run a body with a node and a connection to it."""
    owner = told or Told()

    async def main() -> None:
        async with FakeCluster(1) as cluster:
            node = cluster["n1"]
            connection, _ = await open_connection(
                ("127.0.0.1", node.port), "test", 5.0, owner.push, owner.lost
            )
            try:
                await body(node, connection)
            finally:
                connection.close()

    run(main)


async def asked(connection: Connection, name: str = "q") -> object:
    async with asyncio.timeout(20):
        return await connection.call(QueueCall(name), 1_000)


def test_answers_out_of_order_reach_their_callers() -> None:
    held: list[Received] = []

    async def later(received: Received) -> Action:
        held.append(received)
        await until(lambda: len(held) == 20)
        await asyncio.sleep(0.001 * (20 - received.call_id))
        return success(received)

    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = later
        names = [f"q{number}" for number in range(20)]
        answers = await asyncio.gather(*(asked(connection, name) for name in names))
        assert [each.queue for each in answers if isinstance(each, QueueStatus)] == names

    connected(body)


def test_an_answer_in_single_bytes_is_put_together() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        async def drip(received: Received) -> Action:
            answer = codec.encode([1, received.call_id, None, success(received)])
            for byte in answer[:-1]:
                node.send(bytes([byte]))
                await asyncio.sleep(0)
            return Raw(answer[-1:])

        node.fallback = drip
        assert isinstance(await asked(connection), QueueStatus)

    connected(body)


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xc1",
        b"\x90",
        b"\xc0",
        b"\x94\x01\x01\xc0",  # An answer that is never complete, then the end.
        codec.encode([9, 1, None, None]),
        codec.encode([2, 5, []]),
        codec.encode([1, "1", None, None]),
        codec.encode([1, None, ["invalid_request", "no", {}], None]),
        b"\xdd\xff\xff\xff\xff",  # An array of four billion.
        b"\xc6\xff\xff\xff\xff",  # Four gigabytes of bytes.
        b"\xdb\xff\xff\xff\xff",
        b"\xdf\x00\x00\xff\xff",
        b"\xc7\x01\x05x",  # An extension type.
        b"\x91" * 5_000,  # Nested too deep.
        b"\xa2\xff\xfe",  # Not UTF-8.
    ],
)
def test_garbage_ends_the_connection_and_every_call_on_it(garbage: bytes) -> None:
    told = Told()

    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = Silent()
        calls = [asyncio.ensure_future(asked(connection)) for _ in range(3)]
        await until(lambda: len(node.received) == 3)
        node.send(garbage)
        await asyncio.sleep(0.01)
        node.break_connections()
        for call in calls:
            with pytest.raises(ConnectionLost):
                await call
        assert connection.is_lost
        with pytest.raises(NoLeader, match="closed"):
            connection.call(ClusterCall(), 1_000)

    connected(body, told)
    assert told.losses == 1


def test_an_answer_over_the_limit_ends_the_connection_before_it_is_complete() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = Silent()
        call = asyncio.ensure_future(asked(connection))
        await until(lambda: node.received)
        node.send(b"\x94\x01\x01\xc0\xc6\x7f\x00\x00\x00" + bytes(limits.REPLY_BYTES_MAX))
        with pytest.raises(ConnectionLost):
            await call

    connected(body)


def test_answers_to_unknown_calls_are_ignored() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.send(codec.encode([1, 4_711, None, [104, "q", 0, {}]]))
        node.send(codec.encode([1, 2**63, None, None]))
        assert isinstance(await asked(connection), QueueStatus)

    connected(body)


def test_an_answer_to_a_forgotten_call_is_ignored() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.script.append(Silent())
        forgotten = connection.call(QueueCall("q"), 1_000)
        await until(lambda: node.received)
        connection.forget(forgotten)
        node.send(codec.encode([1, node.received[0].call_id, None, [104, "late", 0, {}]]))
        assert isinstance(await asked(connection), QueueStatus)
        assert not forgotten.done()

    connected(body)


def test_a_code_of_a_newer_server_is_an_error_that_names_it() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = lambda each: Raw(
            codec.encode([1, each.call_id, ["too_purple", "mauve only", {"shade": 7}], None])
        )
        with pytest.raises(InternalError, match="mauve only") as caught:
            await asked(connection)
        assert caught.value.facts == {"shade": 7, "unknown_code": "too_purple"}

    connected(body)


@pytest.mark.parametrize(
    "error",
    [
        5,
        "x",
        [],
        ["invalid_request"],
        ["internal", "m", {"a": [1]}],
    ],
)
def test_a_malformed_error_is_still_an_error_of_that_call(error: object) -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.script.append(lambda each: Raw(codec.encode([1, each.call_id, error, None])))
        with pytest.raises(InternalError, match="malformed"):
            await asked(connection)
        assert isinstance(await asked(connection), QueueStatus)

    connected(body)


def test_a_known_code_is_its_class_with_its_facts() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = LeaseLost("gone", token=7)
        with pytest.raises(LeaseLost, match="gone") as caught:
            await asked(connection)
        assert caught.value.facts == {"token": 7}

    connected(body)


@pytest.mark.parametrize("result", [[], [104, "q"], [1, []], [104, "q", "many", {}]])
def test_a_malformed_answer_is_an_error_of_that_call_only(result: list[object]) -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.script.append(result)
        with pytest.raises(InternalError, match="malformed"):
            await asked(connection)
        assert isinstance(await asked(connection), QueueStatus)

    connected(body)


def test_an_answer_with_further_fields_of_a_newer_server_is_understood() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = [104, "q", 3, {"ready": 1}, {}, 0, None, "new", 7]
        answer = await asked(connection)
        assert isinstance(answer, QueueStatus) and answer.enqueued == 3

    connected(body)


def test_notifications_are_handed_on_and_unknown_ones_do_no_harm() -> None:
    told = Told()

    async def body(node: FakeNode, connection: Connection) -> None:
        node.push("leader", ["n2", 7])
        node.push("weather", [{"sky": "grey"}])
        await asked(connection)
        assert told.pushes == [("leader", ["n2", 7]), ("weather", [{"sky": "grey"}])]

    connected(body, told)


def test_a_node_that_hangs_while_calls_are_open_is_given_up() -> None:
    told = Told()

    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = Silent()
        node.hello = Silent()
        with pytest.raises(ConnectionLost, match="silent"):
            await asked(connection)

    connected(body, told)
    assert told.losses == 1


def test_a_node_that_answers_signs_of_life_keeps_its_long_poll() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        node.fallback = Silent()
        call = connection.call(QueueCall("q"), 1_000)
        greeted = node.hellos
        await until(lambda: node.hellos >= greeted + 2)
        assert not connection.is_lost
        connection.forget(call)

    connected(body)


@pytest.mark.parametrize(
    "greeting",
    [Silent(), Raw(b"\xc1"), Raw(b"SSH-2.0-OpenSSH_9.6\r\n"), ["not", "a", "greeting"]],
    ids=["silent", "garbage", "ssh", "malformed"],
)
def test_a_node_that_does_not_greet_is_unreachable(greeting: Action) -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster:
            node, told = cluster["n1"], Told()
            node.hello = greeting
            address = ("127.0.0.1", node.port)
            with pytest.raises(NoLeader, match="cannot reach"):
                await open_connection(address, "test", 0.3, told.push, told.lost)

    run(main)


def test_a_node_of_another_version_says_so() -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster:
            node, told = cluster["n1"], Told()
            node.hello = UnsupportedVersion("this node speaks 9")
            with pytest.raises(UnsupportedVersion, match="speaks 9"):
                await open_connection(("127.0.0.1", node.port), "t", 5, told.push, told.lost)
            await until(lambda: not node.is_connected)

    run(main)


def test_a_call_that_cannot_be_encoded_leaves_the_connection_usable() -> None:
    async def body(node: FakeNode, connection: Connection) -> None:
        with pytest.raises(InvalidRequest):
            connection.call(QueueCall("\udfff"), 1_000)
        assert isinstance(await asked(connection), QueueStatus)

    connected(body)


@pytest.mark.parametrize(
    "call",
    [
        Enqueue("q", [NewTask(bytes(16), cast(bytes, {"a": "map"}))]),
        Enqueue("q", [NewTask(bytes(16), b"")] * (limits.TASKS_PER_ENQUEUE_MAX + 1)),
        Ack([AckItem(1)] * (limits.SETTLEMENTS_PER_CALL_MAX + 1)),
        QueueCall("q" * (limits.RESULT_BYTES_MAX + 1)),
        Enqueue("q", [NewTask(bytes(16), cast(bytes, "x" * (limits.RESULT_BYTES_MAX + 1)))]),
    ],
    ids=["a map", "too many tasks", "too many items", "a long name", "a long text"],
)
def test_a_call_that_would_end_the_connection_is_refused_and_disturbs_no_other(call: Call) -> None:
    async def body(_node: FakeNode, connection: Connection) -> None:
        with pytest.raises(InvalidRequest, match="malformed request"):
            connection.call(call, 1_000)
        assert await asked(connection) == QueueStatus("q", 0, {})
        assert not connection.is_lost

    connected(body)
