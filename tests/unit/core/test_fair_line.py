"""Fair lines, against a slow model with fractions and lists."""

from collections import Counter
from itertools import groupby
from random import Random

import pytest

from raftq.core.fair_line import FairLine
from raftq.core.sequences import Line


class SlowFairLine:
    """Virtual times of all keys ever seen, and lists. The lead of an absent key never expires
    here: that it is forgotten when the present has caught up must make no difference."""

    def __init__(self, weights: dict[str, int]) -> None:
        self.weights = weights
        self.returned: dict[str, list[int]] = {}
        self.waiting: dict[str, list[int]] = {}
        self.virtual: dict[str, int] = {}
        self.present = 0

    def of(self, key: str) -> list[int]:
        return sorted(self.returned.get(key, [])) + self.waiting.get(key, [])

    def in_line(self) -> list[str]:
        return sorted(key for key in self.virtual if self.of(key))

    def add(self, key: str, sequences: list[int], *, came_back: bool) -> None:
        if not self.of(key):
            self.virtual[key] = max(self.present, self.virtual.get(key, 0))
        (self.returned if came_back else self.waiting).setdefault(key, []).extend(sequences)

    def remove(self, key: str, sequence: int) -> None:
        returned = self.returned.get(key, [])
        (returned if sequence in returned else self.waiting[key]).remove(sequence)
        if not self.in_line():
            self.virtual.clear()
            self.present = 0

    def pop(self) -> tuple[str, int]:
        key = min(self.in_line(), key=lambda each: (self.virtual[each], each))
        sequence = self.of(key)[0]
        self.present = self.virtual[key]
        self.virtual[key] += 1_000_000 // self.weights.get(key, 1)
        self.remove(key, sequence)
        return key, sequence


@pytest.mark.parametrize("seed", range(8))
def test_it_gives_out_as_the_slow_one_does(seed: int) -> None:
    random = Random(seed)
    weights: dict[str, int] = {}
    line, model = FairLine(lambda: weights), SlowFairLine(weights)
    gone: dict[int, str] = {}
    keys = ["", *"abcdefgh"[: 1 + seed]]
    sequence = 1
    for step in range(3_000):
        match random.randrange(8):
            case 0 | 1:
                key, count = random.choice(keys), random.choice((1, 1, 5))
                line.append(sequence, count, key)
                model.add(key, list(range(sequence, sequence + count)), came_back=False)
                sequence += count
            case 2 if gone:
                back, key = gone.popitem()
                line.put_back(back, key)
                model.add(key, [back], came_back=True)
            case 3 if model.in_line():
                key = random.choice(model.in_line())
                some = random.choice(model.of(key))
                line.remove(some, key)
                model.remove(key, some)
                gone[some] = key
            case 4:
                weights[random.choice(keys)] = random.choice((1, 2, 3, 1_000))
            case _ if model.in_line():
                first = line.first()
                key, taken = model.pop()
                assert first == line.pop() == taken
                gone[taken] = key
            case _:
                assert line.first() == line.pop() == 0
        if step % 100 == 0:
            assert len(line) == sum(len(model.of(key)) for key in model.in_line())
            assert [*line.returned()] == [
                each for key in model.in_line() for each in sorted(model.returned.get(key, []))
            ]
            assert [*line.waiting()] == [
                each for key in model.in_line() for each in model.waiting.get(key, [])
            ]
            order = list(line)
            restored = _restored(line, weights)
            assert order == list(restored)
            line = restored if seed % 2 else line


def _restored(line: FairLine, weights: dict[str, int]) -> FairLine:
    """Return another one, as a dump would make it."""
    other = FairLine(lambda: weights)
    for key, virtual in line.virtual_times():
        other.restore_time(line.present, key, virtual)
        part = line.part(key)
        for sequence in part.returned() if part else ():
            other.put_back(sequence, key)
        for sequence in part.waiting() if part else ():
            other.append(sequence, 1, key)
    assert other.virtual_times() == line.virtual_times() and other.present == line.present
    return other


def _filled(weights: dict[str, int], tasks: dict[str, int]) -> FairLine:
    """Return a line in which each key has so many tasks: 1000s of the first, 2000s…"""
    line = FairLine(lambda: weights)
    for number, (key, count) in enumerate(tasks.items(), 1):
        line.append(number * 100_000, count, key)
    return line


def _taken(line: FairLine, count: int) -> list[int]:
    """Take tasks, and return the numbers of their keys."""
    return [line.pop() // 100_000 for _ in range(count)]


def test_a_key_with_many_tasks_does_not_hold_up_one_with_few() -> None:
    line = _filled({}, {"a": 10_000, "b": 3})
    assert _taken(line, 6) == [1, 2, 1, 2, 1, 2]


def test_each_key_gets_its_share_by_weight_at_any_time() -> None:
    line = _filled({"b": 2, "c": 5}, {"a": 9_000, "b": 9_000, "c": 9_000})
    for _ in range(200):
        counts = Counter(_taken(line, 8))
        assert abs(counts[1] - 1) <= 1 and abs(counts[2] - 2) <= 1 and abs(counts[3] - 5) <= 1


def test_a_weight_that_is_changed_counts_from_the_next_task_on() -> None:
    weights: dict[str, int] = {}
    line = _filled(weights, {"a": 9_000, "b": 9_000})
    assert Counter(_taken(line, 1_000))[2] == 500
    weights["b"] = 3
    assert abs(Counter(_taken(line, 1_000))[2] - 750) <= 1


def test_a_key_that_joins_late_makes_up_for_nothing() -> None:
    line = _filled({}, {"a": 9_000, "b": 9_000})
    _taken(line, 4_000)
    line.append(300_000, 9_000, "c")
    counts = Counter(_taken(line, 300))
    assert abs(counts[3] - 100) <= 1


def test_leaving_and_coming_back_at_once_gains_nothing() -> None:
    line = _filled({}, {"a": 9_000})
    taken = list[int]()
    for sequence in range(200_000, 200_300):
        line.append(sequence, 1, "b")  # It never has more than this one.
        while sequence not in taken:
            taken.append(line.pop())
    longest = max(
        len(list(run)) for is_b, run in groupby(each >= 200_000 for each in taken) if is_b
    )
    assert longest <= 2 and len(taken) >= 2 * 300 - 2


def test_a_light_key_that_leaves_and_comes_back_still_waits_its_turn() -> None:
    line = _filled({"a": 1_000}, {"a": 9_000, "b": 1})
    assert Counter(_taken(line, 3)) == {1: 2, 2: 1}
    line.append(200_001, 1, "b")
    assert Counter(_taken(line, 990)) == {1: 990}


def test_taking_a_task_out_is_not_counted_against_its_key() -> None:
    line = _filled({}, {"a": 10, "b": 10})
    for sequence in range(100_000, 100_005):
        line.remove(sequence, "a")
    assert _taken(line, 4) == [1, 2, 1, 2]


def test_tasks_that_were_there_before_the_first_key_have_the_empty_one() -> None:
    plain = Line()
    plain.append(5, 2)
    plain.put_back(9)
    line = FairLine(lambda: {}, plain)
    line.append(20, 2, "k")
    assert list(line) == [9, 20, 5, 21, 6]


def test_an_empty_line_is_like_a_new_one() -> None:
    line = _filled({}, {"a": 3, "b": 1})
    assert not line.is_blank()
    _taken(line, 4)
    assert line.is_blank() and line.present == 0 and line.virtual_times() == []
    line.append(7, 1, "b")
    line.append(8, 1, "a")
    assert list(line) == [8, 7]


def test_what_a_line_holds_follows_the_keys_that_have_tasks() -> None:
    line = FairLine(lambda: {})
    line.append(10**6, 1, "slow")
    for sequence in range(1, 20_001):
        line.append(sequence, 1, f"key {sequence}")
    assert len(line.virtual_times()) == 20_001
    for _ in range(20_000):
        assert line.pop() != 10**6
    assert len(line.virtual_times()) <= 1_002
    for sequence in range(30_000, 50_000):
        line.append(sequence, 1, f"key {sequence}")
        line.remove(sequence, f"key {sequence}")
    held = line._heap, line._absent_heap, line._shares  # pyright: ignore[reportPrivateUsage]
    assert sum(map(len, held)) <= 5_000
    assert line.pop() == 10**6


def test_a_key_that_leaves_and_comes_back_often_leaves_nothing_behind() -> None:
    line = _filled({}, {"a": 9_000, "b": 1, "c": 1})
    _taken(line, 3)  # Both are away and ahead of the present; b comes and goes.
    for sequence in range(500_000, 510_000):
        line.append(sequence, 1, "b")
        line.remove(sequence, "b")
    assert len(line._absent_heap) <= 1_100  # pyright: ignore[reportPrivateUsage]
    assert [key for key, _ in line.virtual_times()] == ["a", "b", "c"]
