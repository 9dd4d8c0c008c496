"""The run loop of one worker process.

A task is leased only when a slot is free, or as many more as are to be prefetched; every lease is
extended until its outcome is recorded; a handler whose lease was lost is cancelled; a stopping
worker finishes what it can and gives the rest back, which burns no attempt. Leader changes need no
care here: the client hides them.
"""

import asyncio
import logging
import os
import secrets
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from raftq.client.async_client import AsyncClient
from raftq.client.durations import Duration, milliseconds, seconds
from raftq.client.parts.working import error_text
from raftq.protocol import limits
from raftq.protocol.commands import AckItem, FailItem, RequeueItem
from raftq.protocol.errors import InvalidRequest, LeaseLost, TaskCancelled
from raftq.protocol.replies import LeasedTask
from raftq.worker.endings import GiveBack, LeaseOver, RunCrashed, StillRunning
from raftq.worker.holding import Held, Holding
from raftq.worker.leasing import Leasing
from raftq.worker.run import Handler, Run, failure, log_failure, success
from raftq.worker.settling import Settling
from raftq.worker.slots import Slots

_log = logging.getLogger(__name__)

_LEASE_CODES: Final = frozenset({LeaseLost.code, TaskCancelled.code})
"""Refusals of an outcome that are about its lease, and not about what comes with it."""
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
        queue_limits: Queue → tasks of it that are held at a time. Queues with a limit are leased
            from beside the others, whatever their order, and each keeps a slot for itself.
        prefetch: Tasks that are leased beyond those that run. They are held back from other
            workers, and a more urgent task that comes later waits for them.
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
        queue_limits: Mapping[str, int] | None = None,
        prefetch: int = 0,
        lease: Duration = limits.LEASE_MS_DEFAULT / 1_000,
        drain_timeout: Duration = 10.0,
        name: str | None = None,
    ) -> None:
        _check_range("concurrency", concurrency, 1)
        _check_range("prefetch", prefetch, 0)
        names = [queues] if isinstance(queues, str) else list(queues)
        self._handler = handler
        self._concurrency = concurrency
        self._drain_seconds = seconds(drain_timeout)
        # Process ids repeat: in containers every worker may be process 1 of the same host name.
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._slots = Slots(concurrency + prefetch, names, queue_limits or {})
        self._holding = Holding(client, seconds(lease), self._on_lost)
        self._stopping = asyncio.Event()
        self._abandoning = asyncio.Event()
        self._leasing = Leasing(
            client, self._slots, self.name, seconds(lease), self._on_leases, self._stopping
        )
        self._waiting: deque[Held] = deque()
        """Leases that were prefetched."""
        self._running: set[asyncio.Task[None]] = set()
        self._last_words: list[FailItem] = []
        """Failures to be recorded when everything else has ended."""
        self._is_giving_back = False
        self._acks: Settling[AckItem] = Settling(client.ack_many, _ack_bytes, self._on_settled)
        self._fails: Settling[FailItem] = Settling(
            client.fail_many, lambda item: 4 * len(item.error), self._on_settled
        )
        self._requeues: Settling[RequeueItem] = Settling(
            client.requeue_many, lambda item: 0, self._on_settled
        )
        self.runs_total = 0
        self.failures_total = 0
        self.crashes_total = 0
        self.lost_total = 0
        self.cancelled_total = 0
        self.given_up: str | None = None
        """Why this worker stopped by itself."""

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop, or stopped by itself."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Lease no more; finish what runs. A second call gives everything back at once."""
        if self._stopping.is_set():
            self.abandon()
        self._stopping.set()

    def abandon(self) -> None:
        """Lease no more and give everything back at once."""
        self._stopping.set()
        self._abandoning.set()

    def give_up(self, reason: str) -> None:
        """Stop, because something here is broken that only the end of the process mends."""
        if self.given_up is None:
            self.given_up = reason
            _log.error("worker_gives_up", extra={"reason": reason})
        self._stopping.set()

    async def run(self) -> None:
        """Run tasks until `stop` was called and everything is settled or given back.

        A cancelled `run` gives everything back at once.

        Raises:
            RequestError: The cluster refuses what this worker asks for, like a bad queue name.
        """
        leaser = asyncio.create_task(self._leasing.run())
        extender = asyncio.create_task(self._holding.extend_for_ever())
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

    # ------------------------------------------------------------ running

    def _on_leases(self, leases: Sequence[LeasedTask]) -> int:
        """Start what was leased, or keep it for the next free slot."""
        new = 0
        for lease in leases:
            if lease.token in self._holding:
                continue  # A repeated request returned a lease that runs here already.
            new += 1
            held = Held(Run.of(lease))
            self._holding.add(held)
            if len(self._running) < self._concurrency:
                self._start(held)
            else:
                self._waiting.append(held)
        return new

    def _start(self, held: Held) -> None:
        task = asyncio.create_task(self._handle(held))
        held.task = task
        self._running.add(task)
        task.add_done_callback(lambda done: self._on_ended(held, done))

    def _on_ended(self, held: Held, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._slots.ended(held.run.queue)
        if self._waiting and not self._stopping.is_set():
            self._start(self._waiting.popleft())

    async def _handle(self, held: Held) -> None:
        """Run a handler and queue its outcome, unless the lease is lost or being given back."""
        run = held.run
        self.runs_total += 1
        try:
            outcome: AckItem | FailItem | RequeueItem = success(run, await self._handler(run))
        except StillRunning as error:
            self._give_up(run, failure(run, error))
            return
        except LeaseOver:
            self._holding.remove(run.token)
            return
        except RunCrashed as error:
            outcome = self._crashed(run, error)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if self._is_giving_back and not run.is_cancelled:
                return  # Cut short by this worker: given back, not failed.
            if isinstance(error, GiveBack):
                outcome = self._gave_back(run, error)
            else:
                outcome = failure(run, error)
        self._settle(held, outcome)

    def _settle(self, held: Held, outcome: AckItem | FailItem | RequeueItem) -> None:
        if held.run.is_cancelled:
            # Nothing of it is recorded; but what the task holds, like its place under a limit, is
            # only free for others now that it has ended.
            outcome = RequeueItem(held.run.token)
        elif held.run.token not in self._holding:
            return
        held.is_over = True
        if isinstance(outcome, AckItem):
            self._acks.add(outcome)
        elif isinstance(outcome, FailItem):
            if not outcome.is_crash:
                self.failures_total += 1
                log_failure(held.run, outcome)
            self._fails.add(outcome)
        else:
            self._requeues.add(outcome)

    def _on_settled(self, item: AckItem | FailItem | RequeueItem, code: str) -> None:
        if code and isinstance(item, AckItem) and item.follow_ups and code not in _LEASE_CODES:
            # The cluster changed nothing, and the lease is still held: this run has failed.
            self._fail_for_follow_ups(item, code)
            return
        self._holding.remove(item.token)
        if code == TaskCancelled.code:
            _log.info("cancelled_run_released", extra={"token": item.token})
        elif code:
            self.lost_total += 1
            _log.warning("outcome_refused", extra={"token": item.token, "code": code})

    def _fail_for_follow_ups(self, item: AckItem, code: str) -> None:
        failed = FailItem(item.token, f"{code}: the cluster refused a follow-up of this run")
        self.failures_total += 1
        held = self._holding.get(item.token)
        if held is not None:
            log_failure(held.run, failed)
        self._fails.add(failed)

    def _on_lost(self, held: Held, code: str) -> None:
        run = held.run
        if code == TaskCancelled.code:
            self.cancelled_total += 1
            run.is_cancelled = True
            _log.info("run_cancelled", extra=run.facts)
        else:
            self.lost_total += 1
            _log.warning("lease_lost", extra=run.facts)
        run.lost.set()
        if held.task is not None:
            held.task.cancel()
        elif held in self._waiting:
            self._waiting.remove(held)
            self._slots.ended(run.queue)
            if run.is_cancelled:
                self._requeues.add(RequeueItem(run.token))

    def _gave_back(self, run: Run, error: GiveBack) -> RequeueItem:
        _log.warning("run_given_back", extra={**run.facts, "reason": str(error)})
        if error.is_over:
            self.give_up(str(error))
        return RequeueItem(run.token, milliseconds(error.delay_seconds))

    def _give_up(self, run: Run, failed: FailItem) -> None:
        self.failures_total += 1
        log_failure(run, failed)
        self._last_words.append(failed)
        self.give_up("a run ignores its time limit")

    def _crashed(self, run: Run, error: RunCrashed) -> FailItem:
        self.crashes_total += 1
        _log.error("run_crashed", extra={**run.facts, "reason": str(error)})
        return FailItem(run.token, error_text(f"crashed: {error}"), is_crash=True)

    # ------------------------------------------------------------ stopping

    async def _finish(self) -> None:
        """Let handlers finish for a while, record outcomes, give back what is left."""
        prefetched = [held.run.token for held in self._waiting]
        self._waiting.clear()
        if prefetched:
            await self._holding.give_back(_SETTLE_SECONDS, prefetched)
        await self._let_handlers_finish()
        self._is_giving_back = True
        for task in self._running:
            task.cancel()
        if self._running:
            _, stubborn = await asyncio.wait(self._running, timeout=_CANCEL_SECONDS)
            if stubborn:
                _log.error("handlers_ignore_cancellation", extra={"handlers": len(stubborn)})
        for failed in self._last_words:
            self._fails.add(failed)
        settling = (self._acks, self._fails, self._requeues)
        await asyncio.gather(*(each.drain(_SETTLE_SECONDS) for each in settling))
        await self._holding.give_back(_SETTLE_SECONDS)

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


def _ack_bytes(item: AckItem) -> int:
    """Return about how many bytes an ack takes."""
    size = len(item.result or b"")
    if item.follow_ups:
        size += sum(len(task.payload) for part in item.follow_ups for task in part.tasks)
    return size


def _check_range(what: str, value: int, low: int) -> None:
    if not low <= value <= limits.SETTLEMENTS_PER_CALL_MAX:
        raise InvalidRequest(
            f"{what} is {value}; allowed is {low} to {limits.SETTLEMENTS_PER_CALL_MAX}"
        )


async def _wait_for(tasks: "set[asyncio.Task[None]]") -> None:
    await asyncio.wait(tasks)
