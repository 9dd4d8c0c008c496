"""The run loop: no more than it can run, nothing lost silently, a clean end."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from tests.support.fake_node import Action, Break, Received, Silent
from tests.unit.worker.fake_queue import Scene, scene, until

from raftq.client import AsyncClient
from raftq.protocol import limits
from raftq.protocol.calls import LeaseCall
from raftq.protocol.commands import Ack, Extend
from raftq.protocol.errors import InvalidRequest, NoLeader, OutcomeUnknown
from raftq.worker import Run, Worker


def payloads(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


async def echo(run: Run) -> bytes:
    return run.payload


async def for_ever(run: Run) -> None:
    await asyncio.Event().wait()


def test_each_task_runs_once_and_its_result_is_recorded() -> None:
    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.done) == 50)
        assert now.queue.done == {payload: payload for payload in payloads(50)}
        await now.stop()
        assert (now.worker.runs_total, now.worker.failures_total) == (50, 0)

    scene(body, echo, payloads(50))


def test_tasks_are_leased_for_free_slots_only() -> None:
    release = asyncio.Event()

    async def wait(run: Run) -> None:
        await release.wait()

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 3)
        await asyncio.sleep(0.05)
        assert now.queue.counts_asked == [3]
        release.set()
        await until(lambda: len(now.queue.done) == 10)
        assert now.queue.held_most <= 3
        assert max(now.queue.counts_asked) <= 3

    scene(body, wait, payloads(10), concurrency=3)


def test_one_call_extends_every_lease_while_handlers_run() -> None:
    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.extended) >= 3)
        assert now.queue.extended[2] == set(now.queue.held)
        assert len(now.queue.held) == 4
        now.worker.stop()
        now.worker.stop()

    scene(body, for_ever, payloads(4), lease=0.3)


def test_the_leases_of_a_draining_worker_are_extended_too() -> None:
    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 2)
        now.worker.stop()
        seen = len(now.queue.extended)
        await until(lambda: len(now.queue.extended) >= seen + 3)
        assert now.queue.extended[-1] == set(now.queue.held)
        now.worker.stop()

    scene(body, for_ever, payloads(2), lease=0.3)


def test_a_lost_lease_cancels_its_handler_and_records_nothing() -> None:
    ended: list[bytes] = []
    runs: list[Run] = []

    async def handler(run: Run) -> bytes:
        runs.append(run)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(run.payload)
        return b""

    async def body(now: Scene) -> None:
        await until(lambda: len(runs) == 2)
        del now.queue.held[runs[0].token]
        await until(lambda: ended == [runs[0].payload])
        assert runs[0].lost.is_set() and not runs[1].lost.is_set()
        assert now.worker.lost_total == 1
        now.worker.stop()
        now.worker.stop()
        await now.stop()
        assert now.queue.done == {} and now.queue.failed == {}
        assert now.queue.given_back == [runs[1].payload]

    scene(body, handler, payloads(2), lease=0.3)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def cancelled() -> None:
    raise asyncio.CancelledError


def failing(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (failing(ValueError("bad address")), "ValueError: bad address"),
        (failing(ValueError("x" * 9_000)), "ValueError: " + "x" * 3_988),
        (failing(ValueError("\ud800")), "ValueError: ?"),
        (failing(Unprintable()), "Unprintable: (its text cannot be shown)"),
        (failing(SystemExit(3)), "SystemExit: 3"),
        (cancelled, "CancelledError: "),
        (failing(TimeoutError()), "TimeoutError: "),
    ],
)
def test_an_exception_is_a_failure_with_its_reason(act: Callable[[], None], reason: str) -> None:
    async def handler(run: Run) -> bytes:
        if run.payload == b"1":
            act()
        return b"ok"

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.done) == 2 and now.queue.failed)
        assert now.queue.failed == {b"1": reason}
        assert now.worker.failures_total == 1

    scene(body, handler, payloads(3))


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ("text", "TypeError: the handler returned str"),
        (7, "TypeError: the handler returned int"),
        (bytearray(b"x"), "TypeError: the handler returned bytearray"),
        (bytes(limits.RESULT_BYTES_MAX + 1), "PayloadTooLarge: the result has 1048577 bytes"),
    ],
)
def test_a_result_that_cannot_be_kept_fails_its_task_and_no_other(
    result: bytes, reason: str
) -> None:
    async def handler(run: Run) -> bytes:
        return result if run.payload == b"1" else b"ok"

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.done) == 3 and now.queue.failed)
        assert now.queue.failed[b"1"].startswith(reason)

    scene(body, handler, payloads(4))


def test_results_of_one_turn_share_a_call() -> None:
    gate = asyncio.Event()

    async def handler(run: Run) -> None:
        await gate.wait()

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 8)
        gate.set()
        await until(lambda: len(now.queue.done) == 8)
        assert now.queue.batches == [8]

    scene(body, handler, payloads(8), concurrency=8)


def test_large_results_are_split_over_calls_that_fit() -> None:
    gate = asyncio.Event()

    async def handler(run: Run) -> bytes:
        await gate.wait()
        return bytes(limits.RESULT_BYTES_MAX)

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 20)
        gate.set()
        await until(lambda: len(now.queue.done) == 20)
        assert max(now.queue.batches) < 16 and sum(now.queue.batches) == 20

    scene(body, handler, payloads(20), concurrency=20)


def test_a_result_is_sent_until_the_cluster_has_it() -> None:
    async def body(now: Scene) -> None:
        node, real = now.cluster["n1"], now.queue
        down = asyncio.get_running_loop().time() + 0.5

        def flaky(received: Received) -> Action | Awaitable[Action]:
            away = asyncio.get_running_loop().time() < down
            if isinstance(received.call, Ack) and away:
                return OutcomeUnknown("?") if len(real.done) % 2 else NoLeader("none")
            return real(received)

        node.fallback = flaky
        await until(lambda: len(real.done) == 4)
        assert now.worker.lost_total == 0

    scene(body, slow_echo, payloads(4))


async def slow_echo(run: Run) -> bytes:
    await asyncio.sleep(0.05)
    return run.payload


def test_a_refused_batch_is_sent_one_by_one_so_that_good_results_are_kept() -> None:
    gate = asyncio.Event()

    async def handler(run: Run) -> bytes:
        await gate.wait()
        return run.payload

    async def body(now: Scene) -> None:
        real = now.queue

        def picky(received: Received) -> Action | Awaitable[Action]:
            call = received.call
            if isinstance(call, Ack) and any(item.result == b"2" for item in call.items):
                return InvalidRequest("2 is not liked")
            return real(received)

        now.cluster["n1"].fallback = picky
        await until(lambda: len(real.held) == 4)
        gate.set()
        await until(lambda: len(real.done) == 3)
        await until(lambda: now.worker.lost_total == 1)
        assert b"2" not in real.done

    scene(body, handler, payloads(4))


# ---------------------------------------------------------------- stopping


def test_stop_lets_handlers_finish_and_leases_no_more() -> None:
    gate = asyncio.Event()

    async def handler(run: Run) -> bytes:
        await gate.wait()
        return run.payload

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 2)
        now.worker.stop()
        await asyncio.sleep(0.02)
        asked = len(now.queue.counts_asked)
        gate.set()
        await now.running
        assert set(now.queue.done) == {b"0", b"1"}
        assert now.queue.waiting == [b"2"] and now.queue.given_back == []
        assert len(now.queue.counts_asked) == asked

    scene(body, handler, payloads(3), concurrency=2)


def test_what_outlasts_the_drain_is_given_back_and_not_failed() -> None:
    async def clumsy(run: Run) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("cleaning up went wrong, too")

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 2)
        await now.stop()
        assert sorted(now.queue.given_back) == [b"0", b"1"]
        assert now.queue.failed == {} and now.queue.held == {}

    scene(body, clumsy, payloads(2), drain_timeout=0.05)


def test_a_handler_that_finishes_when_cancelled_has_its_result_recorded() -> None:
    async def thorough(run: Run) -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return b"finished in a hurry"
        return b""

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 2)
        await now.stop()
        assert now.queue.done == dict.fromkeys((b"0", b"1"), b"finished in a hurry")
        assert now.queue.given_back == []

    scene(body, thorough, payloads(2), drain_timeout=0.05)


def test_a_handler_that_ignores_cancellation_is_given_back_and_delays_the_end_only_a_little() -> (
    None
):
    gate = asyncio.Event()

    async def stubborn(run: Run) -> bytes:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        return b"too late"

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 2)
        began = time.monotonic()
        await now.stop()
        assert time.monotonic() - began < 15
        assert sorted(now.queue.given_back) == [b"0", b"1"]
        gate.set()
        await asyncio.sleep(0.05)
        assert now.queue.done == {}

    scene(body, stubborn, payloads(2), drain_timeout=0.05)


def test_a_second_stop_gives_everything_back_at_once() -> None:
    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 4)
        began = time.monotonic()
        now.worker.stop()
        await asyncio.sleep(0.02)
        now.worker.stop()
        await now.running
        assert time.monotonic() - began < 10
        assert len(now.queue.given_back) == 4

    scene(body, for_ever, payloads(4), drain_timeout=60)


def test_a_cancelled_run_gives_everything_back_and_leaves_nothing_running() -> None:
    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 4)
        before = asyncio.all_tasks()
        now.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await now.running
        assert len(now.queue.given_back) == 4
        assert now.running in before and now.running not in asyncio.all_tasks()

    scene(body, for_ever, payloads(4), drain_timeout=60)


@pytest.mark.parametrize("turns", range(8))
def test_leases_granted_while_the_worker_stops_are_given_back_at_once(turns: int) -> None:
    async def body(now: Scene) -> None:
        real = now.queue
        await until(lambda: real.counts_asked)
        real.waiting = payloads(3)
        await until(lambda: real.held)
        for _ in range(turns):
            await asyncio.sleep(0)
        began = time.monotonic()
        now.worker.stop()
        now.worker.stop()
        await now.running
        assert time.monotonic() - began < 10
        assert real.held == {}, "leases were left behind"
        assert len(real.given_back) + len(real.done) == 3

    scene(body, for_ever, [], drain_timeout=60)


def test_a_worker_that_stops_while_its_poll_waits_ends_at_once() -> None:
    async def body(now: Scene) -> None:
        await until(lambda: now.queue.counts_asked)
        began = time.monotonic()
        await now.stop()
        assert time.monotonic() - began < 5

    scene(body, echo, [])


# ---------------------------------------------------------------- trouble


def test_a_lease_call_that_failed_is_repeated_with_the_same_request_id() -> None:
    async def body(now: Scene) -> None:
        await until(lambda: now.worker.runs_total == 1)
        requests = [call for call in now.cluster.calls if isinstance(call, LeaseCall)]
        assert requests[0].request_id == requests[1].request_id
        await until(lambda: len(now.queue.counts_asked) >= 2)

    async def prepare(now: Scene) -> None:
        now.cluster["n1"].script.append(OutcomeUnknown("?"))
        await body(now)

    scene(prepare, echo, payloads(1))


def test_a_cluster_that_is_away_costs_time_and_nothing_else() -> None:
    async def body(now: Scene) -> None:
        node = now.cluster["n1"]
        await until(lambda: len(now.queue.done) >= 3)
        await node.stop()
        await asyncio.sleep(1.0)
        await node.start(now.cluster)
        await until(lambda: len(now.queue.done) + len(now.queue.failed) == 40)
        assert now.queue.failed == {}

    scene(body, slow_echo, payloads(40), concurrency=2)


def _has_done(now: Scene, count: int) -> bool:
    return len(now.queue.done) >= count


def test_broken_connections_lose_no_outcome() -> None:
    async def body(now: Scene) -> None:
        node = now.cluster["n1"]
        for _ in range(3):
            await until(partial(_has_done, now, len(now.queue.done) + 5))
            node.script.extend([Break(), Break()])
            node.break_connections()
        await until(lambda: len(now.queue.done) == 60)

    scene(body, slow_echo, payloads(60))


def test_a_failed_extension_is_tried_again_and_cancels_nobody() -> None:
    async def body(now: Scene) -> None:
        real = now.queue
        refused: list[Received] = []

        def flaky(received: Received) -> Action | Awaitable[Action]:
            if isinstance(received.call, Extend) and len(refused) < 3:
                refused.append(received)
                return Silent()
            return real(received)

        now.cluster["n1"].fallback = flaky
        await until(lambda: len(refused) == 3 and real.extended)
        assert now.worker.lost_total == 0
        now.worker.stop()
        now.worker.stop()

    scene(body, for_ever, payloads(2), lease=0.3)


def test_leases_are_extended_as_soon_as_the_cluster_is_back() -> None:
    lease = 3.0
    outage = 1.1 * lease / 3  # A little longer than one call may take.

    async def body(now: Scene) -> None:
        real = now.queue
        clock = asyncio.get_running_loop().time
        began_at: list[float] = []

        def away(received: Received) -> Action | Awaitable[Action]:
            if isinstance(received.call, Extend):
                began_at.append(clock())
                if clock() - began_at[0] < outage:
                    return NoLeader("away")
            return real(received)

        now.cluster["n1"].fallback = away
        await until(lambda: real.extended)
        assert clock() - began_at[0] < outage + lease / 6
        now.worker.abandon()

    scene(body, for_ever, payloads(1), lease=lease)


def test_a_worker_whose_requests_are_refused_ends_with_the_reason() -> None:
    async def body(now: Scene) -> None:
        with pytest.raises(InvalidRequest, match="no such queue name"):
            await now.running

    async def prepare(now: Scene) -> None:
        now.cluster["n1"].script.append(InvalidRequest("no such queue name"))
        await body(now)

    scene(prepare, echo, [])


def test_names_are_unique_even_within_a_process() -> None:
    async def main() -> None:
        client = AsyncClient("127.0.0.1:1")
        names = {Worker(client, "q", echo).name for _ in range(50)}
        assert len(names) == 50

    asyncio.run(main())


@pytest.mark.parametrize("concurrency", [0, -1, limits.SETTLEMENTS_PER_CALL_MAX + 1])
def test_an_impossible_concurrency_is_refused(concurrency: int) -> None:
    async def main() -> None:
        with pytest.raises(InvalidRequest, match="concurrency"):
            Worker(AsyncClient("127.0.0.1:1"), "q", echo, concurrency=concurrency)

    asyncio.run(main())
