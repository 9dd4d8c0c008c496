"""The part of the asyncio client that workers use: take leases, prolong and settle them."""

import asyncio
from collections.abc import Sequence

from raftq.client.calling import Calls
from raftq.client.durations import Duration, milliseconds
from raftq.client.giving_back import GivingBack
from raftq.client.keywords.new_tasks import Parts, enqueue_parts
from raftq.client.parts.caller import Caller, single
from raftq.protocol import limits
from raftq.protocol.calls import LeaseCall
from raftq.protocol.commands import (
    Ack,
    AckItem,
    Extend,
    ExtendItem,
    Fail,
    FailItem,
    Requeue,
    RequeueItem,
)
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import Leased, LeasedTask, Settled, SettledTask


class Working(Caller):
    """Leases tasks and settles them."""

    def _begin_working(self, calls: Calls) -> None:
        self._giving_back = GivingBack(calls)

    async def lease(
        self,
        queues: str | Sequence[str],
        *,
        worker: str,
        count: int = 1,
        lease: Duration = limits.LEASE_MS_DEFAULT / 1_000,
        wait: Duration = 0,
        request_id: str | None = None,
        timeout: Duration | None = None,
    ) -> list[LeasedTask]:
        """Take up to `count` tasks; wait up to `wait` for the first one.

        Args:
            queues: One queue or several, tried in this order.
            worker: The worker's name.
            count: The most tasks wanted.
            lease: How long the tasks are this worker's; extend it while they run.
            wait: How long to wait if nothing is ready.
            request_id: Repeating a call with the same one returns the same leases.
            timeout: For this call, on top of `wait`.

        A call that is cancelled gives back what it was granted before it ends, which takes a
        moment: up to two seconds if the cluster does not answer.
        """
        names = [queues] if isinstance(queues, str) else list(queues)
        call = LeaseCall(
            names,
            count,
            milliseconds(lease),
            worker,
            self.new_id().hex() if request_id is None else request_id,
            milliseconds(wait),
        )
        try:
            return (await self._call(call, Leased, timeout)).leases
        except asyncio.CancelledError:
            await self._giving_back.give_back(call)
            raise

    async def ack(
        self,
        token: int,
        result: bytes | None = None,
        *,
        follow_ups: Parts = (),
        timeout: Duration | None = None,
    ) -> TaskState:
        """Record a task as done.

        Args:
            token: Of the lease.
            result: What is kept for who asks.
            follow_ups: Tasks that are enqueued in the same log entry: with the result, or not at
                all. The forms are those of `enqueue_parts`.
            timeout: For this call. To repeat one whose outcome is unknown, use `ack_many` with the
                same item: here plain bytes among the follow-ups become new tasks each time.

        Raises:
            LeaseLost: The lease is over; the task is not this worker's any more.
            TaskCancelled: The same, because somebody cancelled the task.
            KeyTaken, Conflict: A follow-up is refused; the lease is still held.
        """
        item = AckItem(token, result, enqueue_parts(follow_ups, self.new_id))
        return single(await self.ack_many([item], timeout=timeout))

    async def ack_many(
        self, items: Sequence[AckItem], *, timeout: Duration | None = None
    ) -> list[SettledTask]:
        """Record tasks as done; each item is judged on its own (see its `error_code`)."""
        return (await self._call(Ack(list(items)), Settled, timeout)).items if items else []

    async def fail(
        self,
        token: int,
        error: str,
        *,
        delay: Duration | None = None,
        is_final: bool = False,
        is_crash: bool = False,
        timeout: Duration | None = None,
    ) -> TaskState:
        """Record a failed run; the state returned tells whether it will be tried again.

        Args:
            token: Of the lease.
            error: The reason; its first 4,000 characters are kept.
            delay: The pause before the retry; the task's backoff unless given.
            is_final: Whether no retry can help: the task is dead.
            is_crash: Whether what ran it died of it: counted apart from failures.
            timeout: For this call.

        Raises:
            LeaseLost: The lease is over.
            TaskCancelled: The same, because somebody cancelled the task.
        """
        delay_ms = None if delay is None else milliseconds(delay)
        item = FailItem(token, error_text(error), delay_ms, is_final, is_crash)
        return single(await self.fail_many([item], timeout=timeout))

    async def fail_many(
        self, items: Sequence[FailItem], *, timeout: Duration | None = None
    ) -> list[SettledTask]:
        """Record failed runs; each item is judged on its own."""
        return (await self._call(Fail(list(items)), Settled, timeout)).items if items else []

    async def requeue(
        self, token: int, *, delay: Duration = 0, timeout: Duration | None = None
    ) -> TaskState:
        """Give a lease back; no attempt is burnt.

        Raises:
            LeaseLost: The lease is over.
            TaskCancelled: The same, because somebody cancelled the task.
        """
        item = RequeueItem(token, milliseconds(delay))
        return single(await self.requeue_many([item], timeout=timeout))

    async def requeue_many(
        self, items: Sequence[RequeueItem], *, timeout: Duration | None = None
    ) -> list[SettledTask]:
        """Give leases back; each item is judged on its own."""
        return (await self._call(Requeue(list(items)), Settled, timeout)).items if items else []

    async def extend(
        self,
        token: int,
        lease: Duration,
        *,
        progress: bytes | None = None,
        timeout: Duration | None = None,
    ) -> TaskState:
        """Prolong a lease to `lease` from now.

        Args:
            token: Of the lease.
            lease: How long it holds from now on.
            progress: How far the run is, for who asks: up to 4 KiB; as it was unless given.
            timeout: For this call.

        Raises:
            LeaseLost: The lease is over.
            TaskCancelled: The same, because somebody cancelled the task: stop, then `requeue`, so
                that its place under a limit is free.
        """
        item = ExtendItem(token, milliseconds(lease), progress)
        return single(await self.extend_many([item], timeout=timeout))

    async def extend_many(
        self, items: Sequence[ExtendItem], *, timeout: Duration | None = None
    ) -> list[SettledTask]:
        """Prolong leases; each item is judged on its own."""
        return (await self._call(Extend(list(items)), Settled, timeout)).items if items else []


def error_text(error: str) -> str:
    """Return a reason of failure as it may be recorded: bounded, and valid Unicode."""
    return error[: limits.ERROR_TEXT_CHARACTERS_MAX].encode(errors="replace").decode()
