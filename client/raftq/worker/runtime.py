"""An App's tasks on a worker loop: which executor runs what, and what becomes of strangers."""

import asyncio
import logging
from typing import Final, NoReturn

from raftq.client.async_client import AsyncClient
from raftq.protocol.errors import Conflict, UnavailableError
from raftq.worker import envelope
from raftq.worker.app import App
from raftq.worker.endings import GiveBack, LeaseOver
from raftq.worker.errors import RunFailed, UnknownTaskName
from raftq.worker.executors.crossing import Crossing
from raftq.worker.executors.loops import LoopExecutor
from raftq.worker.executors.processes import ChildOptions, ProcessExecutor
from raftq.worker.executors.threads import ThreadExecutor
from raftq.worker.executors.watch import failed
from raftq.worker.loop import Worker
from raftq.worker.parents import with_results
from raftq.worker.run import Run
from raftq.worker.supervision.settings import QueuePlan, Settings
from raftq.worker.task import Invocation

_log = logging.getLogger(__name__)

UNKNOWN_TASK_DELAY_SECONDS: Final = 10.0
"""How long a task is put off that this App does not have. During a deploy a newer worker has it."""


class Runtime:
    """One worker process's share of the work. Make and use it on a running loop.

    Args:
        app: Whose tasks.
        client: Of the App's cluster; the caller closes it.
        settings: Of the process.
        plan: What is leased from.

    Raises:
        InvalidRequest: The settings cannot work.
    """

    def __init__(self, app: App, client: AsyncClient, settings: Settings, plan: QueuePlan) -> None:
        self._app = app
        self._client = client
        here = Crossing(asyncio.get_running_loop())
        options = ChildOptions(
            settings.target,
            settings.tasks_max,
            settings.memory_max_bytes,
            settings.log_level,
            settings.log_style,
        )
        self._loops = LoopExecutor(here, close=app.aclose)
        self._threads = ThreadExecutor(here, settings.threads_max)
        self._processes = ProcessExecutor(here, settings.children_max, options)
        self.worker: Final = Worker(
            client,
            plan.queues,
            self._run,
            concurrency=settings.concurrency,
            queue_limits=plan.queue_limits,
            prefetch=settings.prefetch,
            lease=settings.lease_seconds,
            drain_timeout=settings.drain_seconds,
        )

    async def run(self) -> None:
        """Run tasks until the worker is stopped; see `Worker.run`."""
        async with self._loops, self._processes:
            try:
                await self.worker.run()
            finally:
                self._threads.close()
                await asyncio.to_thread(self._app.close)

    async def _run(self, run: Run) -> bytes | None:
        """Run one task where it is to run."""
        try:
            invocation = await self._read(run)
        except UnknownTaskName as error:
            raise GiveBack(str(error), UNKNOWN_TASK_DELAY_SECONDS) from None
        except UnavailableError as error:
            raise GiveBack(f"the results of its parents cannot be read: {error}") from None
        except Exception as error:
            raise failed(error) from None
        try:
            result = await self._execute(run, invocation)
        except RunFailed as error:
            if error.delay_ms is None and not invocation.has_backoff:
                error.delay_ms = self._app.pause_ms(run.attempt)
            raise
        if invocation.is_check:
            await self._decide(run, invocation, result)
        return result

    async def _read(self, run: Run) -> Invocation:
        """Return what a run is of, with the results that it takes."""
        packed = envelope.unpack(run.payload)
        if packed.extras.takes is not None:
            serializer = self._app.named(packed.name).serializer
            packed = await with_results(self._client, run.task_id, packed, serializer)
            run.payload = envelope.packed(packed)  # A child process reads it again.
        return self._app.read_packed(packed, run.queue)

    async def _execute(self, run: Run, invocation: Invocation) -> bytes | None:
        match invocation.task.execution:
            case "async":
                return await self._loops.run(run, invocation)
            case "thread":
                return await self._threads.run(run, invocation)
            case "process":
                return await self._processes.run(run, invocation)

    async def _decide(self, run: Run, invocation: Invocation, result: bytes | None) -> NoReturn:
        """Confirm or cancel a prepared task, as its check said; that ends the lease.

        Raises:
            LeaseOver: It is decided.
            RunFailed: It is not, so that the check will be made again.
        """
        try:
            if invocation.task.decode_result(result):
                await self._client.confirm(run.task_id)
            else:
                await self._client.cancel(run.task_id)
        except Conflict as error:
            _log.info("decided_meanwhile", extra={**run.facts, "error": str(error)})
        except Exception as error:
            raise failed(error) from None
        raise LeaseOver
