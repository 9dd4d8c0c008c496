"""The run loop of one worker process.

A task is leased only when a slot is free; every lease is extended until its outcome is recorded; a
handler whose lease was lost is cancelled; a stopping worker finishes what it can and gives the
rest back, which burns no attempt. Leader changes need no care here: the client hides them.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from raftq.client.async_client import AsyncClient
from raftq.client.durations import Duration, seconds
from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest, RaftqError, RequestError
from raftq.protocol.messages import AckItem, ExtendItem, FailItem, RequeueItem
from raftq.worker.run import Handler, Held, Run, failure, success
from raftq.worker.settling import Settling

_log = logging.getLogger(__name__)

_EXTENDS_PER_LEASE: Final = 3
_WAIT_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.5
_CANCEL_SECONDS: Final = 2.0
"""How long cancelled handlers may clean up before their leases are given back all the same."""
_SETTLE_SECONDS: Final = 5.0
"""How long a stopping worker tries to record outcomes, and then to give leases back."""


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

    Raises:
        InvalidRequest: An argument is out of range.
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
        if not 1 <= concurrency <= limits.SETTLEMENTS_PER_CALL_MAX:
            raise InvalidRequest(
                f"concurrency is {concurrency}; allowed is 1 to {limits.SETTLEMENTS_PER_CALL_MAX}"
            )
        self._client = client
        self._queues = [queues] if isinstance(queues, str) else list(queues)
        self._handler = handler
        self._concurrency = concurrency
        self._lease_seconds = seconds(lease)
        self._drain_seconds = seconds(drain_timeout)
        # Process ids repeat: in containers every worker may be process 1 of the same host name.
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._request_id: str | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._held: dict[int, Held] = {}
        self._slot_is_free = asyncio.Event()
        self._stopping = asyncio.Event()
        self._abandoning = asyncio.Event()
        self._is_giving_back = False
        self._acks: Settling[AckItem] = Settling(
            client.ack_many, lambda item: len(item.result or b""), self._on_settled
        )
        self._fails: Settling[FailItem] = Settling(
            client.fail_many, lambda item: 4 * len(item.error), self._on_settled
        )
        self.runs_total = 0
        self.failures_total = 0
        self.lost_total = 0

    def stop(self) -> None:
        """Lease no more; finish what runs. A second call gives everything back at once."""
        if self._stopping.is_set():
            self._abandoning.set()
        self._stopping.set()

    async def run(self) -> None:
        """Run tasks until `stop` was called and everything is settled or given back.

        A cancelled `run` gives everything back at once.

        Raises:
            RequestError: The cluster refuses what this worker asks for, like a bad queue name.
        """
        leaser = asyncio.create_task(self._lease_until_stopped())
        extender = asyncio.create_task(self._extend_for_ever())
        try:
            await asyncio.wait([leaser, extender], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._abandoning.set()
            raise
        finally:
            self._stopping.set()
            await asyncio.wait([leaser])
            await self._finish()
            extender.cancel()
            await asyncio.wait([extender])
            for task in (leaser, extender):
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error

    # ------------------------------------------------------------ leasing

    async def _lease_until_stopped(self) -> None:
        while not self._stopping.is_set():
            free = self._concurrency - len(self._running)
            if free <= 0:
                self._slot_is_free.clear()
                await self._unless_stopped(self._wait_for_slot())
            else:
                await self._unless_stopped(self._lease(free))

    async def _wait_for_slot(self) -> None:
        await self._slot_is_free.wait()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Await work, but cancel it when the worker is told to stop."""
        task = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stopping, task], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        task.cancel()  # A lease call gives back what it was granted before it ends.
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    async def _lease(self, free: int) -> None:
        """Wait for tasks and start them; a cluster in trouble is asked again after a pause.

        After a failed call the same request is repeated, which returns the leases that it may
        have been granted.
        """
        if self._request_id is None:
            self._request_id = self._client.new_id().hex()
        try:
            leases = await self._client.lease(
                self._queues,
                worker=self.name,
                count=min(free, limits.LEASES_PER_CALL_MAX),
                lease=self._lease_seconds,
                wait=_WAIT_SECONDS,
                request_id=self._request_id,
            )
        except RequestError:
            raise  # It will never be granted; to ask again and again would only hide it.
        except RaftqError as error:
            _log.warning("lease_failed", extra={"error": str(error)})
            await asyncio.sleep(_PAUSE_SECONDS)
            return
        self._request_id = None
        for lease in leases:
            self._start(Run.of(lease))

    def _start(self, run: Run) -> None:
        if run.token in self._held:
            return  # A repeated request returned a lease that runs here already.
        task = asyncio.create_task(self._handle(run))
        self._held[run.token] = Held(run, task)
        self._running.add(task)
        task.add_done_callback(self._on_ended)

    def _on_ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._slot_is_free.set()

    # ------------------------------------------------------------ running

    async def _handle(self, run: Run) -> None:
        """Run a handler and queue its outcome, unless the lease is lost or being given back."""
        self.runs_total += 1
        try:
            outcome = success(run, await self._handler(run))
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if self._is_giving_back:
                return  # Cut short by this worker: given back, not failed.
            outcome = failure(run, error)
        held = self._held.get(run.token)
        if held is None:
            return
        held.is_over = True
        if isinstance(outcome, AckItem):
            self._acks.add(outcome)
        else:
            self.failures_total += 1
            self._fails.add(outcome)

    def _on_settled(self, item: AckItem | FailItem, code: str) -> None:
        self._held.pop(item.token, None)
        if code:
            self.lost_total += 1
            _log.warning("outcome_refused", extra={"token": item.token, "code": code})

    async def _extend_for_ever(self) -> None:
        """Prolong all leases with one call, three times in the life of each."""
        pause = self._lease_seconds / _EXTENDS_PER_LEASE
        lease_ms = int(self._lease_seconds * 1_000)
        while True:
            await asyncio.sleep(pause)
            held = list(self._held.values())
            items = [ExtendItem(each.run.token, lease_ms) for each in held]
            try:
                outcomes = await self._client.extend_many(items, timeout=pause)
            except RaftqError as error:
                _log.warning("extend_failed", extra={"error": str(error)})
                continue
            for each, outcome in zip(held, outcomes, strict=True):
                if outcome.error_code and not each.is_over:
                    self._lose(each)

    def _lose(self, held: Held) -> None:
        if self._held.pop(held.run.token, None) is None:
            return
        self.lost_total += 1
        _log.warning("lease_lost", extra={"token": held.run.token})
        held.run.lost.set()
        held.task.cancel()

    # ------------------------------------------------------------ stopping

    async def _finish(self) -> None:
        """Let handlers finish for a while, record outcomes, give back what is left."""
        await self._let_handlers_finish()
        self._is_giving_back = True
        for task in self._running:
            task.cancel()
        if self._running:
            _, stubborn = await asyncio.wait(self._running, timeout=_CANCEL_SECONDS)
            if stubborn:
                _log.error("handlers_ignore_cancellation", extra={"handlers": len(stubborn)})
        await asyncio.gather(self._acks.drain(_SETTLE_SECONDS), self._fails.drain(_SETTLE_SECONDS))
        items = [RequeueItem(token) for token in self._held]
        self._held.clear()
        try:
            await self._client.requeue_many(items, timeout=_SETTLE_SECONDS)
        except RaftqError as error:
            _log.error("give_back_failed", extra={"leases": len(items), "error": str(error)})

    async def _let_handlers_finish(self) -> None:
        if not self._running:
            return
        abandoning = asyncio.create_task(self._abandoning.wait())
        ended = asyncio.create_task(_wait_for(set(self._running)))
        await asyncio.wait(
            [abandoning, ended],
            timeout=self._drain_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        abandoning.cancel()
        ended.cancel()


async def _wait_for(tasks: "set[asyncio.Task[None]]") -> None:
    await asyncio.wait(tasks)


async def run_worker(
    addresses: str | Sequence[str],
    queues: str | Sequence[str],
    handler: Handler,
    *,
    concurrency: int = 16,
    lease: Duration = limits.LEASE_MS_DEFAULT / 1_000,
    drain_timeout: Duration = 10.0,
    name: str | None = None,
    token: str | None = None,
    tls_ca: str | os.PathLike[str] | None = None,
) -> None:
    """Run a worker until SIGTERM or SIGINT; the second signal gives everything back at once.

    The arguments are those of `Worker`, with those of `AsyncClient` in the place of a client.
    """
    async with AsyncClient(addresses, name="worker", token=token, tls_ca=tls_ca) as client:
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
