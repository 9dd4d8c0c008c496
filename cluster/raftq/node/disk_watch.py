"""Whether the disk of this node has room for more tasks, and what a leader does when it has none.

Below the reserve enqueues are refused, so that acks, votes and snapshots go on. The disks of the
others may have room, so a leader hands over then; not again for a minute, because theirs may have
none either, and leadership must not go round in circles.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from raftq.protocol import limits

_log = logging.getLogger(__name__)

_CHECK_SECONDS: Final = 2.0
_HANDOVER_SECONDS: Final = 1.0
_HAND_OVER_AGAIN_SECONDS: Final = 60.0


class Leading(Protocol):
    """What is needed of the replica."""

    @property
    def is_leader(self) -> bool: ...
    def transfer_leadership(self, deadline: float) -> Coroutine[Any, Any, bool]: ...


class DiskWatch:
    """Looks at the free space of one node.

    Args:
        free_bytes: Returns what is free on the disk of the data folder.
        leading: Who may hand over.
        clock: Monotonic seconds, that of the replica's deadlines.
        every: Seconds between two looks at the disk.
    """

    def __init__(
        self,
        free_bytes: Callable[[], int],
        leading: Leading,
        clock: Callable[[], float],
        every: float = _CHECK_SECONDS,
    ) -> None:
        self._free_bytes = free_bytes
        self._leading = leading
        self._clock = clock
        self._every = every
        self._check_at = -1.0
        self._hand_over_at = -1.0
        self._is_full = False
        self._handover: asyncio.Task[None] | None = None

    def is_full(self) -> bool:
        """Tell whether enqueues must be refused; to be asked for each, so it looks now and then."""
        now = self._clock()
        if now >= self._check_at:
            self._check_at = now + self._every
            self._is_full = self._free_bytes() < limits.DISK_RESERVE_BYTES
            if self._is_full and self._leading.is_leader and now >= self._hand_over_at:
                self._hand_over_at = now + _HAND_OVER_AGAIN_SECONDS
                self._handover = asyncio.get_running_loop().create_task(self._hand_over())
        return self._is_full

    async def _hand_over(self) -> None:
        try:
            another = await self._leading.transfer_leadership(self._clock() + _HANDOVER_SECONDS)
        except Exception:  # Nobody waits for it, and it must not keep the node from stopping.
            _log.exception("handover_failed")
        else:
            _log.warning("disk_full", extra={"another_leads": another})

    async def stop(self) -> None:
        """Let a handover end."""
        if self._handover is not None:
            await self._handover
