"""The run loop of one worker process.

A task is leased only when a slot is free; every lease is extended while its handler runs; a
handler whose lease was lost is cancelled; a stopping worker finishes what it can and gives the
rest back, which burns no attempt. Leader changes need no care here: the client hides them.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from raftq.client.async_client import AsyncClient
from raftq.client.durations import Duration, seconds
from raftq.protocol import limits
from raftq.protocol.errors import RaftqError
from raftq.protocol.messages import (
    AckItem,
    ExtendItem,
    FailItem,
    LeasedTask,
    RequeueItem,
)
from raftq.worker.settling import Settling

_log = logging.getLogger(__name__)

_EXTENDS_PER_LEASE: Final = 3
_WAIT_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.5


@dataclass(slots=True, eq=False)
class Run:
    """One run of a task, as its handler sees it.

    `token` is the fencing token: hand it to stores that can refuse a smaller one.
    """

    task_id: bytes
    queue: str
    token: int
    attempt: int
    payload: bytes
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the lease was lost: whatever the handler still does will not be recorded."""


Handler: TypeAlias = Callable[[Run], Awaitable[bytes | None]]
"""Runs a task and returns its result; an exception is a failure."""


class Worker:
    """Runs tasks until it is stopped.

    Args:
        client: A client of the cluster; the caller closes it.
        queues: One queue or several, tried in this order.
        handler: Runs one task.
        concurrency: Tasks that run at a time.
        lease: How long a task is this worker's between two extensions.
        drain_timeout: How long `stop` lets running handlers finish.
        name: Of this worker; must be unique in the cluster.
    """

    def __init__(
        self,
        client: AsyncClient,
        queues: str | Sequence[str],
        handler: Handler,
        *,
        concurrency: int = 16,
        lease: Duration = limits.LEASE_MS_DEFAULT / 1_000,
        drain_timeout: Duration = 10.0,
        name: str | None = None,
    ) -> None:
        self._client = client
        self._queues = [queues] if isinstance(queues, str) else list(queues)
        self._handler = handler
        self._concurrency = concurrency
        self._lease_seconds = seconds(lease)
        self._drain_seconds = seconds(drain_timeout)
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"
        self._runs: dict[asyncio.Task[None], Run] = {}
        self._slot_is_free = asyncio.Event()
        self._stopping = asyncio.Event()
        self._abandoning = asyncio.Event()
        self._acks: Settling[AckItem] = Settling(client.ack_many, self._on_refused)
        self._fails: Settling[FailItem] = Settling(client.fail_many, self._on_refused)
        self.runs_total = 0
        self.failures_total = 0
        self.lost_total = 0

    def stop(self) -> None:
        """Lease no more; finish what runs. A second call gives everything back at once."""
        if self._stopping.is_set():
            self._abandoning.set()
        self._stopping.set()

    async def run(self) -> None:
        """Run tasks until `stop` was called and everything is settled or given back."""
        extender = asyncio.create_task(self._extend_for_ever())
        try:
            await self._lease_until_stopped()
            await self._finish()
        finally:
            extender.cancel()
            await asyncio.gather(extender, return_exceptions=True)

    # ------------------------------------------------------------ leasing

    async def _lease_until_stopped(self) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                free = self._concurrency - len(self._runs)
                if free <= 0:
                    self._slot_is_free.clear()
                    await self._first(stopping, self._slot_is_free.wait())
                    continue
                await self._first(stopping, self._lease(free))
        finally:
            stopping.cancel()

    async def _first(self, stopping: "asyncio.Task[bool]", work: Awaitable[object]) -> None:
        """Await work, but give it up when the worker is told to stop."""
        task = asyncio.ensure_future(work)
        await asyncio.wait([stopping, task], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    async def _lease(self, free: int) -> None:
        """Wait for tasks and start them; a cluster in trouble is asked again after a pause."""
        try:
            leases = await self._client.lease(
                self._queues,
                worker=self.name,
                count=min(free, limits.LEASES_PER_CALL_MAX),
                lease=self._lease_seconds,
                wait=_WAIT_SECONDS,
            )
        except RaftqError as error:
            _log.warning("lease_failed", extra={"error": str(error)})
            await asyncio.sleep(_PAUSE_SECONDS)
            return
        for lease in leases:
            self._start(lease)

    def _start(self, lease: LeasedTask) -> None:
        run = Run(lease.task_id, lease.queue, lease.token, lease.attempt, lease.payload)
        task = asyncio.create_task(self._handle(run))
        self._runs[task] = run
        task.add_done_callback(self._on_ended)

    def _on_ended(self, task: "asyncio.Task[None]") -> None:
        del self._runs[task]
        self._slot_is_free.set()

    # ------------------------------------------------------------ running

    async def _handle(self, run: Run) -> None:
        self.runs_total += 1
        try:
            result = await self._handler(run)
        except asyncio.CancelledError:
            return  # Lost, or given back by `_finish`.
        except Exception as error:
            self.failures_total += 1
            text = f"{type(error).__name__}: {error}"[: limits.ERROR_TEXT_CHARACTERS_MAX]
            self._fails.add(FailItem(run.token, text))
        else:
            self._acks.add(AckItem(run.token, result))

    def _on_refused(self, item: AckItem | FailItem, code: str) -> None:
        self.lost_total += 1
        _log.warning("outcome_refused", extra={"token": item.token, "code": code})

    async def _extend_for_ever(self) -> None:
        """Prolong all leases with one call, three times in the life of each."""
        while True:
            await asyncio.sleep(self._lease_seconds / _EXTENDS_PER_LEASE)
            runs = dict(self._runs)
            lease_ms = int(self._lease_seconds * 1_000)
            try:
                outcomes = await self._client.extend_many(
                    [ExtendItem(run.token, lease_ms) for run in runs.values()],
                    timeout=self._lease_seconds / _EXTENDS_PER_LEASE,
                )
            except RaftqError as error:
                _log.warning("extend_failed", extra={"error": str(error)})
                continue
            for (task, run), outcome in zip(runs.items(), outcomes, strict=True):
                if outcome.error_code and task in self._runs:
                    self.lost_total += 1
                    run.lost.set()
                    task.cancel()

    # ------------------------------------------------------------ stopping

    async def _finish(self) -> None:
        """Let handlers finish for a while, give back what is left, settle the rest."""
        if self._runs:
            abandoning = asyncio.create_task(self._abandoning.wait())
            await asyncio.wait(
                [abandoning, asyncio.create_task(_all(self._runs))],
                timeout=self._drain_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            abandoning.cancel()
        left = dict(self._runs)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._acks.drain()
        await self._fails.drain()
        if left:
            try:
                await self._client.requeue_many([RequeueItem(run.token) for run in left.values()])
            except RaftqError as error:
                _log.error("give_back_failed", extra={"error": str(error)})


async def _all(tasks: Iterable["asyncio.Task[None]"]) -> bool:
    """Wait until all tasks have ended, whatever became of them."""
    await asyncio.gather(*tasks, return_exceptions=True)
    return True


async def run_worker(
    addresses: str | Sequence[str],
    queues: str | Sequence[str],
    handler: Handler,
    *,
    concurrency: int = 16,
    lease: Duration = limits.LEASE_MS_DEFAULT / 1_000,
    drain_timeout: Duration = 10.0,
    name: str | None = None,
) -> None:
    """Run a worker until SIGTERM or SIGINT; the second signal gives everything back at once.

    The arguments are those of `Worker`, with addresses in the place of a client.
    """
    async with AsyncClient(addresses, name="worker") as client:
        worker = Worker(
            client,
            queues,
            handler,
            concurrency=concurrency,
            lease=lease,
            drain_timeout=drain_timeout,
            name=name,
        )
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, worker.stop)
        try:
            await worker.run()
        finally:
            for signal_number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(signal_number)
