"""Events of a broker in memory: the same as a cluster tells."""

import asyncio
import threading

import pytest
from tests.support.asyncs import asynchronous, turns, within

from raftq.client import Events, InvalidRequest, TaskEvent, TaskState
from raftq.protocol.errors import EventsLost
from raftq.testing.memory.cluster import open_cluster

START_AT_MS = 1_700_000_000_000
SECONDS = 10.0


@asynchronous
async def test_a_test_follows_what_becomes_of_its_tasks() -> None:
    cluster = open_cluster(START_AT_MS)
    async with cluster.async_client() as client, client.events(queue="q") as events:
        await client.enqueue("other", b"x")
        task = await client.enqueue("q", b"x", delay=60)
        cluster.advance(60_000)
        (lease,) = await client.lease("q", worker="w")
        await client.ack(lease.token)
        seen = [await within(SECONDS, anext(events)) for _ in range(4)]
        assert [each.state for each in seen] == ["scheduled", "ready", "leased", "done"]
        assert {each.task_id for each in seen} == {task.id}
        assert seen[1].at_ms == START_AT_MS + 60_000


@asynchronous
async def test_an_event_wakes_who_waits_and_closing_does() -> None:
    cluster = open_cluster(START_AT_MS)
    async with cluster.async_client() as client:
        events = client.events(states=[TaskState.READY], after_index=0)
        for _ in range(3):
            waiting = asyncio.ensure_future(anext(events))
            await turns()
            assert not waiting.done()
            task = await client.enqueue("q", b"x")
            assert (await within(SECONDS, waiting)).task_id == task.id
        reading = asyncio.ensure_future(_rest(events))
        await turns()
        await events.close()
        assert await within(SECONDS, reading) == []


async def _rest(events: Events) -> list[TaskEvent]:
    return [event async for event in events]


@asynchronous
async def test_a_wait_that_is_given_up_disturbs_nobody() -> None:
    cluster = open_cluster(START_AT_MS)
    async with cluster.async_client() as client, client.events() as events:
        with pytest.raises(TimeoutError):
            await within(0.01, anext(events))
        task = await client.enqueue("q", b"x")
        assert (await within(SECONDS, anext(events))).task_id == task.id


def test_blocking_code_follows_what_other_threads_do() -> None:
    cluster = open_cluster(START_AT_MS)
    with (
        cluster.client() as client,
        cluster.client() as producer,
        client.events(queue="q") as events,
    ):
        thread = threading.Thread(target=lambda: producer.enqueue("q", b"x"))
        thread.start()
        assert next(events).state is TaskState.READY
        thread.join()


@asynchronous
async def test_what_is_wrong_or_lost_is_refused_as_by_a_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = open_cluster(START_AT_MS)
    async with cluster.async_client() as client:
        with pytest.raises(InvalidRequest):
            await anext(client.events(queue="no name"))
        monkeypatch.setattr(cluster._ring, "_kept_max", 2)  # pyright: ignore[reportPrivateUsage]
        for _ in range(4):
            await client.enqueue("q", b"x")
        with pytest.raises(EventsLost):
            await within(SECONDS, anext(client.events(after_index=0)))
