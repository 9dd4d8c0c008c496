"""What a lease call that was cancelled had been granted goes back to its queue at once.

Nobody else knows of those leases: without this they would run out, and each would count as a crash.
"""

import asyncio
import logging
from typing import Final, cast

from raftq.client.calling import Calls
from raftq.protocol.calls import LeaseCall
from raftq.protocol.commands import Requeue, RequeueItem
from raftq.protocol.errors import RaftqError
from raftq.protocol.replies import Leased

GIVE_BACK_SECONDS: Final = 2.0
"""How long the end of a cancelled lease call may take to return what it was granted."""
_log = logging.getLogger(__name__)


class GivingBack:
    """The cancelled lease calls of one client.

    Args:
        calls: Executes calls.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._running: set[asyncio.Task[None]] = set()

    async def give_back(self, call: LeaseCall) -> None:
        """Return what a cancelled lease call was granted, or is being granted right now.

        The nodes answer a repeated request with the leases of the first, and let go of the first
        if it still waits; so after this nothing is held. A second cancellation leaves the work
        to `finish`.
        """
        if self._calls.is_closed or not self._calls.is_connected:
            return
        task = asyncio.create_task(self._find_and_requeue(call))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.wait([task])

    async def finish(self) -> None:
        """Wait until nothing is on its way back."""
        if self._running:
            await asyncio.wait(self._running)

    async def _find_and_requeue(self, call: LeaseCall) -> None:
        repeat = LeaseCall(call.queues, 1, call.lease_ms, call.worker, call.request_id)
        try:
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                found = cast(Leased, await self._calls.call(repeat, GIVE_BACK_SECONDS))
                if found.leases:
                    items = [RequeueItem(lease.token) for lease in found.leases]
                    await self._calls.call(Requeue(items), GIVE_BACK_SECONDS)
        except (RaftqError, TimeoutError) as error:
            _log.warning("give_back_failed", extra={"error": str(error)})
