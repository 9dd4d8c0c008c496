"""The leases that a worker holds, and the one call that extends them all.

A lease is held from its grant until its outcome was judged. Three times in the life of a lease, one
call prolongs everything that is held; what the cluster says is lost, is lost.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from raftq.client.async_client import AsyncClient
from raftq.client.durations import milliseconds
from raftq.protocol import limits
from raftq.protocol.errors import RaftqError
from raftq.protocol.messages import ExtendItem, RequeueItem
from raftq.worker.run import Run

_log = logging.getLogger(__name__)
T = TypeVar("T")

_EXTENDS_PER_LEASE: Final = 3


@dataclass(slots=True, eq=False)
class Held:
    """A lease that this worker holds."""

    run: Run
    task: "asyncio.Task[None] | None" = None
    """Runs the handler; None while the run waits for a slot."""
    is_over: bool = False
    """Whether the handler has ended and its outcome is on its way."""


class Holding:
    """Leases by token.

    Args:
        client: Of the cluster.
        lease_seconds: What each extension prolongs a lease to.
        on_lost: Called with each lease that the cluster says is not this worker's any more.
    """

    def __init__(
        self, client: AsyncClient, lease_seconds: float, on_lost: Callable[[Held], None]
    ) -> None:
        self._client = client
        self._lease_seconds = lease_seconds
        self._on_lost = on_lost
        self._held: dict[int, Held] = {}

    def __contains__(self, token: int) -> bool:
        return token in self._held

    def add(self, held: Held) -> None:
        """Hold a lease."""
        self._held[held.run.token] = held

    def get(self, token: int) -> Held | None:
        """Return a lease that is held."""
        return self._held.get(token)

    def remove(self, token: int) -> Held | None:
        """Hold a lease no more, and return it if it was held."""
        return self._held.pop(token, None)

    async def extend_for_ever(self) -> None:
        """Prolong all leases with one call, three times in the life of each."""
        pause = self._lease_seconds / _EXTENDS_PER_LEASE
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        while True:
            # From one call's beginning to the next's: one that failed has used up its pause, and
            # another pause after it would let the leases run out before the second try.
            await asyncio.sleep(began_at + pause - loop.time())
            began_at = loop.time()
            batches = _batches(list(self._held.values()))
            await asyncio.gather(*(self._extend(batch, pause) for batch in batches))

    async def _extend(self, held: Sequence[Held], timeout: float) -> None:
        lease_ms = milliseconds(self._lease_seconds)
        items = [ExtendItem(each.run.token, lease_ms) for each in held]
        try:
            outcomes = await self._client.extend_many(items, timeout=timeout)
        except RaftqError as error:
            _log.warning("extend_failed", extra={"error": str(error)})
            return
        for each, outcome in zip(held, outcomes, strict=True):
            if outcome.error_code and not each.is_over and self.remove(each.run.token):
                self._on_lost(each)

    async def let_run_out(self, token: int, timeout: float) -> None:
        """Hold a lease no more and let it run out at once, which counts as a crash.

        If the cluster does not hear of it, the lease runs out when it would have.
        """
        self.remove(token)
        try:
            await self._client.extend_many(
                [ExtendItem(token, limits.LEASE_MS_MIN)], timeout=timeout
            )
        except RaftqError as error:
            _log.warning("crash_not_told", extra={"token": token, "error": str(error)})

    async def give_back(self, timeout: float, tokens: Iterable[int] | None = None) -> None:
        """Hold these leases no more (without `tokens`: none at all), and requeue them."""
        wanted = list(self._held) if tokens is None else list(tokens)
        items = [RequeueItem(token) for token in wanted if self.remove(token) is not None]
        await asyncio.gather(*(self._requeue(batch, timeout) for batch in _batches(items)))

    async def _requeue(self, items: Sequence[RequeueItem], timeout: float) -> None:
        try:
            await self._client.requeue_many(items, timeout=timeout)
        except RaftqError as error:
            _log.error("give_back_failed", extra={"leases": len(items), "error": str(error)})


def _batches(items: Sequence[T]) -> list[Sequence[T]]:
    """Cut into what one call may carry. More is held than runs: also what is being recorded."""
    size = limits.SETTLEMENTS_PER_CALL_MAX
    return [items[at : at + size] for at in range(0, len(items), size)]
