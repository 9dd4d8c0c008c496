"""Outcomes on their way to the cluster: gathered while one call is out, sent as one.

Acks that finish while a call is under way share the next one. Nothing waits for a batch to fill.
An outcome is kept until the cluster has judged it: a cluster that is away for a while costs time,
never a finished run.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from raftq.protocol import limits
from raftq.protocol.errors import OutcomeUnknown, RaftqError, UnavailableError
from raftq.protocol.replies import SettledTask

_log = logging.getLogger(__name__)
_PAUSE_SECONDS: Final = 0.2
_BATCH_BYTES_MAX: Final = limits.REQUEST_BYTES_MAX // 2
"""Results of one call; a call over the limit would be refused with all that is in it."""
Item = TypeVar("Item")


class Settling(Generic[Item]):
    """Sends items of one kind in batches, until each was judged.

    Args:
        send: Settles a batch: `client.ack_many` or one of its kind.
        size: Returns about how many bytes an item takes.
        on_settled: Called with each item and its error code, empty if it was accepted.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[list[SettledTask]]],
        size: Callable[[Item], int],
        on_settled: Callable[[Item, str], None],
    ) -> None:
        self._send = send
        self._size = size
        self._on_settled = on_settled
        self._waiting: deque[Item] = deque()
        self._sender: asyncio.Task[None] | None = None

    def add(self, item: Item) -> None:
        """Queue an item; it leaves in this turn of the loop, or behind the call that is out."""
        self._waiting.append(item)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())

    async def drain(self, timeout: float) -> None:
        """Wait until everything queued was judged; give up what was not in time."""
        sender = self._sender
        if sender is None:
            return
        await asyncio.wait([sender], timeout=timeout)
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)

    async def _send_all(self) -> None:
        await asyncio.sleep(0)  # Let everything that finishes in this turn join the batch.
        try:
            while self._waiting:
                batch = self._take()
                if not await self._send_batch(batch):
                    self._waiting.extendleft(reversed(batch))
                    await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._sender = None

    def _take(self) -> list[Item]:
        """Return the next items that one call may carry."""
        batch = [self._waiting.popleft()]
        size = self._size(batch[0])
        while self._waiting and len(batch) < limits.SETTLEMENTS_PER_CALL_MAX:
            size += self._size(self._waiting[0])
            if size > _BATCH_BYTES_MAX:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _send_batch(self, batch: list[Item]) -> bool:
        """Send a batch; return False if it must be sent again."""
        try:
            settled = await self._send(batch)
        except (UnavailableError, OutcomeUnknown) as error:
            _log.warning("settling_delayed", extra={"items": len(batch), "error": str(error)})
            return False
        except RaftqError as error:
            if len(batch) == 1:
                _log.error("settling_failed", extra={"error": str(error)})
                self._on_settled(batch[0], error.code)
                return True
            return await self._send_singly(batch)
        for item, outcome in zip(batch, settled, strict=True):
            self._on_settled(item, outcome.error_code)
        return True

    async def _send_singly(self, batch: list[Item]) -> bool:
        """Send each item in a call of its own: one bad outcome must not take others with it."""
        left = deque(batch)
        while left:
            if not await self._send_batch([left[0]]):
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            left.popleft()
        return True
