"""Long polls are fair, promise nothing twice, and lose nothing."""

import asyncio

import pytest
from tests.support.asyncs import asynchronous, turns, within
from tests.support.poll_bench import SOON, Bench

from raftq.protocol import limits
from raftq.protocol.commands import Ack, AckItem, Lease, Requeue, RequeueItem
from raftq.protocol.errors import LeadershipLost, NotLeader, RateLimited
from raftq.protocol.replies import Leased


def tokens(leased: "asyncio.Future[Leased]") -> list[int]:
    return [lease.token for lease in leased.result().leases]


@asynchronous
async def test_a_ready_task_is_leased_at_once() -> None:
    bench = Bench()
    bench.enqueue()
    leased = await within(SOON, bench.lease(wait=0))
    assert len(leased.leases) == 1
    assert bench.waiters.waiting == 0


@asynchronous
async def test_an_empty_poll_proposes_nothing() -> None:
    bench = Bench()
    assert (await within(SOON, bench.lease(wait=0))).leases == []
    assert (await within(SOON, bench.lease(wait=0.01))).leases == []
    assert bench.replica.entries == []
    assert bench.waiters.waiting == 0


@asynchronous
async def test_waiters_are_served_first_in_first_out() -> None:
    bench = Bench()
    polls = [bench.lease() for _ in range(4)]
    for number in range(4):
        bench.enqueue()
        await within(SOON, polls[number])
        assert [poll.done() for poll in polls] == [True] * (number + 1) + [False] * (3 - number)


@asynchronous
async def test_a_task_wakes_exactly_as_many_waiters_as_it_can_serve() -> None:
    bench = Bench()
    polls = [bench.lease() for _ in range(10)]
    bench.enqueue(count=3)
    await within(SOON, asyncio.gather(*polls[:3]))
    await turns()
    assert bench.leases_proposed == 3
    assert bench.waiters.waiting == 7
    assert not any(poll.done() for poll in polls[3:])


@asynchronous
async def test_leases_of_one_turn_share_a_log_entry() -> None:
    bench = Bench()
    polls = [bench.lease() for _ in range(5)]
    bench.enqueue(count=5)
    await within(SOON, asyncio.gather(*polls))
    assert [len(entry) for entry in bench.replica.entries] == [1, 5]


@asynchronous
async def test_a_task_is_not_promised_twice_while_a_lease_is_in_flight() -> None:
    bench = Bench()
    bench.replica.is_holding = True
    bench.enqueue()
    first, second = bench.lease(), bench.lease()
    await turns()
    assert bench.replica.proposed == 1
    assert bench.waiters.waiting == 1
    bench.replica.commit()
    await within(SOON, first)
    await turns()
    assert bench.replica.proposed == 0
    assert not second.done()


@asynchronous
async def test_what_a_generous_promise_left_over_serves_the_next_waiter() -> None:
    bench = Bench()
    bench.replica.is_holding = True
    # The second task does not fit in one reply, so the first lease takes one of two promised.
    bench.enqueue(count=2, payload=bytes(limits.LEASE_REPLY_BYTES_MAX - 10))
    first, second = bench.lease(count=2), bench.lease(count=1)
    assert bench.replica.proposed == 1
    bench.replica.commit()
    await turns()
    bench.replica.commit()
    await within(SOON, asyncio.gather(first, second))
    assert len(tokens(first)) == len(tokens(second)) == 1


@asynchronous
async def test_a_waiter_that_found_nothing_after_all_waits_on_at_the_front() -> None:
    bench = Bench()
    bench.replica.is_holding = True
    bench.enqueue()
    first, second = bench.lease(), bench.lease()
    # Somebody else's lease is applied first, as after a leader change.
    bench.replica.apply([Lease(["q"], 1, 30_000, "other", "o1")])
    bench.replica.commit()
    await turns()
    assert not first.done()
    assert bench.waiters.waiting == 2
    bench.enqueue()
    bench.replica.commit()
    await within(SOON, first)
    assert not second.done()


@asynchronous
async def test_a_waiter_on_several_queues_is_served_by_any_and_leaves_all_lines() -> None:
    bench = Bench()
    both, other = bench.lease(["a", "b", "a"]), bench.lease(["a"])
    bench.enqueue("b")
    await within(SOON, both)
    assert both.result().leases[0].queue == "b"
    bench.enqueue("a")
    await within(SOON, other)
    assert bench.waiters.waiting == 0


@asynchronous
async def test_a_wait_that_ends_answers_with_nothing_and_leaves_the_line() -> None:
    bench = Bench()
    poll = bench.lease(wait=0.01)
    assert (await within(SOON, poll)).leases == []
    bench.enqueue()
    await turns()
    assert bench.leases_proposed == 0


@asynchronous
async def test_a_cancelled_waiter_takes_no_task() -> None:
    bench = Bench()
    gone, patient = bench.lease(), bench.lease()
    gone.cancel()
    bench.enqueue()
    await within(SOON, patient)
    assert bench.leases_proposed == 1
    assert bench.waiters.waiting == 0


@asynchronous
async def test_leases_granted_to_a_caller_that_is_gone_are_given_back() -> None:
    bench = Bench()
    bench.replica.is_holding = True
    bench.enqueue()
    gone = bench.lease()
    gone.cancel()
    bench.replica.commit()
    await turns()
    bench.replica.commit()
    await turns()
    assert isinstance(bench.replica.commands[-1], Requeue)
    assert bench.replica.machine.ready_count("q") == 1
    assert bench.replica.machine.queue("q").counts["leased"] == 0


@asynchronous
async def test_a_repeated_call_returns_the_same_leases_though_nothing_is_ready() -> None:
    bench = Bench()
    bench.enqueue()
    first = await within(SOON, bench.lease(request="same"))
    again = await within(1.0, bench.lease(request="same"))
    assert [lease.token for lease in again.leases] == [lease.token for lease in first.leases]


@asynchronous
async def test_a_repetition_overtakes_no_lease_that_is_in_flight() -> None:
    bench = Bench()
    bench.replica.is_holding = True
    bench.enqueue()
    first = bench.lease(request="same")
    again = bench.lease(request="same")
    bench.replica.commit()
    await within(SOON, asyncio.gather(first, again))
    assert tokens(first) == tokens(again) != []


@asynchronous
async def test_a_repetition_gets_the_leases_whose_first_caller_is_gone() -> None:
    bench = Bench()
    bench.replica.is_holding = True
    bench.enqueue()
    gone = bench.lease(request="same")
    again = bench.lease(request="same")
    gone.cancel()
    bench.replica.commit()
    await within(SOON, again)
    await turns()
    assert bench.replica.proposed == 0, "the leases were taken from their new caller"
    assert len(tokens(again)) == 1


@asynchronous
async def test_leases_that_were_answered_are_not_given_back_for_a_repetition() -> None:
    bench = Bench()
    bench.enqueue()
    heard = await within(SOON, bench.lease(request="same"))
    bench.replica.is_holding = True
    again = bench.lease(request="same")
    again.cancel()
    bench.replica.commit()
    await turns()
    assert bench.replica.proposed == 0, "the leases were taken from a caller that has them"
    assert len(heard.leases) == bench.replica.machine.queue("q").counts["leased"] == 1


@asynchronous
@pytest.mark.parametrize("is_first_heard", [True, False])
async def test_of_two_tries_in_flight_one_that_is_heard_keeps_the_leases(
    is_first_heard: bool,
) -> None:
    bench = Bench()
    bench.replica.is_holding = True
    bench.enqueue()
    first, again = bench.lease(request="same"), bench.lease(request="same")
    heard, gone = (first, again) if is_first_heard else (again, first)
    gone.cancel()
    bench.replica.commit()
    await turns()
    assert len(tokens(heard)) == 1
    assert bench.replica.proposed == 0, "the leases were taken from a caller that has them"


@asynchronous
async def test_leases_of_two_tries_that_nobody_hears_are_given_back() -> None:
    bench = Bench()
    bench.replica.is_holding = True
    bench.enqueue()
    for gone in [bench.lease(request="same") for _ in range(2)]:
        gone.cancel()
    bench.replica.commit()
    await turns()
    bench.replica.commit()
    await turns()
    assert bench.replica.machine.ready_count("q") == 1


@asynchronous
async def test_a_repetition_takes_the_place_of_the_try_that_waits() -> None:
    bench = Bench()
    lost = bench.lease(request="same")
    again = bench.lease(request="same")
    bench.enqueue()
    await within(SOON, again)
    assert len(tokens(again)) == 1
    assert (await within(SOON, lost)).leases == []
    assert bench.waiters.waiting == 0


@asynchronous
async def test_two_tries_that_found_nothing_leave_one_waiter() -> None:
    bench = Bench()
    bench.replica.is_holding = True
    bench.enqueue()
    first, again = bench.lease(request="same"), bench.lease(request="same")
    bench.replica.apply([Lease(["q"], 1, 30_000, "other", "o1")])
    bench.replica.commit()
    await turns()
    assert bench.waiters.waiting == 1
    assert (first.done(), again.done()) == (True, False)
    bench.enqueue()
    bench.replica.commit()
    await within(SOON, again)
    assert bench.waiters.waiting == 0


@asynchronous
async def test_losing_leadership_sends_every_waiter_elsewhere() -> None:
    bench = Bench()
    polls = [bench.lease(["q"]), bench.lease(["a", "b"])]
    bench.replica.lead(False)
    for poll in polls:
        with pytest.raises(NotLeader):
            await within(SOON, poll)
    await turns()
    assert bench.waiters.waiting == 0
    with pytest.raises(NotLeader):
        bench.lease()


@asynchronous
async def test_a_lease_in_flight_when_leadership_is_lost_is_unknown_and_frees_its_promise() -> None:
    bench = Bench()
    bench.replica.is_holding = True
    bench.enqueue()
    poll = bench.lease()
    bench.replica.lead(False)
    with pytest.raises(LeadershipLost):
        await within(SOON, poll)
    bench.replica.lead(True)
    bench.replica.is_holding = False
    assert len((await within(SOON, bench.lease(wait=0))).leases) == 1


@asynchronous
async def test_a_refused_proposal_is_reported_and_frees_its_promise() -> None:
    bench = Bench()
    bench.enqueue()
    bench.replica.propose_error = RateLimited("too many")
    with pytest.raises(RateLimited):
        await within(SOON, bench.lease())
    bench.replica.propose_error = None
    assert len((await within(SOON, bench.lease(wait=0))).leases) == 1


@asynchronous
async def test_one_waiter_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITERS_MAX", 2)
    bench = Bench()
    polls = [bench.lease(), bench.lease()]
    with pytest.raises(RateLimited) as refused:
        await within(SOON, bench.lease())
    assert refused.value.facts["retry_after_ms"] == limits.RETRY_AFTER_MS
    bench.enqueue(count=2)
    await within(SOON, asyncio.gather(*polls))
    await turns()
    assert bench.waiters.waiting == 0


@asynchronous
async def test_a_requeued_task_wakes_a_waiter() -> None:
    bench = Bench()
    bench.enqueue()
    (token,) = [lease.token for lease in (await within(SOON, bench.lease())).leases]
    poll = bench.lease()
    bench.replica.apply([Ack([AckItem(token + 1)])])
    await turns()
    assert not poll.done()
    bench.replica.apply([Requeue([RequeueItem(token)])])
    assert tokens_of(await within(SOON, poll)) == [token + 1]


def tokens_of(leased: Leased) -> list[int]:
    return [lease.token for lease in leased.leases]
