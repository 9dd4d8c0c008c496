"""What holds for tasks on the loop, in threads and in processes alike."""

import asyncio
import gc
import time
from pathlib import Path

import pytest
from tests.support import worker_tasks as tasks
from tests.support.asyncs import asynchronous, until
from tests.unit.worker.executors.bench import (
    GRACE,
    KINDS,
    TASK_ID,
    call,
    executing,
    lines,
    result,
)

from raftq.worker.errors import RunFailed
from raftq.worker.serialising.remote_error import RemoteError

ECHO = dict(zip(KINDS, (tasks.echo, tasks.echo_in_thread, tasks.echo_in_process), strict=True))
FAIL = dict(zip(KINDS, (tasks.fail, tasks.fail_in_thread, tasks.fail_in_process), strict=True))
FACTS = dict(zip(KINDS, (tasks.facts, tasks.facts_in_thread, tasks.facts_in_process), strict=True))
FOR_EVER = dict(zip(KINDS, (tasks.wait, tasks.spin_in_thread, tasks.spin_in_process), strict=True))
EXTENDING = dict(
    zip(
        KINDS,
        (tasks.extend_and_wait, tasks.extend_in_thread, tasks.extend_in_process),
        strict=True,
    )
)


@pytest.mark.parametrize("kind", KINDS)
@asynchronous
async def test_results_come_back(kind: str) -> None:
    async with executing(kind) as executor:
        found = await asyncio.gather(*(result(executor, ECHO[kind], each) for each in range(20)))
    assert found == list(range(20))


@pytest.mark.parametrize("kind", KINDS)
@asynchronous
async def test_a_run_that_ended_is_in_no_cycle_that_only_the_collector_frees(kind: str) -> None:
    async with executing(kind) as executor:
        await result(executor, ECHO[kind], 0)
        gc.collect()
        gc.disable()
        try:
            for each in range(100):
                await result(executor, ECHO[kind], each)
            assert gc.collect() < 100
        finally:
            gc.enable()


@pytest.mark.parametrize("kind", KINDS)
@asynchronous
async def test_an_exception_comes_back_with_its_type_its_text_and_the_tasks_own_calls(
    kind: str,
) -> None:
    async with executing(kind) as executor:
        with pytest.raises(RunFailed) as caught:
            await executor.run(*call(FAIL[kind], "no such address"))
    error = RemoteError.parse(caught.value.text)
    assert (error.type, error.message) == ("ValueError", "no such address")
    assert "in _fail" in error.traceback
    assert "raftq/worker" not in error.traceback


@pytest.mark.parametrize("kind", KINDS)
@asynchronous
async def test_a_task_knows_its_run(kind: str) -> None:
    async with executing(kind) as executor:
        facts = await result(executor, FACTS[kind])
    assert facts == [str(TASK_ID), FACTS[kind].name, "q", "2", "77"]


@pytest.mark.parametrize("kind", KINDS)
@asynchronous
async def test_a_run_ends_at_its_time_limit_and_says_where_it_was(
    kind: str, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    async with executing(kind) as executor:
        assert await result(executor, ECHO[kind], 1) == 1  # A process has started.
        began = time.monotonic()
        with pytest.raises(RunFailed) as caught:
            await executor.run(*call(FOR_EVER[kind], str(mark), timeout_ms=200))
        took = time.monotonic() - began
        assert lines(mark)[-1] == "ended", "its finally was executed"
        assert await result(executor, ECHO[kind], 2) == 2, "others go on"
    assert 0.2 <= took < 0.2 + GRACE + 3
    error = RemoteError.parse(caught.value.text)
    assert error.type == "raftq.worker.TimeLimitExceeded"
    assert error.message == "the run was stopped at its time limit of 0.2 s"
    assert f"in {FOR_EVER[kind].name}" in error.traceback


@pytest.mark.parametrize("kind", KINDS)
@asynchronous
async def test_a_run_that_asks_for_more_time_gets_it(kind: str) -> None:
    async with executing(kind) as executor:
        task = EXTENDING[kind]
        run, invocation = call(task, 5.0, 0.6, timeout_ms=300)
        assert task.decode_result(await executor.run(run, invocation)) == "done"
        with pytest.raises(RunFailed, match=r"time limit of 0\.1 s"):
            await executor.run(*call(task, 0.1, 0.8, timeout_ms=60_000))


@pytest.mark.parametrize("kind", KINDS)
@asynchronous
async def test_a_cancelled_run_is_interrupted_and_waited_for(kind: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with executing(kind) as executor:
        assert await result(executor, ECHO[kind], 1) == 1
        running = asyncio.create_task(executor.run(*call(FOR_EVER[kind], str(mark))))
        await asyncio.sleep(0.05)
        if kind == "process":
            await until(lambda: lines(mark) == ["began"])
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert lines(mark)[-1] == "ended"
        assert await result(executor, ECHO[kind], 2) == 2
