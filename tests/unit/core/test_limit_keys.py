"""Limit keys with an owner that does with them what the machine does."""

from collections import deque
from random import Random

import msgspec
import pytest

from raftq.core.limit_keys import NO_LIMIT, LimitKeys, LimitRow
from raftq.protocol import limits
from raftq.protocol.options import KeyLimit, Rate

QUEUES = ("x", "y", "z")


class Owner:
    """Tasks of one limit key in several queues; every change is checked."""

    def __init__(self, limit: KeyLimit = NO_LIMIT, key: str = "k") -> None:
        self.keys = LimitKeys()
        self.key = key
        self.now_ms = 1_000
        self.limit = NO_LIMIT
        self.ready: dict[str, list[int]] = {queue: [] for queue in QUEUES}
        self.parked: dict[int, tuple[str, int]] = {}
        """Queue and priority."""
        self.leased: list[int] = []
        self.starts: list[int] = []
        self.sequence = 0
        self.set(limit)

    def _make_ready(self, sequences: list[int]) -> None:
        for sequence in sequences:
            queue, priority = self.parked.pop(sequence)
            others = [p for each, (q, p) in self.parked.items() if q == queue and each < sequence]
            assert all(p > priority for p in others), "not the first of its queue"
            self.ready[queue].append(sequence)

    def enqueue(self, queue: str, count: int = 1) -> None:
        for _ in range(count):
            self.sequence += 1
            self.ready[queue].append(self.sequence)

    def lease(self, queue: str) -> bool:
        """Try the first ready task of a queue; tell whether it was leased."""
        if not self.ready[queue]:
            return False
        sequence = self.ready[queue].pop(0)
        if not self.keys.admits(self.key, self.now_ms):
            priority = sequence % 3
            self.keys.park(self.key, queue, priority, sequence, self.now_ms)
            self.parked[sequence] = (queue, priority)
            return False
        self.keys.take(self.key, self.now_ms)
        self._make_ready(self.keys.unpark_next(self.key, queue, self.now_ms))
        self.leased.append(sequence)
        self.starts.append(self.now_ms)
        return True

    def lease_all(self) -> int:
        """Let workers of all queues try as long as they get something to try."""
        count = 0
        while any(self.ready.values()):
            count += sum(self.lease(queue) for queue in QUEUES)
        return count

    def end_lease(self, at: int = 0) -> None:
        self.leased.pop(at)
        self.keys.release(self.key)
        self._make_ready(self.keys.unpark(self.key, self.now_ms))

    def cancel_ready(self, queue: str, at: int) -> None:
        self.ready[queue].pop(at)
        self._make_ready(self.keys.unpark_next(self.key, queue, self.now_ms))

    def cancel_parked(self, sequence: int) -> None:
        queue, priority = self.parked.pop(sequence)
        self.keys.remove_parked(self.key, queue, priority, sequence)

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        while (key := self.keys.due(self.now_ms)) is not None:
            self._make_ready(self.keys.unpark(key, self.now_ms))

    def set(self, limit: KeyLimit) -> None:
        assert self.keys.set(self.key, limit, self.now_ms) == (limit != self.limit)
        self.limit = limit
        self._make_ready(self.keys.unpark_free(self.key, self.now_ms))

    def restart(self) -> None:
        """Go on with what a dump keeps."""
        restored = LimitKeys()
        for sequence, (queue, priority) in reversed(self.parked.items()):
            restored.park(self.key, queue, priority, sequence, self.now_ms)
        for _ in self.leased:
            restored.count_leased(self.key)
        rows = [msgspec.msgpack.encode(row) for row in self.keys.rows()]
        restored.restore(msgspec.msgpack.decode(row, type=LimitRow) for row in rows)
        assert restored.statuses() == self.keys.statuses()
        assert list(restored.rows()) == list(self.keys.rows())
        assert restored.next_ms() == self.keys.next_ms()
        self.keys = restored

    def check(self) -> None:
        status = self.keys.status(self.key)
        assert (status.limit, status.leased, status.parked) == (
            self.limit,
            len(self.leased),
            len(self.parked),
        )
        is_used = bool(self.leased or self.parked or self.limit != NO_LIMIT)
        assert self.keys.statuses() == ([status] if is_used else [])
        waits = {queue for queue, _ in self.parked.values()}
        if not waits:
            assert self.keys.next_ms() is None
        elif self.keys.admits(self.key, self.now_ms):
            assert all(self.ready[queue] for queue in waits), "a parked task is forgotten"
        else:
            cap = self.limit.concurrency
            is_full = cap is not None and len(self.leased) >= cap
            next_ms = self.keys.next_token_ms(self.key, self.now_ms)
            assert is_full or self.keys.next_ms() == next_ms > self.now_ms, "no wake is armed"


def _some_limit(random: Random) -> KeyLimit:
    cap = random.choice((None, None, 1, 2, 5))
    rate = Rate(
        count=random.choice((1, 7)), per_ms=random.choice((10, 99)), burst=random.choice((1, 3))
    )
    return KeyLimit(concurrency=cap, rate=random.choice((None, rate)))


def _do_something(owner: Owner, random: Random, *, sets_limits: bool) -> None:
    queue = random.choice(QUEUES)
    match random.randrange(20):
        case 0 | 1 | 2 | 3:
            owner.enqueue(queue, random.choice((1, 1, 4)))
        case 4 | 5 | 6 | 7 | 8 | 9 | 10:
            owner.lease(queue)
        case 11 | 12 if owner.leased:
            owner.end_lease(random.randrange(len(owner.leased)))
        case 13 if owner.ready[queue]:
            owner.cancel_ready(queue, random.randrange(len(owner.ready[queue])))
        case 14 if owner.parked:
            owner.cancel_parked(random.choice(list(owner.parked)))
        case 15 if sets_limits and random.randrange(4) == 0:
            owner.set(_some_limit(random))
        case 16 if random.randrange(4) == 0:
            owner.restart()
        case _:
            owner.pass_time(random.choice((0, 1, 1, 3, 20)))


@pytest.mark.parametrize("seed", range(40))
def test_no_parked_task_is_ever_forgotten(seed: int) -> None:
    random = Random(seed)
    owner = Owner(_some_limit(random))
    for _ in range(1_500):
        _do_something(owner, random, sets_limits=True)
        owner.check()
    while owner.leased or owner.parked or any(owner.ready.values()):
        owner.lease_all()
        while owner.leased:
            owner.end_lease()
            owner.check()
        if (next_ms := owner.keys.next_ms()) is not None:
            owner.pass_time(next_ms - owner.now_ms)
        owner.check()
    owner.set(NO_LIMIT)
    assert owner.keys.statuses() == []


@pytest.mark.parametrize("seed", range(10))
def test_never_are_more_leased_than_the_cap_nor_faster_than_the_rate(seed: int) -> None:
    random, rate = Random(seed), Rate(count=3, per_ms=100, burst=2)
    owner = Owner(KeyLimit(concurrency=3))
    most = 0
    for _ in range(1_000):
        _do_something(owner, random, sets_limits=False)
        most = max(most, len(owner.leased))
    assert most == 3
    owner = Owner(KeyLimit(rate=rate))
    owner.enqueue("x", 200)
    while len(owner.starts) < 200:
        owner.lease_all()
        owner.pass_time(random.randrange(1, 50))
    for begin, begin_ms in enumerate(owner.starts):
        for count, at_ms in enumerate(owner.starts[begin:], 1):
            assert count <= rate.burst + rate.count * (at_ms - begin_ms + 1) // rate.per_ms


def test_a_key_without_a_limit_is_free_but_its_leases_are_counted() -> None:
    owner = Owner()
    owner.enqueue("x", 10)
    assert owner.lease_all() == 10 and owner.keys.status("k").leased == 10
    owner.set(KeyLimit(concurrency=10))
    owner.enqueue("x")
    assert owner.lease_all() == 0
    owner.end_lease()
    assert owner.lease_all() == 1


def test_when_a_lease_ends_the_first_of_each_queue_is_ready() -> None:
    owner = Owner(KeyLimit(concurrency=1))
    owner.enqueue("z", 3)
    owner.enqueue("x", 3)  # Sequences 4, 5, 6, of the priorities 1, 2, 0.
    owner.lease_all()
    assert owner.leased == [4] and not any(owner.ready.values())
    owner.end_lease()
    assert owner.ready == {"x": [6], "y": [], "z": [3]}


def test_a_cap_that_is_raised_lets_as_many_of_each_queue_on_as_became_free() -> None:
    owner = Owner(KeyLimit(concurrency=2))
    owner.enqueue("x", 10)
    owner.enqueue("y", 10)
    owner.lease_all()
    owner.set(KeyLimit(concurrency=5))
    assert [len(owner.ready[queue]) for queue in QUEUES] == [3, 3, 0]
    assert owner.lease_all() == 3
    owner.set(KeyLimit(concurrency=4))
    assert not any(owner.ready.values())


def test_a_limit_that_is_removed_lets_a_bounded_number_on_at_once_and_all_in_the_end() -> None:
    owner = Owner(KeyLimit(concurrency=1))
    count = limits.PARKED_PER_COMMAND_MAX + 500
    owner.enqueue("x", count)
    owner.lease_all()
    owner.set(NO_LIMIT)
    assert len(owner.ready["x"]) == limits.PARKED_PER_COMMAND_MAX
    assert owner.lease_all() == count - 1


def test_a_ready_task_that_is_cancelled_gives_its_turn_to_the_next() -> None:
    owner = Owner(KeyLimit(concurrency=1))
    owner.enqueue("x", 3)
    owner.lease_all()
    owner.end_lease()
    assert owner.ready["x"] == [3]
    owner.cancel_ready("x", 0)
    assert owner.ready["x"] == [2]


def test_tokens_of_a_key_wake_parked_tasks_when_they_come() -> None:
    owner = Owner(KeyLimit(rate=Rate(count=1, per_ms=100, burst=1)))
    owner.enqueue("x", 3)
    assert owner.lease_all() == 1
    assert owner.keys.next_ms() == 1_100
    owner.pass_time(99)
    assert owner.lease_all() == 0
    owner.pass_time(1)
    assert owner.lease_all() == 1 and owner.keys.next_ms() == 1_200
    owner.pass_time(10_000)
    assert owner.lease_all() == 1 and owner.keys.next_ms() is None


def test_keys_wake_in_the_order_of_their_instants_and_then_of_their_texts() -> None:
    keys, woken = LimitKeys(), deque[str]()
    for key, per_ms in (("c", 10), ("b", 10), ("a", 30)):
        keys.set(key, KeyLimit(rate=Rate(count=1, per_ms=per_ms, burst=1)), 0)
        keys.take(key, 0)
        keys.park(key, "q", 5, 1, 0)
    assert keys.next_ms() == 10
    while (due := keys.due(30)) is not None:
        woken.append(due)
        assert keys.unpark(due, 30) == [1]
    assert list(woken) == ["b", "c", "a"] and keys.next_ms() is None


def test_setting_what_is_set_changes_nothing() -> None:
    keys, limit = LimitKeys(), KeyLimit(concurrency=1)
    assert not keys.set("k", NO_LIMIT, 0)
    assert keys.set("k", limit, 0) and not keys.set("k", limit, 0)
    assert keys.is_set("k") and keys.set("k", NO_LIMIT, 0) and not keys.is_set("k")
    assert keys.statuses() == [] and list(keys.rows()) == []


def test_so_many_keys_can_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIMITS_MAX", 2)
    keys, limit = LimitKeys(), KeyLimit(concurrency=1)
    keys.set("a", limit, 0)
    keys.take("c", 0)
    assert not keys.is_full
    keys.set("b", limit, 0)
    assert keys.is_full
    restored = LimitKeys()
    restored.restore(keys.rows())
    assert restored.is_full
    keys.set("a", NO_LIMIT, 0)
    assert not keys.is_full


def test_keys_that_come_and_go_leave_nothing_behind() -> None:
    keys = LimitKeys()
    early = KeyLimit(rate=Rate(count=1, per_ms=1_000, burst=1))
    late = KeyLimit(rate=Rate(count=1, per_ms=86_400_000, burst=1))
    for sequence, (key, limit) in enumerate((("early", early), ("late", late)), 1):
        keys.set(key, limit, 0)
        keys.take(key, 0)
        keys.park(key, "q", 5, sequence, 0)
    for number in range(3, 10_000):
        key = f"key {number}"
        keys.set(key, late, 0)
        keys.take(key, 0)
        keys.park(key, "q", 5, number, 0)
        keys.remove_parked(key, "q", 5, number)
        keys.release(key)
        keys.set(key, NO_LIMIT, 0)
    assert len(keys.statuses()) == 2 and len(keys.wakes) <= 1_100
    assert [keys.due(1_000), keys.due(86_400_000)] == ["early", "late"]
    assert keys.due(2**60) is None and not keys.wakes


def test_ending_more_leases_than_began_is_a_bug() -> None:
    keys = LimitKeys()
    keys.set("k", KeyLimit(concurrency=1), 0)
    with pytest.raises(AssertionError, match="more leases of k end"):
        keys.release("k")
