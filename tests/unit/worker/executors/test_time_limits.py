"""Code that does its best not to end: what stops it, and what is said when nothing does."""

import asyncio
import logging
import threading
import time

import pytest
from tests.support import worker_tasks as tasks
from tests.support.asyncs import asynchronous, turns
from tests.unit.worker.executors.bench import GRACE, call, executing, result

from raftq.worker.endings import StillRunning
from raftq.worker.errors import RunFailed
from raftq.worker.executors.interrupting import clear_in_thread, raise_in_thread
from raftq.worker.executors.loops import LoopExecutor
from raftq.worker.executors.watch import Interrupted
from raftq.worker.serialising.remote_error import RemoteError


@asynchronous
async def test_python_code_that_blocks_the_loop_is_interrupted_and_other_tasks_live() -> None:
    async with executing("async") as executor:
        other = asyncio.create_task(executor.run(*call(tasks.extend_and_wait, 60.0, 1.5)))
        await asyncio.sleep(0.1)
        with pytest.raises(RunFailed, match="time limit") as caught:
            await executor.run(*call(tasks.block, timeout_ms=200))
        assert not isinstance(caught.value, StillRunning)
        assert "in block" in RemoteError.parse(caught.value.text).traceback
        assert await other == tasks.extend_and_wait.encode_result("done")


@asynchronous
async def test_a_call_that_blocks_the_loop_cannot_be_stopped_and_is_named() -> None:
    async with executing("async") as executor:
        with pytest.raises(StillRunning) as caught:
            await executor.run(*call(tasks.block_in_c, 2.5, timeout_ms=200))
    assert "in block_in_c" in RemoteError.parse(caught.value.text).traceback


@asynchronous
async def test_a_coroutine_that_swallows_cancellation_cannot_be_stopped_and_is_named() -> None:
    async with executing("async") as executor:
        with pytest.raises(StillRunning) as caught:
            await executor.run(*call(tasks.swallow, timeout_ms=200))
        assert await result(executor, tasks.echo, 1) == 1
    error = RemoteError.parse(caught.value.text)
    assert error.type == "raftq.worker.TimeLimitExceeded"
    assert "in swallow" in error.traceback


@asynchronous
async def test_a_cancelled_run_that_waits_for_a_blocked_loop_is_not_blamed() -> None:
    async with executing("async") as executor:
        blocking = asyncio.create_task(executor.run(*call(tasks.block_in_c, 0.2)))
        assert await result(executor, tasks.echo, 1) == 1
        await blocking


@asynchronous
async def test_who_blocks_the_loop_is_logged_once_with_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "raftq.worker"):
        async with executing("async") as executor:
            assert isinstance(executor, LoopExecutor)
            await executor.run(*call(tasks.block_in_c, 3.2))
            assert await result(executor, tasks.echo, 1) == 1
            (record,) = [each for each in caplog.records if each.message == "loop_blocked"]
            assert record.__dict__["task_name"] == "block_in_c"
            assert "plain def" in record.__dict__["advice"]
            assert "in block_in_c" in record.__dict__["exception"]


@asynchronous
async def test_a_thread_that_waits_in_c_cannot_be_stopped_and_is_named() -> None:
    async with executing("thread", 2) as executor:
        with pytest.raises(StillRunning) as caught:
            await executor.run(*call(tasks.sleep_in_thread, 3.0, timeout_ms=200))
        assert await result(executor, tasks.echo_in_thread, 1) == 1, "another thread is free"
    assert "in sleep_in_thread" in RemoteError.parse(caught.value.text).traceback


@asynchronous
async def test_a_run_that_nobody_wants_any_more_is_still_held_to_its_time_limit() -> None:
    async with executing("thread", 1) as executor:
        unwanted = asyncio.create_task(
            executor.run(*call(tasks.sleep_in_thread, 8.0, timeout_ms=1_500))
        )
        await asyncio.sleep(0.1)
        unwanted.cancel()  # As when its lease is lost.
        began = time.monotonic()
        with pytest.raises(StillRunning) as caught:
            await unwanted
        assert time.monotonic() - began < 6
    assert "in sleep_in_thread" in RemoteError.parse(caught.value.text).traceback


@asynchronous
async def test_the_time_of_a_run_that_waits_for_a_thread_does_not_run() -> None:
    async with executing("thread", 1) as executor:
        first = asyncio.create_task(executor.run(*call(tasks.sleep_in_thread, 0.5)))
        await turns()
        task = tasks.sleep_in_thread
        await executor.run(*call(task, 0.2, timeout_ms=350))
        await first


@asynchronous
async def test_a_cancelled_run_that_waits_for_a_thread_ends_at_once_and_never_begins() -> None:
    async with executing("thread", 1) as executor:
        first = asyncio.create_task(executor.run(*call(tasks.sleep_in_thread, 0.5)))
        await turns()
        waiting = asyncio.create_task(executor.run(*call(tasks.echo_in_thread, 1)))
        await turns()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not first.done()
        await first
        assert await result(executor, tasks.echo_in_thread, 2) == 2


@asynchronous
async def test_an_interrupt_never_strikes_the_next_run_of_its_thread() -> None:
    """Runs end just about when their time is over, again and again."""
    async with executing("thread", 1) as executor:
        ended: list[str] = []
        for _ in range(150):
            try:
                await executor.run(*call(tasks.sleep_in_thread, 0.005, timeout_ms=5))
                ended.append("in time")
            except RunFailed as error:
                assert "time limit" in error.text
                ended.append("too late")
            assert await result(executor, tasks.echo_in_thread, 1) == 1
        assert len(ended) == 150


@asynchronous
async def test_a_process_that_ignores_every_request_is_killed() -> None:
    async with executing("process") as executor:
        await result(executor, tasks.echo_in_process, 1)
        began = time.monotonic()
        with pytest.raises(RunFailed, match="time limit"):
            await executor.run(*call(tasks.ignore_in_process, timeout_ms=200))
        assert time.monotonic() - began < 0.2 + 2 * GRACE + 3
        assert await result(executor, tasks.echo_in_process, 1) == 1


@asynchronous
async def test_a_process_that_waits_in_a_system_call_ends_at_its_limit_at_once() -> None:
    async with executing("process") as executor:
        await result(executor, tasks.echo_in_process, 1)
        began = time.monotonic()
        with pytest.raises(RunFailed) as caught:
            await executor.run(*call(tasks.sleep_in_process, 60.0, timeout_ms=200))
        assert time.monotonic() - began < 30
    assert "in sleep_in_process" in RemoteError.parse(caught.value.text).traceback


@asynchronous
async def test_a_cancelled_process_that_ignores_every_request_is_killed() -> None:
    async with executing("process") as executor:
        await result(executor, tasks.echo_in_process, 1)
        running = asyncio.create_task(executor.run(*call(tasks.ignore_in_process)))
        await asyncio.sleep(0.1)
        running.cancel()
        async with asyncio.timeout(20):
            with pytest.raises(asyncio.CancelledError):
                await running
        assert await result(executor, tasks.echo_in_process, 1) == 1


def test_an_interrupt_that_was_taken_back_is_not_raised() -> None:
    gate, ended = threading.Lock(), threading.Event()
    outcomes: list[str] = []

    def wait_and_go_on() -> None:
        try:
            with gate:
                outcomes.append("went on")
        except Interrupted:
            outcomes.append("interrupted")
        ended.set()

    for take_back in (True, False):
        gate.acquire()
        ended.clear()
        thread = threading.Thread(target=wait_and_go_on)
        thread.start()
        assert thread.ident is not None
        raise_in_thread(thread.ident, Interrupted)
        if take_back:
            clear_in_thread(thread.ident)
        gate.release()
        thread.join(20)
        assert ended.is_set()
    assert outcomes[0] == "went on" and "interrupted" in outcomes[1:]
