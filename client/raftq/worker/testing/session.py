"""`Testing`: what `app.testing()` returns."""

import asyncio
import logging
from datetime import datetime
from time import time_ns
from typing import Any, ClassVar, Final, Self, TypeAlias

from msgspec import structs

from raftq.client.async_client import AsyncClient
from raftq.client.blocking import Client
from raftq.client.durations import Duration, milliseconds
from raftq.client.keywords.naming import did_you_mean
from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import LeasedTask
from raftq.worker import envelope
from raftq.worker.app import App
from raftq.worker.connections import ClusterAccess
from raftq.worker.context import current
from raftq.worker.errors import NotRunning
from raftq.worker.parents import with_results
from raftq.worker.task import Task
from raftq.worker.testing.access import Clock, MemoryAccess, MemoryCluster, open_cluster
from raftq.worker.testing.attempt import Attempt
from raftq.worker.testing.records import EnqueuedCall, RunRecord

_log = logging.getLogger(__name__)
_WORKER: Final = "testing"
_ALIVE_SECONDS: Final = limits.LEASE_MS_MAX / 1_000
"""The lease of a run: a worker that lives keeps its lease, whatever the test does to the clock."""
_DYING_SECONDS: Final = limits.LEASE_MS_DEFAULT / 1_000
RUNS_MAX: Final = 10_000
"""Runs of one `run_pending`, so that tasks which enqueue each other come to an end."""
TaskOrName: TypeAlias = Task[..., Any] | str


class Testing:
    """An App on a cluster in memory, whose worker and clock the test drives.

    Use it in `with` or `async with`. Inside, everything that goes through the App reaches the
    cluster in memory, on whatever thread or loop; nothing touches the network. Nothing happens by
    itself: tasks run when `run_one` or `run_pending` is called, time passes with `advance`.

    Args:
        app: What is tested.
        start: Wall time at first, with a time zone; the real one by default.

    Raises:
        InvalidRequest: `start` has no time zone.
    """

    __test__: ClassVar = False  # The name begins as those of test classes do: no pytest takes it.

    def __init__(self, app: App, start: datetime | None = None) -> None:
        if start is not None and start.tzinfo is None:
            raise InvalidRequest(f"start is {start}; it needs a time zone, like tzinfo=UTC")
        start_ms = time_ns() // 1_000_000 if start is None else int(start.timestamp() * 1_000)
        self.app: Final = app
        self._cluster: Final[MemoryCluster] = open_cluster(start_ms)
        self._access: Final = MemoryAccess(self._cluster)
        self._live: ClusterAccess | None = None
        """What the App had before; None while the test does not run."""
        self._runner: asyncio.Runner | None = None
        self._failures: list[tuple[str | None, BaseException]] = []

    # ------------------------------------------------------------ beginning and end

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end()
        if self._runner is not None:
            self._runner.close()
        self._access.close()

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._end()
        if self._runner is not None:
            await asyncio.to_thread(self._runner.close)
        await self._access.aclose()

    def _begin(self) -> None:
        if self._live is not None or not self.app.access.is_live:
            raise InvalidRequest("this App is in testing mode already; a test begins it once")
        if is_in_worker():
            raise InvalidRequest("a task of a worker runs here; testing mode is for tests")
        self._live, self.app.access = self.app.access, self._access

    def _end(self) -> None:
        if self._live is not None:
            self.app.access, self._live = self._live, None

    def _check_running(self) -> None:
        if self._live is None:
            raise InvalidRequest("the test mode is over, or has not begun: use it in `with`")

    # ------------------------------------------------------------ time

    @property
    def clock(self) -> Clock:
        """The cluster's time: `clock.now` and `clock.elapsed`."""
        return self._cluster.clock

    def advance(self, duration: Duration) -> None:
        """Let time pass: delayed tasks become ready, leases run out, outcomes are forgotten.

        Each thing happens at its own instant on the way. No task is run.
        """
        self._check_running()
        self._cluster.advance(milliseconds(duration))

    # ------------------------------------------------------------ running

    def run_one(self, *, queue: str | None = None) -> RunRecord | None:
        """Run the next task that is due, here, and return what came of it; None if none is due.

        Arguments and results pass through the same bytes as with a worker. An exception of the
        function is recorded, and does not reach the test.

        Args:
            queue: Only a task of this one.

        Raises:
            InvalidRequest: The App cannot read the task, or it is `async def` and a loop runs here
                (use `arun_one`).
        """
        lease = self._access.run(lambda client: self._take(client, queue, _ALIVE_SECONDS))
        return None if lease is None else self._run(lease)

    async def arun_one(self, *, queue: str | None = None) -> RunRecord | None:
        """Do what `run_one` does: an `async def` on this loop, others in a thread."""
        lease = await self._take(await self._access.client(), queue, _ALIVE_SECONDS)
        return None if lease is None else await self._arun(lease)

    def run_pending(self, *, queue: str | None = None, fail_fast: bool = True) -> list[RunRecord]:
        """Run tasks until none is due, also those that these enqueue, and attempts that follow.

        Args:
            queue: Only tasks of this one.
            fail_fast: Raise the exception of a task that is dead by it, as long as it was not made
                to fail by `fail_next`.

        Raises:
            InvalidRequest: See `run_one`; or the tasks come to no end.
        """
        runs = _Runs(fail_fast)
        while (record := self.run_one(queue=queue)) is not None:
            runs.add(record)
        return runs.records

    async def arun_pending(
        self, *, queue: str | None = None, fail_fast: bool = True
    ) -> list[RunRecord]:
        """Do what `run_pending` does: each `async def` on this loop, others in a thread."""
        runs = _Runs(fail_fast)
        while (record := await self.arun_one(queue=queue)) is not None:
            runs.add(record)
        return runs.records

    def fail_next(
        self, error: BaseException | type[BaseException], *, task: TaskOrName | None = None
    ) -> None:
        """Have the next run raise this instead of calling the function; may be repeated.

        Args:
            error: What is raised.
            task: Only a run of this one.
        """
        made = error() if isinstance(error, type) else error
        self._failures.append((None if task is None else self._name(task), made))

    def kill_worker(self, *, queue: str | None = None, after_run: bool = False) -> RunRecord:
        """Have a worker take the next task that is due and die; return when its lease ran out.

        The clock goes on by the lease. A crash is counted, and the task is ready again, unless it
        crashed too often.

        Args:
            queue: Only a task of this one.
            after_run: Whether the function is run to its end before, and only its outcome is lost.

        Raises:
            InvalidRequest: No task is due.
        """
        lease = self._access.run(lambda client: self._take(client, queue, _DYING_SECONDS))
        attempt = self._victim(lease)
        if after_run:
            self._perform(attempt)
        self._cluster.advance(attempt.lease.lease_ms)
        return self._access.run(lambda client: self._after_death(client, attempt))

    async def akill_worker(self, *, queue: str | None = None, after_run: bool = False) -> RunRecord:
        """Do what `kill_worker` does."""
        client = await self._access.client()
        attempt = self._victim(await self._take(client, queue, _DYING_SECONDS))
        if after_run:
            await attempt.arun()
        self._cluster.advance(attempt.lease.lease_ms)
        return await self._after_death(client, attempt)

    # ------------------------------------------------------------ looking

    def enqueued(self, task: TaskOrName | None = None) -> list[EnqueuedCall]:
        """Return what was enqueued so far, in order, whatever became of it since.

        Args:
            task: Only calls of this one.

        Raises:
            InvalidRequest: There is no such task, or something else than the App enqueued.
        """
        name = None if task is None else self._name(task)
        calls = [
            EnqueuedCall.of(queue, new, self.app.read(new.payload))
            for queue, new in self._cluster.enqueued
        ]
        return [call for call in calls if name is None or call.name == name]

    def client(self) -> Client:
        """Return a blocking client of the cluster in memory; the caller closes it."""
        return self._cluster.client()

    def async_client(self) -> AsyncClient:
        """Return an asyncio client of the cluster in memory; the caller closes it."""
        return self._cluster.async_client()

    # ------------------------------------------------------------ one run

    async def _take(
        self, client: AsyncClient, queue: str | None, lease_seconds: float
    ) -> LeasedTask | None:
        self._check_running()
        ready = [each for each in self._cluster.ready_queues() if queue in (None, each)]
        if not ready:
            return None
        leases = await client.lease(
            ready[: limits.QUEUES_PER_LEASE_MAX], worker=_WORKER, lease=lease_seconds
        )
        return await self._with_results(client, leases[0]) if leases else None

    async def _with_results(self, client: AsyncClient, lease: LeasedTask) -> LeasedTask:
        """Return a lease with the results that its task takes from those before it."""
        try:
            packed = envelope.unpack(lease.payload)
            if packed.extras.takes is None:
                return lease
            serializer = self.app.named(packed.name).serializer
        except InvalidRequest:
            return lease  # Whoever reads it will say so.
        packed = await with_results(client, lease.task_id, packed, serializer)
        return structs.replace(lease, payload=envelope.packed(packed))

    def _run(self, lease: LeasedTask) -> RunRecord:
        try:
            attempt = self._attempt(lease)
            if not attempt.is_forced:
                self._perform(attempt)
        except BaseException:  # Not the task's doing, but a mistake or the end of the test.
            self._access.run(lambda client: client.requeue(lease.token))
            raise
        return self._access.run(attempt.record)

    async def _arun(self, lease: LeasedTask) -> RunRecord:
        client = await self._access.client()
        try:
            attempt = self._attempt(lease)
            if not attempt.is_forced:
                await attempt.arun()
        except BaseException:
            await client.requeue(lease.token)
            raise
        return await attempt.record(client)

    def _attempt(self, lease: LeasedTask) -> Attempt:
        """Return the attempt that a lease is for, failed already if a test wants that."""
        attempt = Attempt(self.app, lease)
        for index, (name, error) in enumerate(self._failures):
            if name in (None, attempt.task.name):
                del self._failures[index]
                attempt.fail(error)
                break
        return attempt

    def _perform(self, attempt: Attempt) -> None:
        if self._runner is None:
            self._runner = asyncio.Runner()
        if attempt.task.is_async and is_loop_running():
            raise InvalidRequest(
                f"task {attempt.task.name!r} is async def and a loop runs here: "
                "await arun_one, arun_pending or akill_worker"
            )
        attempt.run(self._runner)

    def _victim(self, lease: LeasedTask | None) -> Attempt:
        if lease is None:
            raise InvalidRequest("no task is due, so no worker has one that could be lost")
        attempt = Attempt(self.app, lease)
        attempt.is_forced = True
        return attempt

    async def _after_death(self, client: AsyncClient, attempt: Attempt) -> RunRecord:
        return attempt.recorded((await client.task(attempt.lease.task_id)).state)

    def _name(self, task: TaskOrName) -> str:
        name = task if isinstance(task, str) else task.name
        if name not in self.app.tasks:
            near = did_you_mean(name, self.app.tasks)
            raise InvalidRequest(f"this App has no task {name!r}{near}")
        return name


class _Runs:
    """What a `run_pending` has done so far."""

    def __init__(self, fail_fast: bool) -> None:
        self._fail_fast = fail_fast
        self.records: list[RunRecord] = []

    def add(self, record: RunRecord) -> None:
        """Take note of a run; raise what must not go unseen."""
        self.records.append(record)
        if record.error is not None:
            _log.warning(
                "run_failed",
                extra={"task": record.name, "attempt": record.attempt, "state": record.state},
                exc_info=record.error,
            )
            if self._fail_fast and record.state is TaskState.DEAD and not record.is_forced:
                raise record.error
        if len(self.records) >= RUNS_MAX:
            raise InvalidRequest(
                f"{RUNS_MAX} tasks ran and there are more: do they enqueue each other for ever? "
                "run_one runs them one by one"
            )


def is_in_worker() -> bool:
    """Tell whether this code is part of a task's run."""
    try:
        current()
    except NotRunning:
        return False
    return True


def is_loop_running() -> bool:
    """Tell whether an event loop runs on this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
