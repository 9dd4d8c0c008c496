"""How runs end besides by a value or an exception; and tasks that were leased ahead."""

import asyncio
import logging
import time

import pytest
from tests.unit.worker.fake_queue import Scene, scene, until

from raftq.client import AsyncClient
from raftq.protocol import limits
from raftq.protocol.commands import EnqueuePart, Requeue
from raftq.protocol.errors import InvalidRequest, UnknownTask
from raftq.protocol.options import NewTask
from raftq.worker import DoNotRetry, RetryLater, Run, Worker
from raftq.worker.endings import GiveBack, RunCrashed, StillRunning
from raftq.worker.errors import RunFailed


def payloads(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


async def wait_for_ever(run: Run) -> None:
    await asyncio.Event().wait()


def test_the_text_of_a_failure_elsewhere_is_recorded_as_it_is() -> None:
    async def handler(run: Run) -> None:
        raise RunFailed("mail.Bounced: no such address")

    async def body(now: Scene) -> None:
        await until(lambda: now.queue.failed)
        assert now.queue.failed == {b"0": "mail.Bounced: no such address"}

    scene(body, handler, payloads(1))


def test_a_failure_is_logged_once_with_the_tasks_ids(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(run: Run) -> None:
        raise RunFailed("ValueError: bad\n\nTraceback (most recent call last):\n  File …")

    async def body(now: Scene) -> None:
        await until(lambda: now.queue.failed)

    with caplog.at_level(logging.WARNING, "raftq.worker"):
        scene(body, handler, payloads(1))
    (record,) = [each for each in caplog.records if each.message == "run_failed"]
    told = record.__dict__
    assert (told["error"], told["queue"], told["attempt"]) == ("ValueError: bad", "q", 1)
    assert told["exception"].startswith("Traceback (most recent call last):\n")


def test_a_crashed_run_is_recorded_as_a_crash_with_its_reason_and_not_as_a_failure() -> None:
    async def handler(run: Run) -> bytes:
        if run.payload == b"0":
            raise RunCrashed("child process 7 was ended by SIGSEGV")
        return b"ok"

    async def body(now: Scene) -> None:
        await until(lambda: now.queue.crashed and len(now.queue.done) == 2)
        assert now.queue.crashed == {b"0": "crashed: child process 7 was ended by SIGSEGV"}
        assert (now.worker.crashes_total, now.worker.failures_total) == (1, 0)
        await now.stop()
        assert now.queue.failed == {} and now.queue.given_back == [] and not now.queue.held

    scene(body, handler, payloads(3))


def test_a_crash_is_told_also_by_a_worker_that_stops() -> None:
    crash = asyncio.Event()

    async def handler(run: Run) -> None:
        await crash.wait()
        raise RunCrashed("the child process died")

    async def body(now: Scene) -> None:
        await until(lambda: now.queue.held)
        now.worker.stop()
        crash.set()
        await now.running
        assert list(now.queue.crashed) == [b"0"] and now.queue.given_back == []

    scene(body, handler, payloads(1))


# ---------------------------------------------------------------- cancelled


def test_a_cancelled_run_is_ended_at_the_next_extension_and_its_place_is_given_free() -> None:
    seen: list[bool] = []

    async def handler(run: Run) -> bytes:
        if run.payload == b"1":
            return b"ok"
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(run.is_cancelled)
        return b""

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.done) == 1)
        now.queue.cancelled.add(b"0")
        await until(lambda: now.queue.released)
        assert (seen, now.queue.released, now.queue.held) == ([True], [b"0"], {})
        assert (now.worker.cancelled_total, now.worker.lost_total) == (1, 0)
        await now.stop()
        assert now.queue.failed == {} and now.queue.given_back == []

    scene(body, handler, payloads(2), lease=0.3)


def test_what_a_cancelled_run_returns_all_the_same_is_not_recorded() -> None:
    async def handler(run: Run) -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return b"I finished"
        return b""

    async def body(now: Scene) -> None:
        await until(lambda: now.queue.held)
        now.queue.cancelled.add(b"0")
        await until(lambda: now.queue.released)
        assert now.queue.done == {}

    scene(body, handler, payloads(1), lease=0.3)


def test_an_ack_that_comes_after_the_cancel_ends_the_lease_and_is_no_lost_one() -> None:
    gate = asyncio.Event()

    async def handler(run: Run) -> bytes:
        await gate.wait()
        return b"ok"

    async def body(now: Scene) -> None:
        await until(lambda: now.queue.held)
        now.queue.cancelled.add(b"0")
        gate.set()
        await until(lambda: now.queue.released)
        assert now.queue.done == {} and now.worker.lost_total == 0

    scene(body, handler, payloads(1))


def test_a_cancelled_task_that_was_prefetched_never_runs_and_is_released() -> None:
    gate = asyncio.Event()
    running: list[bytes] = []

    async def handler(run: Run) -> bytes:
        running.append(run.payload)
        await gate.wait()
        return b"ok"

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 3)
        now.queue.cancelled.add(b"1")
        await until(lambda: now.queue.released)
        gate.set()
        await until(lambda: len(now.queue.done) == 2)
        assert running == [b"0", b"2"] and now.queue.released == [b"1"]

    scene(body, handler, payloads(3), concurrency=1, prefetch=2, lease=0.3)


# ---------------------------------------------------------------- what a run says


def test_a_run_may_say_when_it_is_tried_again_and_that_it_never_is() -> None:
    async def handler(run: Run) -> None:
        if run.payload == b"0":
            raise RetryLater("busy", "90s")
        if run.payload == b"1":
            raise DoNotRetry("no such user")
        raise ValueError("bad")

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.failed) == 3)
        assert now.queue.delays == {b"0": (90_000, False), b"1": (None, True), b"2": (None, False)}
        assert now.queue.failed[b"0"] == "RetryLater: busy"

    scene(body, handler, payloads(3))


def new_task(number: int) -> NewTask:
    return NewTask(bytes([number]) * 16, b"next")


def test_follow_ups_travel_with_the_ack_and_only_with_an_ack() -> None:
    async def handler(run: Run) -> bytes:
        run.follow_up([("a", new_task(1)), ("b", new_task(2))])
        if run.payload == b"1":
            raise ValueError("bad")
        return b"ok"

    async def body(now: Scene) -> None:
        await until(lambda: now.queue.done and now.queue.failed)
        assert now.queue.follow_ups == {
            b"0": [EnqueuePart("a", [new_task(1)]), EnqueuePart("b", [new_task(2)])]
        }

    scene(body, handler, payloads(2))


def test_a_run_whose_follow_up_is_refused_has_failed() -> None:
    async def handler(run: Run) -> bytes:
        run.follow_up([("a", new_task(1))])
        return b"ok"

    async def body(now: Scene) -> None:
        now.queue.refuses = "key_taken"
        await until(lambda: now.queue.failed)
        assert now.queue.failed[b"0"].startswith("key_taken: ") and now.queue.done == {}
        assert now.worker.failures_total == 1 and not now.queue.held

    scene(body, handler, payloads(1))


def test_a_run_has_no_more_follow_ups_than_an_ack_can_carry() -> None:
    run = Run(bytes(16), "q", 1, 1, b"")
    run.follow_up([("a", new_task(1))] * limits.FOLLOW_UPS_MAX)
    with pytest.raises(InvalidRequest, match="follow-ups"):
        run.follow_up([("a", new_task(2))])
    assert len(run.follow_ups) == limits.FOLLOW_UPS_MAX


def test_progress_is_told_at_once_the_newest_counts_and_a_failed_call_is_made_up_for() -> None:
    gate = asyncio.Event()

    async def handler(run: Run) -> bytes:
        for percent in (b"10", b"20", b"30"):
            run.tell(percent)
        await gate.wait()
        return b"ok"

    async def body(now: Scene) -> None:
        now.cluster["n1"].script.extend([now.queue, UnknownTask("what?")])
        await until(lambda: now.queue.progress)
        assert now.queue.progress == [b"30"]
        gate.set()
        await until(lambda: now.queue.done)

    scene(body, handler, payloads(1), lease=2.0)


def test_a_run_that_this_worker_cannot_do_is_given_back_and_the_worker_goes_on() -> None:
    async def handler(run: Run) -> bytes:
        if run.payload == b"0":
            raise GiveBack("no such task here", delay_seconds=10.0)
        return b"ok"

    async def body(now: Scene) -> None:
        await until(lambda: now.queue.given_back and len(now.queue.done) == 2)
        (call,) = [each for each in now.cluster.calls if isinstance(each, Requeue)]
        assert [item.delay_ms for item in call.items] == [10_000]
        assert now.queue.given_back == [b"0"] and not now.worker.is_stopping

    scene(body, handler, payloads(3))


def test_a_worker_that_can_do_nothing_gives_back_and_ends() -> None:
    async def handler(run: Run) -> None:
        raise GiveBack("no process can be started", is_over=True)

    async def body(now: Scene) -> None:
        await now.running
        assert now.worker.given_up == "no process can be started"
        assert sorted(now.queue.given_back) == [b"0", b"1"]
        assert now.queue.waiting == [b"2"]

    scene(body, handler, payloads(3), concurrency=2)


def test_a_run_that_nothing_stops_fails_last_and_others_end_before() -> None:
    gate = asyncio.Event()
    failed_when_acked: list[dict[bytes, str]] = []

    async def handler(run: Run) -> bytes:
        if run.payload == b"0":
            raise StillRunning("TimeLimitExceeded: it hangs")
        await gate.wait()
        return b"ok"

    async def body(now: Scene) -> None:
        await until(lambda: now.worker.is_stopping)
        assert now.worker.given_up == "a run ignores its time limit"
        await until(lambda: len(now.queue.extended) >= 2)
        assert len(now.queue.extended[-1]) == 3, "the lease of what still runs is kept, too"
        gate.set()
        await until(lambda: len(now.queue.done) == 2)
        failed_when_acked.append(dict(now.queue.failed))
        await now.running
        assert now.queue.failed == {b"0": "TimeLimitExceeded: it hangs"}
        assert now.queue.waiting == [b"3"] and now.queue.held == {}

    scene(body, handler, payloads(4), concurrency=3, lease=0.3)


# ---------------------------------------------------------------- tasks leased ahead


def test_prefetched_tasks_wait_for_a_slot_and_then_run() -> None:
    gate = asyncio.Event()
    running: list[bytes] = []

    async def handler(run: Run) -> bytes:
        running.append(run.payload)
        await gate.wait()
        return b"ok"

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 5)
        assert now.queue.counts_asked == [5] and running == [b"0", b"1"]
        gate.set()
        await until(lambda: len(now.queue.done) == 8)
        assert running == payloads(8), "in the order of the queue"
        assert now.queue.held_most <= 5 + 5  # Outcomes on their way are held, but take no slot.

    scene(body, handler, payloads(8), concurrency=2, prefetch=3)


def test_prefetched_tasks_are_given_back_before_running_ones_end() -> None:
    gate = asyncio.Event()

    async def handler(run: Run) -> bytes:
        await gate.wait()
        return b"ok"

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 5)
        now.worker.stop()
        await until(lambda: len(now.queue.given_back) == 3)
        assert now.queue.given_back == payloads(5)[2:] and now.queue.done == {}
        gate.set()
        await now.running
        assert set(now.queue.done) == {b"0", b"1"}

    scene(body, handler, payloads(5), concurrency=2, prefetch=3)


def test_a_prefetched_task_whose_lease_is_lost_never_runs() -> None:
    gate = asyncio.Event()
    running: list[bytes] = []

    async def handler(run: Run) -> bytes:
        running.append(run.payload)
        await gate.wait()
        return b"ok"

    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 3)
        lost = next(token for token, payload in now.queue.held.items() if payload == b"1")
        del now.queue.held[lost]
        await until(lambda: now.worker.lost_total == 1)
        gate.set()
        await until(lambda: len(now.queue.done) == 2)
        assert running == [b"0", b"2"]

    scene(body, handler, payloads(3), concurrency=1, prefetch=2, lease=0.3)


def test_an_impossible_prefetch_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(InvalidRequest, match="prefetch is -1"):
            Worker(AsyncClient("127.0.0.1:1"), "q", wait_for_ever, prefetch=-1)

    asyncio.run(main())


def test_abandoning_gives_everything_back_at_once() -> None:
    async def body(now: Scene) -> None:
        await until(lambda: len(now.queue.held) == 2)
        began = time.monotonic()
        now.worker.abandon()
        await now.running
        assert time.monotonic() - began < 10 and len(now.queue.given_back) == 2

    scene(body, wait_for_ever, payloads(2), drain_timeout=60)
