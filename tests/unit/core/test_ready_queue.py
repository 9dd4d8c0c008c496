"""The order of a queue's ready tasks, against a slow model, and what a dump keeps of it."""

from itertools import pairwise
from random import Random

import msgspec
import pytest

from raftq.core.ready_queue import LinePart, ReadyQueue
from raftq.protocol.options import QueueSettings


class World:
    """A queue and the instants at which its tasks became ready."""

    def __init__(self, ageing_ms: int, weights: dict[str, int] | None = None) -> None:
        self.ready_at: dict[int, int] = {}
        self.asked = 0
        self.settings = QueueSettings(ageing_ms=ageing_ms, fair_weights=weights or {})
        self.queue = self.new_queue()

    def new_queue(self) -> ReadyQueue:
        queue = ReadyQueue("q", 0, self._ready_at)
        queue.set(self.settings)
        return queue

    def _ready_at(self, sequence: int) -> int:
        self.asked += 1
        return self.ready_at[sequence]

    def add(self, sequence: int, priority: int, at_ms: int, fair_key: str = "") -> None:
        self.ready_at[sequence] = at_ms
        self.queue.push_back(sequence, priority, 1, fair_key)

    def take_all(self) -> list[int]:
        return [self.queue.pop() for _ in range(self.queue.ready)]


def _restored(world: World) -> ReadyQueue:
    """Return another queue, as a dump would make it."""
    other = world.new_queue()
    for part in world.queue.parts():
        raw = msgspec.msgpack.encode(part)
        other.restore_part(msgspec.msgpack.decode(raw, type=LinePart))
    return other


class SlowQueue:
    """Lists of each priority, without fair keys."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.returned: dict[int, list[int]] = {priority: [] for priority in range(10)}
        self.waiting: dict[int, list[int]] = {priority: [] for priority in range(10)}

    def line(self, priority: int) -> list[int]:
        return sorted(self.returned[priority]) + self.waiting[priority]

    def all(self) -> list[tuple[int, int]]:
        return [(each, priority) for priority in range(10) for each in self.line(priority)]

    def first(self) -> tuple[int, int]:
        """Return sequence and priority."""
        fronts = [
            (self.line(priority)[0], priority) for priority in range(10) if self.line(priority)
        ]
        ageing_ms = self.world.settings.ageing_ms
        ready_at = self.world.ready_at
        if not ageing_ms:
            return fronts[0]
        return min(fronts, key=lambda each: (ready_at[each[0]] + each[1] * ageing_ms, each[1]))

    def remove(self, sequence: int, priority: int) -> None:
        returned = self.returned[priority]
        (returned if sequence in returned else self.waiting[priority]).remove(sequence)


@pytest.mark.parametrize("priorities", [1, 3, 10])
@pytest.mark.parametrize("ageing_ms", [0, 1, 50, 10**9])
@pytest.mark.parametrize("seed", range(2))
def test_it_gives_out_as_the_slow_one_does(seed: int, ageing_ms: int, priorities: int) -> None:
    random, world = Random(seed), World(ageing_ms)
    model, gone = SlowQueue(world), dict[int, int]()
    for sequence in range(1, 2_500):
        match random.randrange(7):
            case 0 | 1:
                priority = random.randrange(priorities)
                world.add(sequence, priority, sequence // 2)
                model.waiting[priority].append(sequence)
            case 2 if gone:
                back, priority = gone.popitem()
                world.queue.push_front(back, priority)
                model.returned[priority].append(back)
            case 3 if model.all():
                some, priority = random.choice(model.all())
                world.queue.remove(some, priority)
                model.remove(some, priority)
                gone[some] = priority
            case 4 if random.randrange(20) == 0:
                world.settings = QueueSettings(ageing_ms=random.choice((0, ageing_ms, 7)))
                world.queue.set(world.settings)
            case _ if model.all():
                for _ in range(min(random.choice((1, 1, 4)), len(model.all()))):
                    first, priority = model.first()
                    assert random.randrange(2) or world.queue.first() == first
                    assert world.queue.pop() == first
                    model.remove(first, priority)
                    gone[first] = priority
            case _:
                assert world.queue.first() == 0
        assert world.queue.ready == len(model.all())
        if sequence % 100 == 0:
            queue = world.queue
            assert sorted(queue) == sorted([*queue.returned(), *queue.waiting()])
            assert sorted(queue) == sorted(each for each, _ in model.all())
            restored = _restored(world)
            order = list(queue)
            assert order == list(restored)
            assert list(restored.parts()) == list(queue.parts())
            if seed:
                world.queue = restored
    order = list(world.queue)
    assert order == world.take_all()


@pytest.mark.parametrize("ageing_ms", [0, 3, 200])
@pytest.mark.parametrize("seed", range(4))
def test_a_dump_keeps_the_order_of_fair_keys(seed: int, ageing_ms: int) -> None:
    random, world = Random(seed), World(ageing_ms, {"b": 3, "c": 2})
    queue = world.queue
    gone: dict[int, tuple[int, str]] = {}
    there: dict[int, tuple[int, str]] = {}
    for sequence in range(1, 1_500):
        match random.randrange(6):
            case 0 | 1:
                place = (random.randrange(3), random.choice(("", "a", "b", "c", "d")))
                world.add(sequence, place[0], sequence, place[1])
                there[sequence] = place
            case 2 if gone:
                back, place = gone.popitem()
                queue.push_front(back, *place)
                there[back] = place
            case 3 if there:
                some = random.choice(list(there))
                queue.remove(some, *there[some])
                gone[some] = there.pop(some)
            case _ if there:
                taken = queue.pop()
                gone[taken] = there.pop(taken)
            case _:
                assert queue.first() == 0
        if sequence % 20 == 0:
            restored = _restored(world)
            assert list(restored.parts()) == list(queue.parts())
            assert restored.ready == queue.ready == len(there)
            world.queue = queue = restored if seed % 2 else queue
        if sequence % 100 == 0:
            order = list(queue)
            other = _restored(world)
            assert order == [other.pop() for _ in range(other.ready)]
            # What comes next is treated alike, too.
            late = sequence + 10**6
            for each in (queue, other := _restored(world)):
                world.ready_at[late] = sequence
                each.push_back(late, 1, 1, "new")
            assert list(queue) == list(other)
            queue.remove(late, 1, "new")


def test_without_ageing_only_the_priority_counts() -> None:
    world = World(0)
    world.add(1, 9, 0)
    world.add(2, 0, 10**12)
    world.add(3, 5, 10**6)
    assert world.take_all() == [2, 3, 1] and not world.asked


@pytest.mark.parametrize(("late_ms", "order"), [(199, [2, 1]), (200, [2, 1]), (201, [1, 2])])
def test_a_step_of_priority_counts_as_much_as_the_ageing(late_ms: int, order: list[int]) -> None:
    world = World(100)
    world.add(1, 5, 1_000)
    world.add(2, 3, 1_000 + late_ms)
    assert world.take_all() == order


def test_a_stream_of_high_priority_starves_nothing_beyond_the_bound() -> None:
    world, low, high = World(1_000), 1, 2
    world.add(low, 9, 0)
    world.add(high, 0, high)
    while world.queue.pop() != low:
        high += 1
        world.add(high, 0, high)
    assert high == 9_001


def test_only_tasks_of_several_priorities_cost_a_look_at_their_instants() -> None:
    world = World(1_000)
    for sequence in range(1, 101):
        world.add(sequence, 5, sequence)
    world.queue.push_front(500, 5)
    assert world.take_all() == [500, *range(1, 101)]
    assert world.asked == 0
    for sequence in range(1, 101):
        world.add(sequence, 5, sequence)
    world.add(1_000, 6, 2_000)
    world.take_all()
    assert world.asked <= 103, "each task that comes to the front is looked at once"
    for sequence in range(1, 101):
        world.add(sequence, 5, sequence)
    asked = world.asked
    world.take_all()
    assert world.asked == asked


def test_another_ageing_counts_at_once() -> None:
    world = World(0)
    world.add(1, 9, 0)
    world.add(2, 0, 500)
    assert world.queue.first() == 2
    world.queue.set(QueueSettings(ageing_ms=1))
    assert world.queue.first() == 1


def test_a_weight_changed_in_the_settings_counts_at_once() -> None:
    world = World(0)
    for sequence in range(1, 201):
        world.add(sequence, 5, 0, "ab"[sequence % 2])
    world.queue.set(QueueSettings(ageing_ms=0, fair_weights={"a": 3}))
    taken = [world.queue.pop() for _ in range(40)]
    assert abs(sum(each % 2 == 0 for each in taken) - 30) <= 1


def test_tasks_before_the_first_fair_key_stay_in_line() -> None:
    world = World(0)
    for sequence in (1, 2, 3):
        world.add(sequence, 5, 0)
    world.queue.push_front(9, 5)
    world.add(4, 5, 0, "k")
    world.add(5, 5, 0, "k")
    assert world.take_all() == [9, 4, 1, 5, 2, 3]


def test_a_line_whose_fair_keys_are_gone_is_like_a_new_one() -> None:
    world = World(0)
    world.add(1, 5, 0, "k")
    world.add(2, 5, 0, "k")
    world.take_all()
    fresh = World(0)
    for each in (world, fresh):
        each.add(3, 5, 0)
        each.add(4, 5, 0)
        each.queue.pop()
        each.add(5, 5, 0, "a")
    assert list(world.queue.parts()) == list(fresh.queue.parts())
    assert list(world.queue) == list(fresh.queue) == [4, 5]


def test_a_long_line_is_dumped_in_parts_of_bounded_length() -> None:
    world = World(0)
    world.queue.push_back(1, 5, 50_000)
    parts = list(world.queue.parts())
    assert [len(part.sequences) for part in parts] == [20_000, 20_000, 10_000]
    assert list(_restored(world)) == list(range(1, 50_001))


def test_a_dump_of_what_cannot_be_is_refused() -> None:
    for part in (LinePart(10, False, [1]), LinePart(5, False, [0]), LinePart(5, False, [2**60])):
        raw = msgspec.msgpack.encode(part)
        with pytest.raises(msgspec.ValidationError):
            msgspec.msgpack.decode(raw, type=LinePart)


def test_taking_from_an_empty_queue_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="empty queue"):
        World(0).queue.pop()


@pytest.mark.parametrize("ageing_ms", [0, 1, 1_000])
def test_ranks_of_what_is_given_out_never_go_back_while_nothing_comes(ageing_ms: int) -> None:
    random, world = Random(2), World(ageing_ms)
    priority_of = dict[int, int]()
    for sequence in range(1, 500):
        priority_of[sequence] = random.randrange(10)
        world.add(sequence, priority_of[sequence], sequence)
    ranks = [
        (each * bool(ageing_ms) + priority_of[each] * max(ageing_ms, 1), priority_of[each])
        for each in world.take_all()
    ]
    assert all(before <= after for before, after in pairwise(ranks))
