"""Following events from node to node: each once, in order, whatever happens to single nodes."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import cast

import msgpack
import pytest
from tests.support.applied import DONE, READY, applied, numbered
from tests.support.asyncs import asynchronous, within
from tests.support.replicas import free_ports
from tests.support.server_bench import ServerBench, serving

from raftq.client import AsyncClient, Client
from raftq.client import event_link as link_module
from raftq.client.events import Events
from raftq.protocol import codec
from raftq.protocol.errors import EventsLost, InvalidRequest, NoLeader, UnavailableError
from raftq.protocol.events import Position, TaskEvent
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import HelloReply

SECONDS = 10.0


class Nodes:
    """Servers that apply the same entries, each when a test lets it."""

    def __init__(self, benches: list[ServerBench]) -> None:
        self.benches = benches
        self.index = 0

    @property
    def addresses(self) -> str:
        return ",".join(f"127.0.0.1:{bench.native_port}" for bench in self.benches)

    def entry(self, *numbers: int, queue: str = "q", at: list[int] | None = None) -> None:
        """Apply an entry that made tasks ready, at all nodes or at some."""
        self.index += 1
        self.repeat(self.index, *numbers, queue=queue, at=at)

    def repeat(
        self, index: int, *numbers: int, queue: str = "q", at: list[int] | None = None
    ) -> None:
        """Apply the entry of an index, at nodes that have not applied it."""
        for number, bench in enumerate(self.benches):
            if at is None or number in at:
                made = applied(index, (READY, queue, numbered(*numbers)))
                bench.server.service.on_applied(made)

    def subscribed(self) -> list[int]:
        """Return which nodes have subscribers."""
        return [n for n, bench in enumerate(self.benches) if len(bench.server.service.events)]

    def break_connections(self, number: int) -> None:
        """Reset every connection to a node."""
        for connection in list(self.benches[number].server.native.connections):
            connection._stream.close()  # pyright: ignore[reportPrivateUsage]


@asynccontextmanager
async def cluster(size: int = 3) -> AsyncGenerator[tuple[Nodes, AsyncClient]]:
    async with contextlib.AsyncExitStack() as stack:
        benches = [await stack.enter_async_context(serving()) for _ in range(size)]
        nodes = Nodes(benches)
        yield (
            nodes,
            await stack.enter_async_context(
                AsyncClient(nodes.addresses, timeout=SECONDS, random=Random(7))
            ),
        )


async def some(events: Events, count: int) -> list[TaskEvent]:
    """Return the next events."""
    return [await within(SECONDS, anext(events)) for _ in range(count)]


@asynchronous
async def test_events_come_with_all_that_is_known_of_them() -> None:
    async with cluster() as (nodes, client), client.events(after_index=0) as events:
        nodes.entry(1, 2)
        assert await some(events, 2) == [
            TaskEvent(1, 0, 1_000, numbered(1)[0], "q", READY),
            TaskEvent(1, 1, 1_000, numbered(2)[0], "q", READY),
        ]


@asynchronous
async def test_events_are_followed_from_node_to_node_without_a_gap_and_none_twice() -> None:
    async with cluster() as (nodes, client):
        chance, seen = Random(3), list[TaskEvent]()
        events = client.events(after_index=0)

        async def read() -> None:
            async for event in events:
                seen.append(event)

        reading = asyncio.create_task(read())
        for number in range(300):
            nodes.entry(number, number + 1_000)
            if number % 10 == 5:
                nodes.break_connections(chance.randrange(3))
            await asyncio.sleep(0.001 * chance.random())
        async with asyncio.timeout(SECONDS):
            while len(seen) < 600:
                await asyncio.sleep(0.005)
        await events.close()
        await within(SECONDS, reading)
        assert [each.position for each in seen] == [
            Position.after(index, number) for index in range(1, 301) for number in (0, 1)
        ]


@asynchronous
async def test_a_node_that_lags_is_waited_for() -> None:
    async with cluster(2) as (nodes, client), client.events(after_index=0) as events:
        (first,) = nodes.subscribed()
        nodes.entry(1, at=[first])
        nodes.entry(2, at=[first])
        assert [each.index for each in await some(events, 2)] == [1, 2]
        nodes.break_connections(first)
        await nodes.benches[first].close()
        waiting = asyncio.ensure_future(anext(events))
        for index in (1, 2, 3):
            nodes.repeat(index, index, at=[1 - first])
        assert (await within(SECONDS, waiting)).index == 3


@asynchronous
async def test_what_one_node_does_not_keep_another_may() -> None:
    async with cluster(3) as (nodes, client):
        nodes.benches[0].replica.base_index = nodes.benches[1].replica.base_index = 5
        for number in range(8):
            nodes.entry(number, at=[2] if number < 5 else None)
        for _ in range(5):
            async with client.events(after_index=3) as events:
                assert nodes.subscribed() == [2]
                assert [each.index for each in await some(events, 5)] == [4, 5, 6, 7, 8]
            await left(nodes)


async def left(nodes: Nodes) -> None:
    """Wait until nobody is subscribed."""
    async with asyncio.timeout(SECONDS):
        while nodes.subscribed():
            await asyncio.sleep(0.001)


@asynchronous
async def test_events_are_lost_when_no_node_keeps_them() -> None:
    async with cluster(3) as (nodes, client):
        for bench, base in zip(nodes.benches, (5, 3, 4), strict=True):
            bench.replica.base_index = base
        nodes.index = 5
        nodes.entry(1)
        events = client.events(after_index=2)
        with pytest.raises(EventsLost) as lost:
            await within(SECONDS, anext(events))
        assert lost.value.facts == {"oldest_index": 4}, "of the node that keeps most"
        async with client.events(after_index=3) as events:
            assert [each.index for each in await some(events, 1)] == [6]


@asynchronous
async def test_a_node_that_is_away_does_not_hide_that_events_are_lost() -> None:
    async with cluster(3) as (nodes, client):
        for bench in nodes.benches:
            bench.replica.base_index = 5
        await nodes.benches[1].close()
        with pytest.raises(EventsLost):
            await within(SECONDS, anext(client.events(after_index=2)))


@asynchronous
async def test_without_a_position_the_events_begin_where_they_are_entered() -> None:
    async with cluster() as (nodes, client), client.events() as events:
        assert events.position == Position(0)
        nodes.entry(1)
        assert [each.index for each in await some(events, 1)] == [1]


@asynchronous
async def test_the_position_is_behind_what_was_returned_and_not_what_came() -> None:
    async with cluster() as (nodes, client), client.events(after_index=0) as events:
        nodes.entry(1, 2, 3)
        nodes.entry(4)
        await some(events, 2)
        async with asyncio.timeout(SECONDS):
            while len(events._buffer) < 2:  # pyright: ignore[reportPrivateUsage]
                link = events._link  # pyright: ignore[reportPrivateUsage]
                assert link is not None
                await link.wait()
                events._receive(link)  # pyright: ignore[reportPrivateUsage]
        position = events.position
        assert position is not None and (position.log_index, position.number) == (1, 1)
        async with client.events(
            after_index=position.log_index, after_number=position.number
        ) as again:
            assert [each.position.text for each in await some(again, 2)] == ["1-2", "2-0"]


@asynchronous
async def test_only_what_is_asked_for_comes() -> None:
    async with cluster(1) as (nodes, client):
        nodes.benches[0].server.service.on_applied(
            applied(
                1, (READY, "a", numbered(1)), (DONE, "a", numbered(1)), (DONE, "b", numbered(2))
            )
        )
        for events, numbers in (
            (client.events(after_index=0, queue="b"), [2]),
            (client.events(after_index=0, states=[READY, DONE]), [0, 1, 2]),
            (client.events(after_index=0, queue="a", states=[TaskState.DONE]), [1]),
            (client.events(after_index=0, task_id=numbered(2)[0]), [2]),
        ):
            assert [each.number for each in await some(events, len(numbers))] == numbers
            await events.close()


@asynchronous
async def test_what_is_asked_for_must_be_possible() -> None:
    async with cluster(1) as (_, client):
        with pytest.raises(InvalidRequest):
            await within(SECONDS, anext(client.events(queue="no name")))
        with pytest.raises(InvalidRequest):
            client.events(after_number=3)


@asynchronous
async def test_a_program_that_is_slow_delays_no_call_and_gets_everything_in_the_end() -> None:
    async with cluster(1) as (nodes, client), client.events(after_index=0) as events:
        for _ in range(100):
            nodes.entry(*range(100))
            await asyncio.sleep(0.001)
        await within(SECONDS, client.queue("q"))
        positions = [each.position for each in await some(events, 10_000)]
        assert positions == sorted(set(positions))


@asynchronous
async def test_closing_ends_an_iteration_that_waits() -> None:
    async with cluster() as (nodes, client):
        for whole in (False, True):
            events = client.events(after_index=0)
            reading = asyncio.create_task(collect(events))
            async with asyncio.timeout(SECONDS):
                while not nodes.subscribed():
                    await asyncio.sleep(0.001)
            await (client if whole else events).close()
            assert await within(SECONDS, reading) == []
            await events.close()
            await left(nodes)
        with pytest.raises(InvalidRequest):
            await anext(client.events())


@asynchronous
async def test_closing_ends_an_iteration_that_looks_for_a_node() -> None:
    subscribed = asyncio.Event()

    async def slow(message: list[object], writer: asyncio.StreamWriter) -> None:
        subscribed.set()
        await asyncio.sleep(0.05)
        accepting(message, writer)

    async with scripted(slow) as address, AsyncClient(address) as client:
        events = client.events(after_index=0)
        reading = asyncio.create_task(collect(events))
        await within(SECONDS, subscribed.wait())
        await events.close()
        assert await within(SECONDS, reading) == []


async def collect(events: Events) -> list[TaskEvent]:
    return [event async for event in events]


@asynchronous
async def test_without_any_node_the_search_ends_and_can_be_taken_up_again() -> None:
    async with cluster(2) as (nodes, client):
        events = client.events(after_index=0, timeout=0.3)
        nodes.entry(1)
        await some(events, 1)
        ports = [bench.native_port for bench in nodes.benches]
        for bench in nodes.benches:
            await bench.close()
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(UnavailableError):
            await within(SECONDS, anext(events))
        assert 0.2 < loop.time() - began < 3
        async with serving() as bench:
            again = Nodes([bench])
            bench.server.start_native(("127.0.0.1", ports[0]))
            again.index = nodes.index
            again.repeat(1, 1)
            again.entry(2)
            assert [each.index for each in await some(events, 1)] == [2]
        await events.close()


# ---------------------------------------------------------------- nodes that misbehave

Answer = Callable[[list[object], asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(answer: Answer, cluster_id: str = "c") -> AsyncGenerator[str]:
    """Run a node that says hello, and does what a test wants with a subscription."""
    (port,) = free_ports(1)
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        unpacker = msgpack.Unpacker(raw=False)
        while data := await reader.read(65_536):
            unpacker.feed(data)
            for each in unpacker:
                message = cast("list[object]", each)
                if message[2] == "hello":
                    hello = HelloReply(1, "n9", cluster_id, None, [])
                    writer.write(codec.encode([1, message[1], None, hello]))
                else:
                    await answer(message, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


def accepting(message: list[object], writer: asyncio.StreamWriter) -> None:
    writer.write(codec.encode([1, message[1], None, [120, 0, None]]))


def move_to(client: AsyncClient, address: str) -> None:
    """Let a client know another node instead of those that it knew."""
    follower = client._follower  # pyright: ignore[reportPrivateUsage]
    assert follower is not None
    host, _, port = address.partition(":")
    follower.endpoints._seeds[:] = [(host, int(port))]  # pyright: ignore[reportPrivateUsage]


@asynchronous
async def test_a_node_that_falls_silent_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "SILENCE_SECONDS", 0.1)

    async def silent(message: list[object], writer: asyncio.StreamWriter) -> None:
        accepting(message, writer)

    async with serving() as bench, scripted(silent) as address:
        nodes = Nodes([bench])
        nodes.entry(1)
        async with AsyncClient(address) as client:
            events = client.events(after_index=0)
            await within(SECONDS, events.begin())
            move_to(client, f"127.0.0.1:{bench.native_port}")
            assert [each.index for each in await some(events, 1)] == [1]
            await events.close()


@asynchronous
async def test_events_that_a_node_repeats_are_passed_over() -> None:
    async def stammering(message: list[object], writer: asyncio.StreamWriter) -> None:
        accepting(message, writer)
        for index, number in ((1, 0), (1, 0), (1, 1), (1, 0), (2, 0)):
            event = [1, index, number, 5, bytes(16), "q", "ready", "of a newer version"]
            writer.write(codec.encode([2, "event", event]))
        writer.write(codec.encode([2, "unheard_of", []]))

    async with (
        scripted(stammering) as address,
        AsyncClient(address) as client,
        client.events(after_index=0) as events,
    ):
        assert [each.position.text for each in await some(events, 3)] == ["1-0", "1-1", "2-0"]


@asynchronous
async def test_another_cluster_is_not_followed() -> None:
    async def once(message: list[object], writer: asyncio.StreamWriter) -> None:
        accepting(message, writer)
        writer.write(codec.encode([2, "event", [1, 1, 0, 5, bytes(16), "q", "ready"]]))

    async with (
        scripted(once) as first,
        scripted(once, "other") as second,
        AsyncClient(first) as client,
    ):
        events = client.events(after_index=0)
        await some(events, 1)
        move_to(client, second)
        events._drop()  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(EventsLost, match="another cluster"):
            await within(SECONDS, anext(events))
        await events.close()


@asynchronous
@pytest.mark.parametrize(("first_name", "second_name"), [("", "c"), ("", ""), ("c", "c")])
async def test_a_cluster_that_is_founded_meanwhile_is_the_same_one(
    first_name: str, second_name: str
) -> None:
    async def tell(message: list[object], writer: asyncio.StreamWriter, index: int) -> None:
        accepting(message, writer)
        writer.write(codec.encode([2, "event", [1, index, 0, 5, bytes(16), "q", "ready"]]))

    async with (
        scripted(partial(tell, index=1), first_name) as first,
        scripted(partial(tell, index=2), second_name) as second,
        AsyncClient(first) as client,
    ):
        events = client.events(after_index=0)
        await some(events, 1)
        move_to(client, second)
        events._drop()  # pyright: ignore[reportPrivateUsage]
        assert [each.index for each in await some(events, 1)] == [2]
        await events.close()


@asynchronous
async def test_a_node_that_knows_of_no_cluster_is_not_followed() -> None:
    async def once(message: list[object], writer: asyncio.StreamWriter) -> None:
        accepting(message, writer)
        writer.write(codec.encode([2, "event", [1, 1, 0, 5, bytes(16), "q", "ready"]]))

    async with (
        scripted(once) as first,
        scripted(once, "") as second,
        AsyncClient(first) as client,
    ):
        events = client.events(after_index=0, timeout=0.3)
        await some(events, 1)
        move_to(client, second)
        events._drop()  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(NoLeader, match="no cluster yet"):
            await within(SECONDS, anext(events))
        await events.close()


@asynchronous
async def test_a_node_that_does_not_know_now_is_not_waited_for_long() -> None:
    async with cluster(2) as (nodes, client):

        async def unknown(_deadline: float) -> int:
            raise NoLeader("none")

        nodes.benches[0].server.service.events._acknowledged_index = unknown  # pyright: ignore[reportPrivateUsage]
        for _ in range(5):
            async with client.events() as events:
                assert events.position == Position(0)
                assert nodes.subscribed() == [1]
            await left(nodes)


# ---------------------------------------------------------------- blocking code


@asynchronous
async def test_blocking_code_follows_events_in_a_loop() -> None:
    async with cluster() as (nodes, _):
        nodes.entry(1, 2)
        nodes.entry(3)

        def follow() -> list[str]:
            with Client(nodes.addresses) as client, client.events(after_index=0) as events:
                return [next(events).position.text for _ in range(3)]

        assert await within(SECONDS, asyncio.to_thread(follow)) == ["1-0", "1-1", "2-0"]
        await left(nodes)


@asynchronous
async def test_closing_a_blocking_client_ends_a_loop_on_another_thread() -> None:
    async with cluster() as (nodes, _):
        client = await asyncio.to_thread(Client, nodes.addresses)
        seen: list[TaskEvent] = []
        thread = threading.Thread(target=lambda: seen.extend(client.events(after_index=0)))
        thread.start()
        async with asyncio.timeout(SECONDS):
            while not nodes.subscribed():
                await asyncio.sleep(0.001)
        await asyncio.to_thread(client.close)
        await within(SECONDS, asyncio.to_thread(thread.join))
        assert seen == []
