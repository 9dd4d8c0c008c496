"""An App's tasks as the handler of a plain worker loop."""

import asyncio
from typing import TYPE_CHECKING, Final
from uuid import UUID

from raftq.worker.context import Context
from raftq.worker.errors import RunFailed
from raftq.worker.performing import aperform, perform
from raftq.worker.run import Run
from raftq.worker.serialising.remote_error import RemoteError

if TYPE_CHECKING:
    from raftq.worker.app import App


class AppHandler:
    """Runs `async def` on the loop and `def` in a thread; a run is as long as it is.

    `run_worker(addresses, queues, app.handler())` is a worker in a few lines of your own; it knows
    no processes and no run limits.

    Args:
        app: Whose tasks.
    """

    def __init__(self, app: "App") -> None:
        self._app: Final = app

    async def __call__(self, run: Run) -> bytes | None:
        """Run a task and return its result; an exception is recorded with its traceback."""
        try:
            invocation = self._app.read(run.payload)
            context = Context(
                UUID(bytes=run.task_id),
                invocation.task.name,
                run.queue,
                run.attempt,
                run.token,
                _Unlimited(run),
                invocation.headers,
            )
            if invocation.task.is_async:
                return await aperform(invocation, context)
            return await asyncio.to_thread(perform, invocation, context)
        except Exception as error:
            raise RunFailed(RemoteError.of(error).text) from error


class _Unlimited:
    """The control of a run without a limit."""

    def __init__(self, run: Run) -> None:
        self._run: Final = run

    @property
    def deadline(self) -> float | None:
        return None

    @property
    def is_lost(self) -> bool:
        return self._run.lost.is_set()

    def extend(self, seconds: float) -> None:
        del seconds  # There is no limit to move.
