"""Limit keys: how many tasks of a key may be leased at a time, and how fast, across all queues.

A ready task whose key has no free slot or token when it is about to be leased is *parked* here. No
parked task is forgotten, because of this invariant: *while a key admits a task, each queue with
parked tasks of the key has a ready one too*, which is tried at its next lease. It is restored
whenever it could break, by the owner, who makes ready what is unparked:

- The key begins to admit, because a lease ended (`release`, then `unpark`), a token came (`due`, at
  an instant that is armed whenever tasks are parked and there is no token, then `unpark`) or its
  limit changed (`set`, then `unpark_free`).
- A ready task of the key goes: to a worker (`take`) or elsewhere; then `unpark_next`. It does not
  break when one is parked, because then the key admits none.
"""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

from raftq.core.bucket import Bucket, bucket_of
from raftq.core.id_table import SEQUENCE_MAX
from raftq.core.number_heap import SPARE_MARKS, NumberHeap
from raftq.core.sequences import SEQUENCE_BITS
from raftq.protocol import limits
from raftq.protocol.options import KeyLimit
from raftq.protocol.statuses import LimitStatus

NO_LIMIT: Final = KeyLimit()


class LimitRow(NamedTuple):
    """A key that has a limit, for a dump; what its tasks tell is not in it."""

    key: str
    limit: KeyLimit
    level: int
    """Of the bucket, if the limit has a rate; else 0."""
    level_at_ms: int
    wake_ms: int
    """When its parked tasks are to be looked at, or 0."""


class _KeyState:
    __slots__ = ("bucket", "leased", "limit", "parked", "wake_ms")

    def __init__(self) -> None:
        self.limit = NO_LIMIT
        self.leased = 0
        self.bucket: Bucket | None = None
        self.parked: dict[str, NumberHeap] = {}
        """By queue: priority and sequence in one number. None is empty."""
        self.wake_ms = 0
        """The armed instant, or 0."""

    def admits(self, now_ms: int) -> bool:
        limit = self.limit
        if limit.concurrency is not None and self.leased >= limit.concurrency:
            return False
        return self.bucket is None or limit.rate is None or self.bucket.admits(limit.rate, now_ms)

    def free(self, now_ms: int, at_most: int) -> int:
        """Return how many tasks could be leased now."""
        limit = self.limit
        if limit.concurrency is not None:
            at_most = min(at_most, limit.concurrency - self.leased)
        if self.bucket is not None and limit.rate is not None:
            at_most = min(at_most, self.bucket.tokens(limit.rate, now_ms))
        return max(0, at_most)

    def unpark_first(self, queue: str) -> int:
        """Remove and return the first parked task of a queue, or 0."""
        parked = self.parked.get(queue)
        if parked is None:
            return 0
        sequence = parked.pop() & SEQUENCE_MAX
        if not parked:
            del self.parked[queue]
        return sequence


class LimitKeys:
    """All limit keys that are set or in use.

    All instants are wall time. A task's key is given by the owner with each call.
    """

    def __init__(self) -> None:
        self._keys: dict[str, _KeyState] = {}
        self.wakes: list[tuple[int, str]] = []
        """A heap of (instant, key); what the key does not have as its instant is dead, and not in
        front."""
        self._set = 0
        """Keys that have a limit."""

    # ------------------------------------------------------------ leases

    def admits(self, key: str, now_ms: int) -> bool:
        """Tell whether a task of the key may be leased."""
        state = self._keys.get(key)
        return state is None or state.admits(now_ms)

    def take(self, key: str, now_ms: int) -> None:
        """A ready task of the key is leased, as the key admits; `unpark_next` must follow."""
        state = self._state(key)
        state.leased += 1
        if state.bucket is not None and state.limit.rate is not None:
            state.bucket.take(state.limit.rate, now_ms)
            self._arm(key, state, now_ms)

    def release(self, key: str) -> None:
        """A lease of a task of the key ended; `unpark` must follow."""
        state = self._keys[key]
        assert state.leased, f"more leases of {key} end than began"
        state.leased -= 1
        self._settle(key, state)

    def count_leased(self, key: str) -> None:
        """Enter a leased task of a dump."""
        self._state(key).leased += 1

    def _state(self, key: str) -> _KeyState:
        state = self._keys.get(key)
        if state is None:
            state = self._keys[key] = _KeyState()
        return state

    def _settle(self, key: str, state: _KeyState) -> None:
        """Forget what matters no more, after something was taken away."""
        if state.parked:
            return
        if state.wake_ms:
            self._wake_at(key, state, 0)
        if not state.leased and state.limit == NO_LIMIT:
            del self._keys[key]

    # ------------------------------------------------------------ parked tasks

    def park(self, key: str, queue: str, priority: int, sequence: int, now_ms: int) -> None:
        """Keep a task until its key admits it.

        It was ready and about to be leased, which the key did not admit; or it is of a dump.
        """
        state = self._state(key)
        parked = state.parked.get(queue)
        if parked is None:
            parked = state.parked[queue] = NumberHeap()
        parked.push(priority << SEQUENCE_BITS | sequence)
        self._arm(key, state, now_ms)

    def remove_parked(self, key: str, queue: str, priority: int, sequence: int) -> None:
        """Take out a parked task."""
        state = self._keys[key]
        parked = state.parked[queue]
        parked.remove(priority << SEQUENCE_BITS | sequence)
        if not parked:
            del state.parked[queue]
            self._settle(key, state)

    def unpark(self, key: str, now_ms: int) -> list[int]:
        """Remove and return the first parked task of each queue, in order of the queues' names, if
        the key admits any."""
        return self._unpark(key, 1, now_ms)

    def unpark_free(self, key: str, now_ms: int) -> list[int]:
        """Remove and return of each queue as many parked tasks as the key admits now, but at most
        `PARKED_PER_COMMAND_MAX`: the others follow as these are leased."""
        return self._unpark(key, limits.PARKED_PER_COMMAND_MAX, now_ms)

    def _unpark(self, key: str, at_most: int, now_ms: int) -> list[int]:
        state = self._keys.get(key)
        if state is None or not state.parked:
            return []
        count = state.free(now_ms, at_most)
        unparked = [
            state.unpark_first(queue)
            for queue in sorted(state.parked)
            for _ in range(min(count, len(state.parked[queue])))
        ]
        self._settle(key, state)
        return unparked

    def unpark_next(self, key: str, queue: str, now_ms: int) -> list[int]:
        """Remove and return the first parked task of a queue, if the key admits it: to be ready
        instead of one that was leased, cancelled, expired, delayed or moved."""
        state = self._keys.get(key)
        if state is None or queue not in state.parked or not state.admits(now_ms):
            return []
        unparked = [state.unpark_first(queue)]
        self._settle(key, state)
        return unparked

    # ------------------------------------------------------------ time

    def _arm(self, key: str, state: _KeyState, now_ms: int) -> None:
        """Arm the instant of the next token if tasks wait for it; disarm what is armed if not."""
        wake_ms = 0
        if state.parked and state.bucket is not None and state.limit.rate is not None:
            next_ms = state.bucket.next_ms(state.limit.rate, now_ms)
            wake_ms = next_ms if next_ms > now_ms else 0
        if wake_ms != state.wake_ms:
            self._wake_at(key, state, wake_ms)

    def _wake_at(self, key: str, state: _KeyState, wake_ms: int) -> None:
        state.wake_ms = wake_ms
        if wake_ms:
            heappush(self.wakes, (wake_ms, key))
        wakes = self.wakes
        while wakes and not self._is_armed(*wakes[0]):
            heappop(wakes)
        if len(wakes) > 2 * len(self._keys) + SPARE_MARKS:
            self.wakes = sorted(dict.fromkeys(each for each in wakes if self._is_armed(*each)))

    def _is_armed(self, wake_ms: int, key: str) -> bool:
        state = self._keys.get(key)
        return state is not None and state.wake_ms == wake_ms

    def next_ms(self) -> int | None:
        """Return the next instant at which a token comes that parked tasks wait for."""
        return self.wakes[0][0] if self.wakes else None

    def due(self, now_ms: int) -> str | None:
        """Return a key for whose parked tasks a token came, or None; `unpark` must follow."""
        if not self.wakes or self.wakes[0][0] > now_ms:
            return None
        key = self.wakes[0][1]
        self._wake_at(key, self._keys[key], 0)
        return key

    # ------------------------------------------------------------ limits

    def set(self, key: str, limit: KeyLimit, now_ms: int) -> bool:
        """Set or remove (`NO_LIMIT`) a limit; `unpark_free` must follow.

        Returns:
            Whether it is another one than before.
        """
        state = self._state(key)
        old, state.limit = state.limit, limit
        self._set += (limit != NO_LIMIT) - (old != NO_LIMIT)
        state.bucket = bucket_of(state.bucket, old.rate, limit.rate, now_ms)
        self._arm(key, state, now_ms)
        self._settle(key, state)
        return limit != old

    def is_set(self, key: str) -> bool:
        """Tell whether a key has a limit."""
        state = self._keys.get(key)
        return state is not None and state.limit != NO_LIMIT

    @property
    def is_full(self) -> bool:
        """Whether no further key can have a limit."""
        return self._set >= limits.LIMITS_MAX

    # ------------------------------------------------------------ readers and dumps

    def status(self, key: str) -> LimitStatus:
        """Return a key's limit and use."""
        state = self._keys.get(key) or _KeyState()
        parked = sum(len(heap) for heap in state.parked.values())
        return LimitStatus(key, state.limit, state.leased, parked)

    def statuses(self) -> list[LimitStatus]:
        """Return those of all keys that are set or in use, by their texts."""
        return [self.status(key) for key in sorted(self._keys)]

    def next_token_ms(self, key: str, now_ms: int) -> int:
        """Return from when on there is a token; now if the key has no rate."""
        state = self._keys.get(key)
        if state is None or state.bucket is None or state.limit.rate is None:
            return now_ms
        return state.bucket.next_ms(state.limit.rate, now_ms)

    def rows(self) -> Iterator[LimitRow]:
        """Yield all keys that have a limit, by their texts."""
        for key in sorted(self._keys):
            state = self._keys[key]
            if state.limit != NO_LIMIT:
                bucket = state.bucket or Bucket(0, 0)
                yield LimitRow(key, state.limit, bucket.level, bucket.at_ms, state.wake_ms)

    def restore(self, rows: Iterable[LimitRow]) -> None:
        """Enter rows of a dump, after the leased and parked tasks."""
        for row in rows:
            state = self._state(row.key)
            state.limit = row.limit
            if row.limit.rate is not None:
                state.bucket = Bucket(row.level, row.level_at_ms)
            self._wake_at(row.key, state, row.wake_ms)
            self._set += 1
