"""Lease calls: one long poll for each share of a worker's slots, and none without a free slot."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from raftq.client.async_client import AsyncClient
from raftq.protocol.errors import RaftqError, RequestError
from raftq.protocol.replies import LeasedTask
from raftq.worker.slots import Share, Slots

_log = logging.getLogger(__name__)

_WAIT_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.5


class Leasing:
    """Takes tasks for free slots until the worker is told to stop.

    Args:
        client: Of the cluster.
        slots: Say how many tasks may be asked for.
        worker: The worker's name.
        lease_seconds: How long a task is the worker's between two extensions.
        on_leases: Called with what was granted; returns how many of these take a slot.
        stopping: Ends the leasing when it is set.
    """

    def __init__(
        self,
        client: AsyncClient,
        slots: Slots,
        worker: str,
        lease_seconds: float,
        on_leases: Callable[[Sequence[LeasedTask]], int],
        stopping: asyncio.Event,
    ) -> None:
        self._client = client
        self._slots = slots
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._on_leases = on_leases
        self._stopping = stopping

    async def run(self) -> None:
        """Lease until the worker stops.

        Raises:
            RequestError: The cluster refuses what is asked for.
        """
        polls = [asyncio.create_task(self._poll(share)) for share in self._slots.shares]
        try:
            await asyncio.wait(polls, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self._stopping.set()
            await asyncio.wait(polls)
        for poll in polls:
            poll.result()

    async def _poll(self, share: Share) -> None:
        while not self._stopping.is_set():
            count = self._slots.take(share)
            if count == 0:
                await self._unless_stopped(_wait_for(share.wake))
            else:
                await self._unless_stopped(self._lease(share, count))

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Await work, but cancel it when the worker is told to stop."""
        task = asyncio.create_task(work)
        stopping = asyncio.create_task(_wait_for(self._stopping))
        await asyncio.wait([stopping, task], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        task.cancel()  # A lease call gives back what it was granted before it ends.
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    async def _lease(self, share: Share, count: int) -> None:
        """Wait for tasks and pass them on; a cluster in trouble is asked again after a pause.

        After a failed call the same request is repeated, which returns the leases that it may
        have been granted.
        """
        if share.request_id is None:
            share.request_id = self._client.new_id().hex()
        try:
            leases = await self._client.lease(
                share.queues,
                worker=self._worker,
                count=count,
                lease=self._lease_seconds,
                wait=_WAIT_SECONDS if self._slots.may_wait(share) else 0,
                request_id=share.request_id,
            )
        except RequestError:
            raise  # It will never be granted; to ask again and again would only hide it.
        except RaftqError as error:
            _log.warning("lease_failed", extra={"error": str(error)})
            await asyncio.sleep(_PAUSE_SECONDS)
            return
        share.request_id = None
        self._slots.answered(share, self._on_leases(leases))


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()
