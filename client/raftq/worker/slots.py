"""Who may lease how many tasks now: the slots of a worker, shared by its queues.

A share is what one lease call asks for: all queues without a limit of their own together, or one
queue that has a limit. Never are more tasks held or asked for than there are slots, and none of a
share beyond its limit. Of the slots that are free, one is left to each share that holds less, so
that a busy queue cannot shut another out.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest


@dataclass(slots=True, eq=False)
class Share:
    """Queues that are leased from with one call."""

    queues: list[str]
    limit: int
    """The most tasks of it that are held at a time."""
    held: int = 0
    asked: int = 0
    """What the call that is under way asks for."""
    is_busy: bool = False
    """Whether the last call found tasks."""
    request_id: str | None = None
    """Of a call whose outcome is not known; the next call repeats it."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def used(self) -> int:
        """Slots that are taken or reserved."""
        return self.held + self.asked


class Slots:
    """The slots of one worker.

    Args:
        concurrency: Tasks that are held at a time, those that were prefetched included.
        queues: What is leased from.
        queue_limits: Queue → the most tasks of it that are held at a time.

    Raises:
        InvalidRequest: There are not enough slots for the shares, or a limit is not positive.
    """

    def __init__(
        self, concurrency: int, queues: Sequence[str], queue_limits: Mapping[str, int]
    ) -> None:
        self._concurrency = concurrency
        self._shares_by_queue: dict[str, Share] = {}
        self.shares = _shares(concurrency, queues, queue_limits)
        for share in self.shares:
            self._shares_by_queue.update(dict.fromkeys(share.queues, share))

    def take(self, share: Share) -> int:
        """Reserve slots for a lease call of a share and return how many; 0 if it must wait.

        Of several shares, one whose last call found nothing gets one: the others need not stand
        back for an empty queue. A call that failed may have been granted all the same, so its
        slots stay reserved for the call that repeats it.
        """
        share.wake.clear()
        if share.asked:
            return share.asked
        free = self._concurrency - sum(each.used for each in self.shares)
        wanting = [
            each
            for each in self.shares
            if each is not share and not each.asked and each.used < min(each.limit, share.used)
        ]
        count = min(free - len(wanting), share.limit - share.used, limits.LEASES_PER_CALL_MAX)
        if count <= 0:
            return 0
        share.asked = 1 if len(self.shares) > 1 and not share.is_busy else count
        return share.asked

    def may_wait(self, share: Share) -> bool:
        """Return whether a call may wait for tasks: many slots must not wait for one queue."""
        return len(self.shares) == 1 or not share.is_busy

    def answered(self, share: Share, granted: int) -> None:
        """A lease call ended; what it was not granted is free again."""
        share.asked = 0
        share.held += granted
        share.is_busy = granted > 0
        self._wake()

    def ended(self, queue: str) -> None:
        """A task of a queue is not held any more."""
        self._shares_by_queue[queue].held -= 1
        self._wake()

    def _wake(self) -> None:
        for share in self.shares:
            share.wake.set()


def _shares(
    concurrency: int, queues: Sequence[str], queue_limits: Mapping[str, int]
) -> list[Share]:
    for queue, limit in queue_limits.items():
        if limit < 1:
            raise InvalidRequest(f"the limit of queue {queue!r} is {limit}; it must be 1 or more")
    names = list(dict.fromkeys(queues))
    shares = [Share([name], queue_limits[name]) for name in names if name in queue_limits]
    unlimited = [name for name in names if name not in queue_limits]
    if unlimited:
        shares.insert(0, Share(unlimited, concurrency))
    if concurrency < len(shares):
        raise InvalidRequest(
            f"concurrency is {concurrency}; it must be {len(shares)} or more: one slot for each "
            "queue that has a limit of its own, and one for the others"
        )
    return shares
