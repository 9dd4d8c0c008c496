"""Child processes: replaced in time, and their deaths told from failures."""

import asyncio
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support import worker_tasks as tasks
from tests.support.asyncs import asynchronous, until
from tests.unit.worker.executors.bench import call, lines, processes, result

from raftq.worker.endings import GiveBack, RunCrashed
from raftq.worker.errors import RunFailed
from raftq.worker.executors.crossing import Crossing
from raftq.worker.executors.processes import ChildOptions, ProcessExecutor
from raftq.worker.task import Task


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@asynchronous
async def test_a_child_runs_task_after_task() -> None:
    async with processes(1) as executor:
        pids = [await result(executor, tasks.pid) for _ in range(5)]
        assert len(set(pids)) == 1 and pids[0] != os.getpid()
        assert executor.started_total == 1
    assert not is_alive(pids[0]), "closing ends it"


@asynchronous
async def test_no_more_children_run_than_there_may_be() -> None:
    async with processes(2) as executor:
        await asyncio.gather(*(result(executor, tasks.pid) for _ in range(12)))
        assert executor.started_total == 2


@asynchronous
async def test_a_child_is_replaced_after_its_number_of_tasks() -> None:
    async with processes(1, tasks_max=2) as executor:
        pids = [await result(executor, tasks.pid) for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    assert not any(is_alive(pid) for pid in pids)


@asynchronous
async def test_a_child_that_took_too_much_memory_is_replaced_when_its_run_has_ended() -> None:
    async with processes(1, memory_max_bytes=200 << 20) as executor:
        first = await result(executor, tasks.grow, 1)
        assert await result(executor, tasks.grow, 300) == first, "the run itself ends well"
        assert await result(executor, tasks.pid) != first


@pytest.mark.parametrize(
    ("task", "args", "reason"),
    [
        (tasks.exit_at_once, (3,), r"child process \d+ ended with code 3"),
        (tasks.exit_at_once, (0,), r"child process \d+ ended with code 0"),
        (tasks.kill_itself, (), r"child process \d+ was ended by SIGKILL; did it run out of mem"),
        (tasks.kill_itself_and_leave_a_child, (), r"child process \d+ was ended by SIGKILL"),
    ],
)
@asynchronous
async def test_a_child_that_dies_is_a_crash_and_the_next_run_gets_another(
    task: Task[..., Any], args: tuple[object, ...], reason: str
) -> None:
    async with processes(1) as executor:
        await result(executor, tasks.pid)
        began = time.monotonic()
        with pytest.raises(RunCrashed) as caught:
            await executor.run(*call(task, *args))
        assert time.monotonic() - began < 10, "what it has forked is not waited for"
        assert re.match(reason, str(caught.value))
        assert await result(executor, tasks.echo_in_process, 1) == 1


@asynchronous
async def test_sys_exit_in_a_child_is_a_failure_like_others() -> None:
    async with processes(1) as executor:
        before = await result(executor, tasks.pid)
        with pytest.raises(RunFailed, match="SystemExit: 3"):
            await executor.run(*call(tasks.leave_politely))
        assert await result(executor, tasks.pid) == before


@asynchronous
async def test_a_child_that_dies_while_it_has_nothing_to_do_harms_nobody() -> None:
    async with processes(1) as executor:
        pid = await result(executor, tasks.pid)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not is_alive(pid))
        await asyncio.sleep(0.5)  # Its end is noticed a moment after it.
        assert await result(executor, tasks.pid) != pid


@asynchronous
async def test_signals_of_others_end_no_run(tmp_path: Path) -> None:
    """What stops a whole group of processes means the worker, which lets runs end."""
    mark = tmp_path / "mark"
    async with processes(1) as executor:
        pid = await result(executor, tasks.pid)
        run = asyncio.create_task(result(executor, tasks.sleep_in_process, 0.5, str(mark)))
        await until(lambda: lines(mark))
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, number)
        assert await run is None
        assert await result(executor, tasks.pid) == pid


@asynchronous
async def test_a_child_whose_app_cannot_be_imported_gives_the_run_back() -> None:
    here = Crossing(asyncio.get_running_loop())
    async with ProcessExecutor(here, 1, ChildOptions("tests.support.no_such:app")) as executor:
        with pytest.raises(GiveBack, match="no child process can be started: child") as caught:
            await executor.run(*call(tasks.pid))
        assert caught.value.is_over


@asynchronous
async def test_large_arguments_and_results_pass() -> None:
    async with processes(1) as executor:
        payload = "x" * 900_000
        with pytest.raises(RunFailed, match="ValueError: xxx"):
            await executor.run(*call(tasks.fail_in_process, payload))
