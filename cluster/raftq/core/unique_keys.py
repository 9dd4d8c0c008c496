"""Who has a unique key: a task until it is over, or for a time that was fixed at its enqueue."""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from msgspec import Struct

from raftq.protocol.fields import TaskState


class Holder(Struct, gc=False, eq=False):
    """The task that has a key.

    Attributes:
        until_ms: Wall time until which it has the key; 0 if until it is over.
        state: How it ended, once it is over; the task itself may be forgotten by then.
    """

    sequence: int
    task_id: bytes
    until_ms: int = 0
    state: TaskState | None = None


class UniqueKeys:
    """Holders by key."""

    def __init__(self) -> None:
        self._holders: dict[str, Holder] = {}
        self.ends: list[tuple[int, str]] = []
        """A heap; an entry whose key has another holder by then counts for nothing."""

    def __len__(self) -> int:
        return len(self._holders)

    def get(self, key: str) -> Holder | None:
        """Return who has a key."""
        return self._holders.get(key)

    def take(self, key: str, holder: Holder) -> None:
        """Give a key to a task, whoever had it."""
        self._holders[key] = holder
        if holder.until_ms:
            heappush(self.ends, (holder.until_ms, key))
            if len(self.ends) > 2 * len(self._holders) + 1_000:
                self._rebuild()

    def _rebuild(self) -> None:
        holders = self._holders.items()
        self.ends = [(holder.until_ms, key) for key, holder in holders if holder.until_ms]
        heapify(self.ends)

    def over(self, key: str, sequence: int, state: TaskState) -> None:
        """Note that a task is over: it gives its key up, unless it has it for a time."""
        holder = self._holders.get(key)
        if holder is None or holder.sequence != sequence:
            return
        if holder.until_ms:
            holder.state = state
        else:
            del self._holders[key]

    def take_again(self, key: str, sequence: int, task_id: bytes) -> bool:
        """Give a key to a task that begins anew, unless another one has it; tell whether."""
        holder = self._holders.get(key)
        if holder is None:
            self.take(key, Holder(sequence, task_id))
            return True
        if holder.sequence == sequence:
            holder.state = None
            return True
        return False

    def next_ms(self) -> int | None:
        """Return when the next time may end; not later."""
        return self.ends[0][0] if self.ends else None

    def pass_time(self, wall_now_ms: int) -> list[str]:
        """Take the keys whose time is up from their holders; return them."""
        freed: list[str] = []
        while self.ends and self.ends[0][0] <= wall_now_ms:
            at_ms, key = heappop(self.ends)
            holder = self._holders.get(key)
            if holder is not None and holder.until_ms == at_ms:
                del self._holders[key]
                freed.append(key)
        return freed

    def __iter__(self) -> Iterator[tuple[str, Holder]]:
        """Yield all holders, by key."""
        for key in sorted(self._holders):
            yield key, self._holders[key]
