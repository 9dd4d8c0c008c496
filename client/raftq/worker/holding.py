"""The leases that a worker holds, and the one call that extends them all.

A lease is held from its grant until its outcome was judged. Three times in the life of a lease, one
call prolongs everything that is held; what the cluster says is lost, is lost.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from raftq.client.async_client import AsyncClient
from raftq.client.durations import milliseconds
from raftq.protocol import limits
from raftq.protocol.commands import ExtendItem, RequeueItem
from raftq.protocol.errors import RaftqError
from raftq.worker.run import Run

_log = logging.getLogger(__name__)
T = TypeVar("T")

_EXTENDS_PER_LEASE: Final = 3
_TELLING_PAUSE_SECONDS: Final = 0.5
"""Between two extensions for progress: each is a log entry."""


@dataclass(slots=True, eq=False)
class Held:
    """A lease that this worker holds."""

    run: Run
    task: "asyncio.Task[None] | None" = None
    """Runs the handler; None while the run waits for a slot."""
    progress: bytes | None = None
    """What is to be told with the next extension."""
    is_over: bool = False
    """Whether the handler has ended and its outcome is on its way."""


class Holding:
    """Leases by token.

    Args:
        client: Of the cluster.
        lease_seconds: What each extension prolongs a lease to.
        on_lost: Called with each lease that the cluster says is not this worker's any more, and
            the code of the error that says why.
    """

    def __init__(
        self, client: AsyncClient, lease_seconds: float, on_lost: Callable[[Held, str], None]
    ) -> None:
        self._client = client
        self._lease_seconds = lease_seconds
        self._on_lost = on_lost
        self._held: dict[int, Held] = {}
        self._told = asyncio.Event()
        """Set while there is progress to be told."""

    def __contains__(self, token: int) -> bool:
        return token in self._held

    def add(self, held: Held) -> None:
        """Hold a lease, and listen to what its run tells."""
        self._held[held.run.token] = held
        # By its token: a run that held its own `Held` would be a cycle, which only the collector
        # frees, and there are as many as there are tasks.
        held.run.tell = partial(self._tell, held.run.token)

    def _tell(self, token: int, progress: bytes) -> None:
        held = self._held.get(token)
        if held is not None:
            held.progress = progress
            self._told.set()

    def get(self, token: int) -> Held | None:
        """Return a lease that is held."""
        return self._held.get(token)

    def remove(self, token: int) -> Held | None:
        """Hold a lease no more, and return it if it was held."""
        return self._held.pop(token, None)

    async def extend_for_ever(self) -> None:
        """Prolong all leases with one call, three times in the life of each.

        Those whose runs told something are prolonged at once, but at most twice a second.
        """
        telling = asyncio.create_task(self._tell_for_ever())
        try:
            await self._extend_all_for_ever()
        finally:
            telling.cancel()
            await asyncio.wait([telling])

    async def _tell_for_ever(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            telling = [each for each in self._held.values() if each.progress is not None]
            pause = self._lease_seconds / _EXTENDS_PER_LEASE
            await asyncio.gather(*(self._extend(batch, pause) for batch in _batches(telling)))
            await asyncio.sleep(_TELLING_PAUSE_SECONDS)

    async def _extend_all_for_ever(self) -> None:
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
        items: list[ExtendItem] = []
        for each in held:
            items.append(ExtendItem(each.run.token, lease_ms, each.progress))
            each.progress = None
        try:
            outcomes = await self._client.extend_many(items, timeout=timeout)
        except RaftqError as error:
            _log.warning("extend_failed", extra={"error": str(error)})
            for each, item in zip(held, items, strict=True):
                if each.progress is None:  # Else it has told something newer since.
                    each.progress = item.progress
            return
        for each, outcome in zip(held, outcomes, strict=True):
            if outcome.error_code and not each.is_over and self.remove(each.run.token):
                self._on_lost(each, outcome.error_code)

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
