"""One attempt of a task in a test: from its lease to what is recorded, on the worker's path."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from raftq.client.async_client import AsyncClient
from raftq.protocol.commands import EnqueuePart
from raftq.protocol.errors import Conflict, LeaseLost, UnknownTask
from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask
from raftq.protocol.replies import LeasedTask
from raftq.worker.app import App
from raftq.worker.context import Context
from raftq.worker.parts import in_parts
from raftq.worker.performing import aperform, perform
from raftq.worker.run import Run, terms
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
        self.invocation: Final = app.read(lease.payload, lease.queue)
        self.task: Final = self.invocation.task
        self.is_forced = False
        self._error: BaseException | None = None
        self._stored: bytes | None = None
        self._control: Final = _Control(Run.of(lease), self.invocation.timeout_ms)
        self._context: Final = Context(
            UUID(bytes=lease.task_id),
            self.task.name,
            lease.queue,
            lease.attempt,
            lease.token,
            self._control,
            self.invocation.headers,
            app,
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
        try:
            if self._control.progress is not None:
                lease = timedelta(milliseconds=self.lease.lease_ms)
                await client.extend(self.lease.token, lease, progress=self._control.progress)
            return self.recorded(await self._record(client))
        except LeaseLost:
            return self.recorded(None)

    async def _record(self, client: AsyncClient) -> TaskState:
        """Settle the lease; a follow-up that is refused is a failure of the run."""
        token = self.lease.token
        if self._error is None and self.invocation.is_check:
            if self.task.decode_result(self._stored):
                return await client.confirm(self.lease.task_id)
            return await client.cancel(self.lease.task_id)
        if self._error is None:
            try:
                parts = [(part.queue, part.tasks) for part in self._control.follow_ups]
                return await client.ack(token, self._stored, follow_ups=parts)
            except (Conflict, UnknownTask) as refusal:
                self._error = refusal
        delay_ms, is_final = terms(self._error)
        return await client.fail(
            token,
            RemoteError.of(self._error).text,
            delay=None if delay_ms is None else timedelta(milliseconds=delay_ms),
            is_final=is_final,
        )

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

    def __init__(self, run: Run, timeout_ms: int | None) -> None:
        self._run = run
        self.progress: bytes | None = None
        """What the run told last."""
        self._deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1_000

    @property
    def deadline(self) -> float | None:
        return self._deadline

    @property
    def is_lost(self) -> bool:
        return False

    @property
    def is_cancelled(self) -> bool:
        return False

    @property
    def follow_ups(self) -> list[EnqueuePart]:
        """What is to be enqueued with the ack."""
        return in_parts(self._run.follow_ups)

    def extend(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def tell(self, progress: bytes) -> None:
        self.progress = progress

    def follow_up(self, tasks: Sequence[tuple[str, NewTask]]) -> None:
        self._run.follow_up(tasks)
