"""Outcomes on their way to the cluster: gathered while one call is out, sent as one.

Acks that finish while a call is under way share the next one. Nothing waits for a batch to fill.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from raftq.protocol.errors import RaftqError
from raftq.protocol.messages import SettledTask

_log = logging.getLogger(__name__)
Item = TypeVar("Item")


class Settling(Generic[Item]):
    """Sends items of one kind in batches.

    Args:
        send: Settles a batch: `client.ack_many` or one of its kind.
        on_refused: Called with an item whose lease was lost.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[list[SettledTask]]],
        on_refused: Callable[[Item, str], None],
    ) -> None:
        self._send = send
        self._on_refused = on_refused
        self._waiting: list[Item] = []
        self._sender: asyncio.Task[None] | None = None

    def add(self, item: Item) -> None:
        """Queue an item; it leaves in this turn of the loop, or behind the call that is out."""
        self._waiting.append(item)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())

    async def drain(self) -> None:
        """Wait until everything queued was sent."""
        if self._sender is not None:
            await self._sender

    async def _send_all(self) -> None:
        await asyncio.sleep(0)  # Let everything that finishes in this turn join the batch.
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._send_batch(batch)
        finally:
            self._sender = None

    async def _send_batch(self, batch: list[Item]) -> None:
        try:
            settled = await self._send(batch)
        except RaftqError as error:
            # The leases run out and the tasks are given out again: late, but not lost.
            _log.error("settling_failed", extra={"items": len(batch), "error": str(error)})
            return
        for item, outcome in zip(batch, settled, strict=True):
            if outcome.error_code:
                self._on_refused(item, outcome.error_code)
