"""Subscriptions on a native connection, byte for byte as a client in another language sees them."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from tests.support.applied import DONE, READY, applied, numbered, tell, until_left
from tests.support.asyncs import asynchronous, turns, within
from tests.support.server_bench import NativeClient, serving

from raftq.protocol import limits
from raftq.protocol.credentials import token_line
from raftq.protocol.errors import EventsLost, NoLeader
from raftq.server.events import native as native_module
from raftq.server.gate import Access
from raftq.server.tokens import TokenFile

SECONDS = 5.0
TOKEN = "rq_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcDeFg"


async def pushed(client: NativeClient, count: int) -> list[Any]:
    """Return the next events, without the marks between."""
    found: list[Any] = []
    while len(found) < count:
        message = await client.receive()
        assert message is not None and message[0] == 2, message
        if message[1] == "event":
            found.append(message[2])
        else:
            assert message[1] == "event_mark", message
    return found


@asynchronous
async def test_events_are_pushed_with_all_that_is_known_of_them() -> None:
    async with serving() as bench:
        client = await bench.native()
        assert await client.call(1, "subscribe", 7, None, [], None, 0) == [
            1,
            1,
            None,
            [120, 0, None],
        ]
        bench.server.service.on_applied(
            applied(3, (READY, "q", numbered(1, 2)), (DONE, "r", numbered(3)))
        )
        assert await pushed(client, 3) == [
            [7, 3, 0, 3_000, numbered(1)[0], "q", "ready"],
            [7, 3, 1, 3_000, numbered(2)[0], "q", "ready"],
            [7, 3, 2, 3_000, numbered(3)[0], "r", "done"],
        ]
        assert await client.receive() == [2, "event_mark", [7, 3, None]], "all of the entry"


@asynchronous
async def test_a_subscription_without_a_position_begins_now() -> None:
    async with serving() as bench:
        bench.replica.apply([])
        client = await bench.native()
        tell(bench, 1, 1)
        answer = await client.call(1, "subscribe", 0)
        assert answer == [1, 1, None, [120, 0, None]], "the bench's cluster is at index 0"
        assert len(await pushed(client, 1)) == 1


@asynchronous
async def test_a_subscription_goes_on_in_the_middle_of_an_entry() -> None:
    async with serving() as bench:
        client = await bench.native()
        tell(bench, 5, 1, 2, 3)
        assert (await client.call(1, "subscribe", 1, None, [], None, 5, 0))[3] == [120, 5, 0]
        assert [event[2] for event in await pushed(client, 2)] == [1, 2]


@asynchronous
async def test_several_subscriptions_share_a_connection_with_calls() -> None:
    async with serving() as bench:
        client = await bench.native()
        await client.call(1, "subscribe", 1, "a", [], None, 0)
        await client.call(2, "subscribe", 2, None, ["done"], None, 0)
        await client.call(3, "subscribe", 3, None, [], numbered(2)[0], 0)
        bench.server.service.on_applied(
            applied(1, (READY, "a", numbered(1)), (DONE, "b", numbered(2)))
        )
        told = await pushed(client, 3)
        assert sorted(event[0] for event in told) == [1, 2, 3]
        assert (await client.call(4, "queue", "a"))[2] is None


@asynchronous
async def test_an_ended_subscription_is_silent_and_its_number_is_free() -> None:
    async with serving() as bench:
        client = await bench.native()
        await client.call(1, "subscribe", 1, None, [], None, 0)
        assert (await client.call(2, "subscribe", 1))[2][0] == "conflict"
        assert await client.call(3, "unsubscribe", 1) == [1, 3, None, [8, True, 0]]
        assert await client.call(4, "unsubscribe", 1) == [1, 4, None, [8, False, 0]]
        tell(bench, 1, 1)
        assert (await client.call(5, "subscribe", 1, None, [], None, 1))[2] is None
        tell(bench, 2, 2)
        assert [event[1] for event in await pushed(client, 1)] == [2]
        assert len(bench.server.service.events) == 1


@asynchronous
async def test_a_subscription_that_is_ended_before_it_began_never_begins() -> None:
    async with serving() as bench:
        client = await bench.native()
        leader: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def slow(_deadline: float) -> Awaitable[int]:
            return leader

        bench.server.service.events._acknowledged_index = slow  # pyright: ignore[reportPrivateUsage]
        client.send([0, 1, "subscribe", [5_000, 1]])
        assert (await client.call(2, "unsubscribe", 1))[3] == [8, True, 0]
        leader.set_result(0)
        answer = await client.receive()
        assert answer[1] == 1 and answer[2][0] == "conflict"
        await turns()
        assert len(bench.server.service.events) == 0


@asynchronous
async def test_events_that_are_not_kept_are_told_to_be_lost() -> None:
    async with serving() as bench:
        bench.replica.base_index = 10
        tell(bench, 11, 1)
        client = await bench.native()
        error = (await client.call(1, "subscribe", 1, None, [], None, 9))[2]
        assert (error[0], error[2]) == ("events_lost", {"oldest_index": 11})
        assert (await client.call(2, "subscribe", 1, None, [], None, 10))[2] is None


@pytest.mark.parametrize(
    "params",
    [
        [],
        [5_000],
        [0, 1],
        [5_000, -1],
        [5_000, 1, "no name"],
        [5_000, 1, None, ["asleep"]],
        [5_000, 1, None, [], b"short"],
        [5_000, 1, None, [], None, -1],
        [5_000, 1, None, [], None, None, 3],
        [5_000, 1, None, [], None, 0, None, 9],
        {"subscription": 1},
    ],
)
@asynchronous
async def test_a_malformed_subscription_is_refused_and_the_connection_goes_on(params: Any) -> None:
    async with serving() as bench:
        client = await bench.native()
        client.send([0, 1, "subscribe", params])
        answer = await client.receive()
        assert answer[:2] == [1, 1] and answer[2][0] == "invalid_request"
        client.send([0, 2, "unsubscribe", ["x"]])
        assert (await client.receive())[2][0] == "invalid_request"
        assert (await client.call(3, "queue", "q"))[2] is None


@asynchronous
async def test_without_a_leader_now_is_not_known() -> None:
    async with serving() as bench:

        async def unknown(_deadline: float) -> int:
            raise NoLeader("none")

        bench.server.service.events._acknowledged_index = unknown  # pyright: ignore[reportPrivateUsage]
        client = await bench.native()
        assert (await client.call(1, "subscribe", 1))[2][0] == "no_leader"
        assert (await client.call(2, "subscribe", 1, None, [], None, 0))[2] is None


async def ended(client: NativeClient) -> list[Any]:
    """Return why a subscription ended."""
    while (message := await client.receive())[1] != "events_end":
        assert message[1] in ("event", "event_mark", "shutting_down")
    found: list[Any] = message[2]
    return found


@asynchronous
async def test_a_node_that_stops_says_so() -> None:
    async with serving() as bench:
        client = await bench.native()
        await client.call(1, "subscribe", 4, None, [], None, 0)
        await bench.server.drain(asyncio.get_running_loop().time())
        number, error = await ended(client)
        assert (number, error[0]) == (4, "shutting_down")


@asynchronous
async def test_a_client_that_reads_nothing_is_cut_off_and_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native_module, "_STALL_SECONDS", 0.05)
    async with serving() as bench:
        stuck, well = await bench.native(), await bench.native()
        stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]  # A socket's.
        stuck.send([0, 1, "subscribe", [5_000, 1, None, [], None, 0]])
        await well.call(1, "subscribe", 1, None, [], None, 0)
        events = bench.server.service.events
        index = 0
        async with asyncio.timeout(30):
            while len(events) == 2 or index == 0:
                index += 1
                tell(bench, index, *range(200), queue="q" * 100)
                await pushed(well, 200)
        (connection,) = [
            each
            for each in bench.server.native.connections
            if each.unsent_bytes > limits.EVENTS_UNSENT_BYTES_MAX
        ]
        assert connection.unsent_bytes < 4 * limits.EVENTS_UNSENT_BYTES_MAX, "bounded"
        stuck.writer.transport.resume_reading()  # type: ignore[attr-defined]  # A socket's.
        while (message := await stuck.receive())[:2] != [2, "events_end"]:
            pass
        assert message[2][1][0] == EventsLost.code


@asynchronous
async def test_a_broken_connection_leaves_no_subscription() -> None:
    async with serving() as bench:
        client = await bench.native()
        await client.call(1, "subscribe", 1, None, [], None, 0)
        client.writer.transport.abort()
        await until_left(bench)


@asynchronous
async def test_a_revoked_token_ends_the_connection_and_its_subscriptions(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(token_line("app", TOKEN))
    tokens = TokenFile(path)
    async with serving(access=Access(tokens)) as bench:
        client = await bench.native(hello=False)
        client.send([0, 0, "hello", [1, "test", TOKEN]])
        await client.receive()
        assert (await client.call(1, "subscribe", 1, None, [], None, 0))[2] is None
        path.write_text("")
        tokens.refresh(force=True)
        assert await within(SECONDS, client.is_closed_by_server())
        await until_left(bench)
