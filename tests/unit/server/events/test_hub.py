"""Who is told of events, when, and what bounds it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.support.applied import DONE, LEASED, READY, applied, numbered
from tests.support.asyncs import asynchronous, turns, within
from tests.support.fake_replica import FakeReplica

from raftq.core.applied import Applied
from raftq.protocol import limits
from raftq.protocol.errors import (
    EventsLost,
    Forbidden,
    NoLeader,
    NotReady,
    RaftqError,
    RateLimited,
    ShuttingDown,
)
from raftq.protocol.events import Position, TaskEvent
from raftq.server.events import hub as hub_module
from raftq.server.events.hub import Batch, EventHub, Subscription
from raftq.server.events.ring import Wanted

SECONDS = 5.0
START = Position(0)


def nothing(_deadline: float) -> Awaitable[int]:
    raise AssertionError("nobody asked what now is")


class Bench:
    """A hub on a replica whose entries a test makes."""

    def __init__(self, now: Callable[[float], Awaitable[int]] = nothing) -> None:
        self.replica = FakeReplica()
        self.hub = EventHub(self.replica, now)
        self.index = 0

    def entry(self, *numbers: int, queue: str = "q") -> Applied:
        """Apply an entry that made tasks ready."""
        self.index += 1
        made = applied(self.index, (READY, queue, numbered(*numbers)))
        self.hub.on_applied(made)
        return made

    async def subscribe(
        self,
        position: Position | None = START,
        wanted: Wanted | None = None,
        stands: Callable[[], bool] = lambda: True,
    ) -> Subscription:
        loop = asyncio.get_running_loop()
        return await self.hub.subscribe(wanted or Wanted(), position, loop.time() + SECONDS, stands)


async def events_of(subscription: Subscription, count: int) -> list[TaskEvent]:
    """Return so many events, in order, from however many batches."""
    found: list[TaskEvent] = []
    while len(found) < count:
        batch = await within(SECONDS, subscription.next())
        assert len(batch.events) <= limits.EVENTS_PER_BATCH_MAX
        found += batch.events
    assert len(found) == count
    return found


@asynchronous
async def test_a_subscriber_is_told_each_event_once_in_order() -> None:
    bench = Bench()
    subscription = await bench.subscribe()
    told: list[int] = []
    for number in range(30):
        bench.entry(number, number + 100)
        if number % 7 == 0:
            told += [each.index for each in (await within(SECONDS, subscription.next())).events]
    told += [each.index for each in await events_of(subscription, 60 - len(told))]
    assert told == [index for index in range(1, 31) for _ in "ab"]


@asynchronous
async def test_an_entry_without_subscribers_is_kept_and_nothing_else_happens() -> None:
    bench = Bench()
    made = bench.entry(1)
    assert bench.hub._round is None and bench.hub._watch is None  # pyright: ignore[reportPrivateUsage]
    assert bench.hub.ring.entry(0)[2] is made.events, "the machine's own list is kept"


@asynchronous
async def test_now_is_behind_every_write_that_was_acknowledged_before() -> None:
    async def acknowledged(_deadline: float) -> int:
        return 3

    bench = Bench(acknowledged)
    bench.entry(1)
    subscription = await bench.subscribe(None)
    assert subscription.position == Position(3), "this node lags, and does not tell what is old"
    for number in range(4):
        bench.entry(number)
    assert [each.index for each in await events_of(subscription, 2)] == [4, 5]


@asynchronous
async def test_without_a_leader_it_is_not_known_what_now_is() -> None:
    async def unknown(_deadline: float) -> int:
        raise NoLeader("none")

    bench = Bench(unknown)
    with pytest.raises(NoLeader):
        await bench.subscribe(None)
    assert len(bench.hub) == 0


@asynchronous
async def test_a_subscriber_that_hears_nothing_is_told_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "_MARK_SECONDS", 0.01)
    bench = Bench()
    subscription = await bench.subscribe(wanted=Wanted(queue="other"))
    bench.entry(1)
    bench.entry(2)
    while (batch := await within(SECONDS, subscription.next())).position != Position(2):
        assert batch.events == []


@asynchronous
async def test_an_event_that_comes_with_a_mark_is_told_in_the_next_batch() -> None:
    bench = Bench()
    subscription = await bench.subscribe()
    waiting = asyncio.ensure_future(subscription.next())
    await turns()
    subscription.tell([])
    bench.entry(1)
    bench.hub._look_after()  # pyright: ignore[reportPrivateUsage]  # In the same turn of the loop.
    assert await waiting == Batch([], Position(0))
    assert [each.index for each in await events_of(subscription, 1)] == [1]


@asynchronous
async def test_a_slow_subscriber_is_cut_off_and_nothing_is_kept_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    monkeypatch.setattr(bench.hub.ring, "_kept_max", 5)
    slow, quick = await bench.subscribe(), await bench.subscribe()
    for number in range(6):
        bench.entry(number)
        await events_of(quick, 1)
    with pytest.raises(EventsLost) as lost:
        await within(SECONDS, slow.next())
    assert lost.value.facts == {"oldest_index": 2}
    assert bench.hub.cut_off_total == 1
    with pytest.raises(EventsLost):
        await slow.next()


@asynchronous
async def test_a_subscriber_from_before_what_is_kept_is_refused() -> None:
    bench = Bench()
    bench.replica.base_index = 10
    bench.index = 10
    bench.entry(1)
    with pytest.raises(EventsLost):
        await bench.subscribe(Position(9))
    assert len(bench.hub) == 0 and bench.hub.cut_off_total == 1
    assert len(await events_of(await bench.subscribe(Position(10)), 1)) == 1


@asynchronous
async def test_a_snapshot_in_the_place_of_the_machine_ends_what_it_left_a_gap_in() -> None:
    bench = Bench()
    bench.entry(1)
    behind, ahead = await bench.subscribe(), await bench.subscribe(Position(20))
    await events_of(behind, 1)
    bench.replica.base_index = bench.index = 20
    bench.entry(2)
    with pytest.raises(EventsLost):
        await within(SECONDS, behind.next())
    assert [each.index for each in await events_of(ahead, 1)] == [21]


@asynchronous
async def test_every_subscriber_gets_its_turn_however_much_others_want(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "_EVENTS_PER_ROUND", 4)
    monkeypatch.setattr(hub_module, "_ROUND_SECONDS", 0.001)
    bench = Bench()
    for _ in range(20):
        bench.entry(*range(10))
    got = {await bench.subscribe(): 0 for _ in range(6)}
    when_one_was_done: list[int] = []

    async def read(subscription: Subscription) -> None:
        while got[subscription] < 200:
            batch = await subscription.next()
            assert len(batch.events) <= 4
            got[subscription] += len(batch.events)
        when_one_was_done.append(min(got.values()))

    async with asyncio.TaskGroup() as group, asyncio.timeout(SECONDS):
        for subscription in got:
            group.create_task(read(subscription))
    assert when_one_was_done[0] >= 190, "none was served before another"


@asynchronous
async def test_looking_for_what_is_rare_is_bounded_in_each_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "_STEPS_PER_ROUND", 3)
    monkeypatch.setattr(hub_module, "_ROUND_SECONDS", 0.001)
    bench = Bench()
    subscription = await bench.subscribe(wanted=Wanted(queue="rare"))
    for number in range(10):
        bench.entry(number)
    bench.entry(99, queue="rare")
    waiting = asyncio.ensure_future(subscription.next())
    await turns()
    bench.hub._look_after()  # pyright: ignore[reportPrivateUsage]
    assert not waiting.done() and subscription.position < Position(10)
    assert [each.index for each in (await within(SECONDS, waiting)).events] == [11]


@asynchronous
async def test_subscriptions_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SUBSCRIPTIONS_MAX", 2)
    bench = Bench()
    first = await bench.subscribe()
    await bench.subscribe()
    with pytest.raises(RateLimited):
        await bench.subscribe()
    first.close()
    first.close()
    await bench.subscribe()
    assert len(bench.hub) == 2


@asynchronous
async def test_those_that_are_being_made_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SUBSCRIPTIONS_MAX", 1)
    leader = asyncio.get_running_loop().create_future()
    bench = Bench(lambda _: leader)
    first = asyncio.ensure_future(bench.subscribe(None))
    await turns()
    with pytest.raises(RateLimited):
        await bench.subscribe()
    leader.set_result(0)
    assert (await first).position == Position(0)


async def ended_with(subscription: Subscription, kind: type[RaftqError]) -> bool:
    with pytest.raises(kind):
        await within(SECONDS, subscription.next())
    return True


@asynchronous
async def test_a_node_that_learns_nothing_new_sends_its_subscribers_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "_WATCH_SECONDS", 0.01)
    monkeypatch.setattr(hub_module, "_UNREADY_SECONDS", 0.1)
    bench = Bench()
    subscription = await bench.subscribe()
    bench.replica.not_ready_reason = "no leader"
    waiting = asyncio.ensure_future(subscription.next())
    await asyncio.wait({waiting}, timeout=0.05)
    assert not waiting.done(), "an election is no reason"
    bench.replica.not_ready_reason = None
    await asyncio.wait({waiting}, timeout=0.1)
    assert not waiting.done()
    bench.replica.not_ready_reason = "no leader"
    with pytest.raises(NotReady):
        await within(SECONDS, waiting)


@asynchronous
async def test_a_subscriber_whose_token_was_revoked_is_told_nothing_more() -> None:
    bench = Bench()
    granted = True
    subscription = await bench.subscribe(stands=lambda: granted)
    other = await bench.subscribe()
    bench.hub.end_revoked()
    bench.entry(1)
    await events_of(subscription, 1)
    granted = False
    bench.hub.end_revoked()
    bench.entry(2)
    assert await ended_with(subscription, Forbidden)
    assert len(await events_of(other, 2)) == 2


@asynchronous
async def test_a_node_that_stops_sends_subscribers_elsewhere_and_takes_no_more() -> None:
    bench = Bench()
    subscription = await bench.subscribe()
    waiting = asyncio.ensure_future(subscription.next())
    await turns()
    bench.hub.close(ShuttingDown("stops"))
    with pytest.raises(ShuttingDown):
        await waiting
    with pytest.raises(ShuttingDown):
        await bench.subscribe()
    await bench.hub.stop()


@asynchronous
async def test_what_pushes_events_has_ended_when_the_hub_has_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "_LAST_WORDS_SECONDS", 0.01)
    bench = Bench()
    subscription = await bench.subscribe()
    said: list[str] = []

    async def polite() -> None:
        try:
            await subscription.next()
        except ShuttingDown:
            said.append("goodbye")

    async def deaf() -> None:
        await asyncio.Event().wait()

    pushers = [bench.hub.push(polite()), bench.hub.push(deaf())]
    await turns()
    await bench.hub.stop()
    assert said == ["goodbye"] and all(each.done() for each in pushers)


@asynchronous
async def test_a_bug_in_what_pushes_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()

    async def broken() -> None:
        raise ZeroDivisionError

    await asyncio.wait({bench.hub.push(broken())})
    await turns()
    assert [each.message for each in caplog.records] == ["event_push_failed"]


@asynchronous
async def test_events_of_all_kinds_of_states_are_told() -> None:
    bench = Bench()
    subscription = await bench.subscribe(wanted=Wanted(states=frozenset({DONE})))
    bench.hub.on_applied(
        applied(1, (READY, "q", numbered(1)), (LEASED, "q", numbered(1)), (DONE, "q", numbered(1)))
    )
    (event,) = await events_of(subscription, 1)
    assert (event.number, event.state, event.at_ms) == (2, DONE, 1_000)
