"""Long polls on queues whose tasks may not all start: paused, capped, slowed down, or by key."""

import asyncio
from typing import Final

from tests.support.asyncs import asynchronous, turns, within
from tests.support.poll_bench import SOON, Bench

from raftq.protocol.commands import Ack, AckItem
from raftq.protocol.control import SetLimit, SetQueue
from raftq.protocol.options import KeyLimit, QueueChanges, Rate, TaskOptions
from raftq.protocol.replies import Leased

KEY: Final = TaskOptions(limit_key="k")


def token(poll: "asyncio.Future[Leased]") -> int:
    (lease,) = poll.result().leases
    return lease.token


@asynchronous
async def test_a_paused_queue_serves_nobody_until_it_goes_on() -> None:
    bench = Bench()
    bench.apply(SetQueue("q", QueueChanges(paused=True)))
    bench.enqueue(count=1)
    poll = bench.lease()
    await turns()
    assert bench.leases_proposed == 0 and bench.waiters.waiting == 1
    bench.apply(SetQueue("q", QueueChanges(paused=False)))
    await within(SOON, poll)
    assert token(poll)


@asynchronous
async def test_a_capped_queue_wakes_the_next_when_a_slot_is_free() -> None:
    bench = Bench()
    bench.apply(SetQueue("q", QueueChanges(concurrency=1)))
    bench.enqueue(count=3)
    first, second = bench.lease(), bench.lease()
    await within(SOON, first)
    await turns()
    assert bench.leases_proposed == 1 and not second.done()
    bench.apply(Ack([AckItem(token(first))]))
    await within(SOON, second)
    assert bench.leases_proposed == 2


@asynchronous
async def test_a_slot_is_not_promised_twice_while_a_lease_is_in_flight() -> None:
    bench = Bench()
    bench.apply(SetQueue("q", QueueChanges(concurrency=1)))
    bench.enqueue(count=3)
    bench.replica.is_holding = True
    first, second = bench.lease(), bench.lease()
    await turns()
    assert bench.replica.proposed == 1
    bench.replica.commit()
    await within(SOON, first)
    await turns()
    assert bench.replica.proposed == 0 and not second.done()


@asynchronous
async def test_a_slowed_queue_wakes_the_next_when_its_time_has_come() -> None:
    bench = Bench()
    bench.apply(SetQueue("q", QueueChanges(rate=Rate(1, 1_000))))
    bench.enqueue(count=2)
    first, second = bench.lease(), bench.lease()
    await within(SOON, first)
    await turns()
    assert not second.done() and bench.leases_proposed == 1
    due_at_ms = bench.replica.machine.next_wall_due_at_ms()
    assert due_at_ms is not None and due_at_ms > bench.replica.wall_ms
    bench.replica.wall_ms = due_at_ms
    bench.apply()
    await within(SOON, second)


@asynchronous
async def test_a_poll_that_meets_only_tasks_of_a_full_key_waits_on_and_is_woken() -> None:
    bench = Bench()
    bench.apply(SetLimit("k", KeyLimit(concurrency=1)))
    bench.enqueue(count=3, options=KEY)
    first, second = bench.lease(), bench.lease()
    await within(SOON, first)
    await turns(20)
    assert not second.done()
    proposed = bench.leases_proposed
    await turns(20)
    assert bench.leases_proposed == proposed, "asked again and again though nothing can start"
    bench.apply(Ack([AckItem(token(first))]))
    await within(SOON, second)


@asynchronous
async def test_a_task_behind_those_of_a_full_key_is_found() -> None:
    bench = Bench()
    bench.apply(SetLimit("k", KeyLimit(concurrency=1)))
    bench.enqueue(count=5, options=KEY)
    bench.enqueue(count=1)
    polls = [bench.lease(), bench.lease()]
    await within(SOON, asyncio.gather(*polls))
    assert bench.replica.machine.queue("q").counts["leased"] == 2


@asynchronous
async def test_a_limit_that_is_raised_wakes_who_waits() -> None:
    bench = Bench()
    bench.apply(SetLimit("k", KeyLimit(concurrency=1)))
    bench.enqueue(count=3, options=KEY)
    polls = [bench.lease() for _ in range(3)]
    await within(SOON, polls[0])
    await turns(20)
    assert [poll.done() for poll in polls] == [True, False, False]
    bench.apply(SetLimit("k", KeyLimit()))
    await within(SOON, asyncio.gather(*polls))
