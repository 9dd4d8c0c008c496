"""A broker in memory: time passes when a test says so, and whoever waits is served."""

import asyncio
import threading
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.support.asyncs import asynchronous, turns, within

from raftq.client import AsyncClient, InvalidRequest, NewTask, QueueFull, TaskState
from raftq.protocol import limits
from raftq.protocol.calls import LeaseCall
from raftq.protocol.replies import Leased, LeasedTask, Reply
from raftq.testing.memory.broker import MemoryBroker
from raftq.testing.memory.clients import async_client, client

START_MS = 1_700_000_000_000
LEASE_MS = 30_000


def leases_of(done: "Future[Reply]") -> list[LeasedTask]:
    leased = done.result(0)
    assert isinstance(leased, Leased)
    return leased.leases


def broker() -> MemoryBroker:
    return MemoryBroker(START_MS)


# ------------------------------------------------------------ time


def test_the_clock_stands_still_between_calls() -> None:
    memory = broker()
    with client(memory) as calls:
        made = calls.enqueue("q", b"")
        assert calls.task(made.id).enqueued_at_ms == START_MS
    assert memory.clock.now == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    memory.advance(90_061_000)
    assert memory.clock.elapsed == timedelta(days=1, hours=1, minutes=1, seconds=1)


def test_a_delayed_task_is_ready_at_its_instant_and_not_before() -> None:
    memory = broker()
    with client(memory) as calls:
        made = calls.enqueue("q", b"", delay="10d")
        memory.advance(10 * limits.DAY_MS - 1)
        assert calls.task(made.id).state is TaskState.SCHEDULED
        memory.advance(1)
        assert calls.task(made.id).state is TaskState.READY


def test_a_lease_runs_out_at_its_instant_and_not_before() -> None:
    memory = broker()
    with client(memory) as calls:
        calls.enqueue("q", b"")
        (lease,) = calls.lease("q", worker="w", lease="30s")
        memory.advance(29_999)
        assert calls.extend(lease.token, "30s") is TaskState.LEASED
        memory.advance(29_999)
        assert calls.task(lease.task_id).crashes == 0
        memory.advance(1)
        status = calls.task(lease.task_id)
        assert (status.state, status.crashes) == (TaskState.READY, 1)
        assert status.errors == ["lease ran out (worker w)"]


def test_what_falls_due_on_the_way_happens_at_its_own_instant() -> None:
    memory = broker()
    served: list[tuple[int, timedelta]] = []

    def on_served(done: "Future[Reply]") -> None:
        served.append((len(leases_of(done)), memory.clock.elapsed))

    with client(memory) as calls:
        for queue, delay in (("late", "3s"), ("early", "1s"), ("never", "1h")):
            calls.enqueue(queue, b"", delay=delay)
            poll = memory.poll(LeaseCall([queue], 1, LEASE_MS, "w", queue, 60_000))
            poll.future.add_done_callback(on_served)
    memory.advance(limits.DAY_MS)
    assert served == [
        (1, timedelta(seconds=1)),
        (1, timedelta(seconds=3)),
        (0, timedelta(seconds=60)),
    ]


# ------------------------------------------------------------ waiting


async def _waiting(memory: MemoryBroker, calls: AsyncClient, worker: str) -> "asyncio.Task[bytes]":
    async def first() -> bytes:
        leases = await calls.lease("q", worker=worker, wait="5m")
        return leases[0].payload if leases else b"nothing"

    task = asyncio.create_task(first())
    await turns()
    return task


@asynchronous
async def test_who_waits_longest_is_served_first() -> None:
    memory = broker()
    async with async_client(memory) as calls:
        first = await _waiting(memory, calls, "w1")
        second = await _waiting(memory, calls, "w2")
        await calls.enqueue_many("q", [b"1", b"2"])
        assert await within(5, first) == b"1"
        assert await within(5, second) == b"2"


@asynchronous
async def test_a_wait_ends_with_its_virtual_time() -> None:
    memory = broker()
    async with async_client(memory) as calls:
        waiting = await _waiting(memory, calls, "w")
        memory.advance(limits.WAIT_MS_MAX)
        assert await within(5, waiting) == b"nothing"


@asynchronous
async def test_a_wait_ends_with_its_real_time_too() -> None:
    async with async_client(broker()) as calls:
        assert await within(5, calls.lease("q", worker="w", wait="20ms")) == []


@asynchronous
async def test_a_cancelled_wait_takes_no_task() -> None:
    memory = broker()
    async with async_client(memory) as calls:
        waiting = await _waiting(memory, calls, "w")
        waiting.cancel()
        await asyncio.wait([waiting])
        await calls.enqueue("q", b"")
        assert (await calls.queue("q")).counts["ready"] == 1


@asynchronous
async def test_a_task_that_was_granted_to_a_cancelled_wait_is_given_back() -> None:
    memory = broker()
    async with async_client(memory) as calls:
        waiting = await _waiting(memory, calls, "w")
        await calls.enqueue("q", b"")
        waiting.cancel()
        await asyncio.wait([waiting])
        counts = (await calls.queue("q")).counts
        assert waiting.cancelled() == (counts["ready"] == 1)
        assert counts["ready"] + counts["leased"] == 1


@asynchronous
async def test_of_one_request_only_the_last_try_waits() -> None:
    memory = broker()
    call = LeaseCall(["q"], 1, LEASE_MS, "w", "r", 60_000)
    first, second = memory.poll(call), memory.poll(call)
    assert leases_of(first.future) == []
    async with async_client(memory) as calls:
        await calls.enqueue("q", b"x")
    assert [each.payload for each in leases_of(second.future)] == [b"x"]


def test_blocking_code_on_another_thread_is_woken() -> None:
    memory = broker()
    got: list[bytes] = []
    with client(memory) as calls:

        def work() -> None:
            got.extend(each.payload for each in calls.lease("q", worker="w", wait="1m"))

        thread = threading.Thread(target=work)
        thread.start()
        calls.enqueue("q", b"x")
        thread.join(10)
    assert got == [b"x"]


# ------------------------------------------------------------ calls


def test_ids_are_the_same_in_every_run() -> None:
    made: list[bytes] = []
    for _ in range(2):
        with client(broker()) as calls:
            made.append(calls.new_id())
    assert made[0] == made[1]


def test_two_clients_of_one_broker_make_different_ids() -> None:
    memory = broker()
    with client(memory) as first, client(memory) as second:
        assert first.new_id() != second.new_id()


def test_only_what_was_created_is_listed_as_enqueued() -> None:
    memory = broker()
    task = NewTask(UUID(int=7).bytes, b"x")
    with client(memory) as calls:
        calls.enqueue_many("q", [task, b"y"])
        calls.enqueue_many("q", [task])
    assert [(queue, each.payload) for queue, each in memory.enqueued] == [("q", b"x"), ("q", b"y")]


def test_the_leader_s_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TASKS_LIVE_MAX", 1)
    with client(broker()) as calls:
        calls.enqueue("q", b"")
        with pytest.raises(QueueFull):
            calls.enqueue("q", b"")


def test_calls_about_nodes_say_where_there_are_some() -> None:
    with client(broker()) as calls:
        assert calls.cluster().leader == "memory"
        with pytest.raises(InvalidRequest, match="raftq_cluster"):
            calls.transfer_leadership()


def test_a_closed_client_says_so() -> None:
    calls = client(broker())
    calls.close()
    with pytest.raises(InvalidRequest, match="closed"):
        calls.queue("q")
