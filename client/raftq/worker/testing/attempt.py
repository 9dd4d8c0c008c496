"""One attempt of a task in a test: from its lease to what is recorded, on the worker's path."""

import asyncio
import time
from typing import Final
from uuid import UUID

from raftq.client.async_client import AsyncClient
from raftq.protocol.errors import LeaseLost
from raftq.protocol.messages import LeasedTask, TaskState
from raftq.worker.app import App
from raftq.worker.context import Context
from raftq.worker.performing import aperform, perform
from raftq.worker.serialising.remote_error import RemoteError
from raftq.worker.testing.records import RunRecord

_FAILURES: Final = (Exception, SystemExit, asyncio.CancelledError)
"""What a worker records as a failure of the run."""


class Attempt:
    """A lease in the hands of the test's worker.

    Args:
        app: Whose task it is.
        lease: What was granted.

    Raises:
        InvalidRequest: The App cannot read it; the lease is still held.
    """

    def __init__(self, app: App, lease: LeasedTask) -> None:
        self.lease: Final = lease
        self.invocation: Final = app.read(lease.payload)
        self.task: Final = self.invocation.task
        self.is_forced = False
        self._error: BaseException | None = None
        self._stored: bytes | None = None
        self._context: Final = Context(
            UUID(bytes=lease.task_id),
            self.task.name,
            lease.queue,
            lease.attempt,
            lease.token,
            _Control(self.invocation.timeout_ms),
            self.invocation.headers,
        )

    def fail(self, error: BaseException) -> None:
        """Fail, without running the function."""
        self.is_forced = True
        self._error = error

    def run(self, runner: asyncio.Runner) -> None:
        """Run the function here; a coroutine on the runner's loop."""
        try:
            if self.task.is_async:
                self._stored = runner.run(aperform(self.invocation, self._context))
            else:
                self._stored = perform(self.invocation, self._context)
        except _FAILURES as error:
            self._error = error

    async def arun(self) -> None:
        """Run the function: a coroutine on this loop, any other in a thread, as workers do."""
        try:
            if self.task.is_async:
                self._stored = await aperform(self.invocation, self._context)
            else:
                self._stored = await asyncio.to_thread(perform, self.invocation, self._context)
        except _FAILURES as error:
            test = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and test is not None and test.cancelling():
                raise  # It is the test that is cancelled.
            self._error = error

    async def record(self, client: AsyncClient) -> RunRecord:
        """Tell the cluster how it ended."""
        token = self.lease.token
        try:
            if self._error is None:
                state = await client.ack(token, self._stored)
            else:
                state = await client.fail(token, RemoteError.of(self._error).text)
        except LeaseLost:
            return self.recorded(None)
        return self.recorded(state)

    def recorded(self, state: TaskState | None) -> RunRecord:
        """Return the record of the run, with the state in which it left the task."""
        return RunRecord(
            self._context.task_id,
            self.task,
            self.lease.attempt,
            state,
            self._error,
            self.is_forced,
            self._stored,
        )


class _Control:
    """The control of a run whose limit is told, but not enforced."""

    def __init__(self, timeout_ms: int | None) -> None:
        self._deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1_000

    @property
    def deadline(self) -> float | None:
        return self._deadline

    @property
    def is_lost(self) -> bool:
        return False

    def extend(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
