"""Runs of the tasks in tests.support.worker_tasks on one executor, without a cluster."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from tests.support.worker_tasks import app

from raftq.worker.executors.crossing import Crossing
from raftq.worker.executors.loops import LoopExecutor
from raftq.worker.executors.processes import ChildOptions, ProcessExecutor
from raftq.worker.executors.threads import ThreadExecutor
from raftq.worker.run import Run
from raftq.worker.task import Invocation, Task

TARGET = "tests.support.worker_tasks:app"
TASK_ID = UUID("01a20cd2-2bb4-7edd-8c95-41046af9ae37")
GRACE = 0.3
KINDS: tuple[str, ...] = ("async", "thread", "process")


class Executor(Protocol):
    """What all executors have."""

    async def run(self, run: Run, invocation: Invocation) -> bytes | None:
        """Run a task."""
        ...


def call(
    task: Task[..., Any], *args: object, timeout_ms: int | None = None
) -> tuple[Run, Invocation]:
    """Return a run of a task."""
    run = Run(TASK_ID.bytes, "q", 77, 2, task.payload(args, {}, {}, timeout_ms))
    return run, app.read(run.payload)


async def result(executor: Executor, task: Task[..., Any], *args: object) -> Any:
    """Run a task and return its result."""
    return task.decode_result(await executor.run(*call(task, *args)))


@asynccontextmanager
async def executing(kind: str, size: int = 4, **options: Any) -> AsyncGenerator[Executor]:
    """Provide an executor of a kind."""
    here = Crossing(asyncio.get_running_loop())
    if kind == "async":
        async with LoopExecutor(here, GRACE) as executor:
            yield executor
    elif kind == "thread":
        threads = ThreadExecutor(here, size, GRACE)
        yield threads
        threads.close()
    else:
        async with processes(size, **options) as executor:
            yield executor


@asynccontextmanager
async def processes(size: int = 4, **options: Any) -> AsyncGenerator[ProcessExecutor]:
    """Provide an executor of child processes."""
    here = Crossing(asyncio.get_running_loop())
    async with ProcessExecutor(here, size, ChildOptions(TARGET, **options), GRACE) as executor:
        yield executor


def lines(path: Path) -> list[str]:
    """Return the marks that a task left."""
    return path.read_text().splitlines() if path.exists() else []
