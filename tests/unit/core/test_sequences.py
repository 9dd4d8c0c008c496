"""Lines and instants in compact form, against lists."""

from random import Random

import pytest

from raftq.core.id_table import SEQUENCE_MAX
from raftq.core.sequences import Line, Starts


class ListedLine:
    """A line as two lists."""

    def __init__(self) -> None:
        self.returned: list[int] = []
        self.waiting: list[int] = []

    def all(self) -> list[int]:
        return sorted(self.returned) + self.waiting

    def remove(self, sequence: int) -> None:
        (self.returned if sequence in self.returned else self.waiting).remove(sequence)


def _assert_equal(line: Line, model: ListedLine) -> None:
    assert line.returned() == sorted(model.returned)
    assert list(line.waiting()) == model.waiting
    assert list(line) == model.all()
    assert len(line) == len(model.all())


@pytest.mark.parametrize("removing", [0, 1, 4, 12])
@pytest.mark.parametrize("seed", range(6))
def test_a_line_gives_out_what_is_in_it_and_what_came_back_first(seed: int, removing: int) -> None:
    random, line, model = Random(seed), Line(), ListedLine()
    gone: list[int] = []
    sequence = 1
    for step in range(4_000):
        match random.randrange(6 + removing):
            case 0 | 1:
                sequence += random.choice((0, 0, 1, 7))
                count = random.choice((1, 1, 2, 40))
                line.append(sequence, count)
                model.waiting += range(sequence, sequence + count)
                sequence += count
            case 2 if gone:
                back = gone.pop(random.randrange(len(gone)))
                line.put_back(back)
                model.returned.append(back)
            case 3 if gone:  # Also one that was taken out of the middle before.
                again = gone.pop(random.randrange(len(gone)))
                line.append(again, 1)
                model.waiting.append(again)
            case 4 | 5:
                for expected in model.all()[: random.choice((1, 1, 30))]:
                    assert line.first() == expected == line.pop()
                    model.remove(expected)
                    gone.append(expected)
            case _ if model.all():
                some = random.choice(random.choice((model.all(), model.all()[:3])))
                line.remove(some)
                model.remove(some)
                gone.append(some)
            case _:
                assert line.first() == (model.all() or [0])[0]
        if step % 50 == 0:
            _assert_equal(line, model)
    _assert_equal(line, model)


@pytest.mark.parametrize("ways", [("append",), ("put_back",), ("append", "put_back")])
def test_a_task_that_goes_and_comes_again_and_again_has_its_newest_place(
    ways: tuple[str, ...],
) -> None:
    random, line, model = Random(3), Line(), ListedLine()
    for _ in range(3_000):
        sequence = random.randrange(1, 12)
        if sequence in model.all():
            line.remove(sequence)
            model.remove(sequence)
        elif random.choice(ways) == "append":
            line.append(sequence, 1)
            model.waiting.append(sequence)
        else:
            line.put_back(sequence)
            model.returned.append(sequence)
        _assert_equal(line, model)
        assert line.first() == (model.all() or [0])[0]


@pytest.mark.parametrize("count", [65_535, 65_536, 200_000])
def test_a_run_longer_than_one_number_tells_loses_nothing(count: int) -> None:
    line = Line()
    line.append(1, 1)
    line.append(5, count)
    line.append(5 + count, 3)
    assert list(line.waiting()) == [1, *range(5, 5 + count + 3)]


def _numbers_held(line: Line) -> int:
    """Return how many numbers it holds in all."""
    marks = line._marks or {}  # pyright: ignore[reportPrivateUsage]
    returned = line._returned  # pyright: ignore[reportPrivateUsage]
    blocks = line._blocks  # pyright: ignore[reportPrivateUsage]
    came_back = 0 if returned is None else len(returned.heap) + len(returned.members)
    return sum(map(len, blocks)) + len(marks) + came_back


def test_a_line_of_a_million_consecutive_sequences_holds_a_few_numbers() -> None:
    line = Line()
    line.append(2_000_000, 1)
    for first in range(1, 1_000_000, 100):
        line.append(first, 100)
    assert _numbers_held(line) <= 1_000_000 // 2**15
    assert list(line.waiting()) == [2_000_000, *range(1, 1_000_001)]


def test_a_line_that_is_used_up_holds_nothing() -> None:
    line = Line()
    for sequence in range(1, 20_000, 2):
        line.append(sequence, 1)
    for sequence in range(1, 20_000, 2):
        assert line.pop() == sequence
    assert _numbers_held(line) == 0 and line.first() == line.pop() == 0


@pytest.mark.parametrize("add", ["append", "put_back"])
@pytest.mark.parametrize("goes", ["removed", "taken", "both"])
def test_what_a_line_holds_follows_what_is_in_it(add: str, goes: str) -> None:
    random, line = Random(1), Line()
    for sequence in range(1, 20_000):
        if add == "append":
            line.append(sequence, 1)
        else:
            line.put_back(sequence)
    live = list(range(1, 20_000))
    if goes == "both":  # The marks are behind all that is taken.
        for sequence in live[10_000:]:
            line.remove(sequence)
        del live[10_000:]
    elif goes == "removed":
        random.shuffle(live)
    while live:
        if goes == "removed":
            line.remove(live.pop())
        else:
            assert line.pop() == live.pop(0)
        assert _numbers_held(line) <= 3 * len(live) + 3_100
    assert _numbers_held(line) == 0


def test_removing_what_is_not_in_line_is_a_bug() -> None:
    line = Line()
    with pytest.raises(AssertionError, match="task 7 is not in line"):
        line.remove(7)


def test_the_last_sequence_fits_into_a_line_and_into_the_starts() -> None:
    line, starts = Line(), Starts()
    line.append(1, 1)
    line.append(SEQUENCE_MAX, 1)
    starts.add(2**53, SEQUENCE_MAX)
    assert line.pop() == 1
    assert line.pop() == starts.pop_due(2**53) == SEQUENCE_MAX


def test_tasks_start_by_instant_and_then_by_sequence() -> None:
    random, starts = Random(5), Starts()
    entries = [(random.randrange(50), sequence) for sequence in range(1, 500)]
    for at_ms, sequence in random.sample(entries, len(entries)):
        starts.add(at_ms, sequence)
    assert sorted(starts) == [sequence for _, sequence in entries]
    for at_ms, sequence in sorted(entries):
        assert starts.next_ms() == at_ms
        assert starts.pop_due(at_ms - 1) == 0
        assert starts.pop_due(at_ms) == sequence
    assert len(starts) == 0 and starts.next_ms() is None and starts.pop_due(2**60) == 0


@pytest.mark.parametrize("seed", range(6))
def test_a_task_taken_out_of_the_starts_does_not_start(seed: int) -> None:
    random, starts = Random(seed), Starts()
    entries: set[tuple[int, int]] = set()
    for _ in range(6_000):
        entry = (random.randrange(1, 40), random.randrange(1, 60))
        if entry in entries:
            starts.remove(*entry)
            entries.remove(entry)
        elif random.randrange(10):
            starts.add(*entry)
            entries.add(entry)
        elif entries:
            first = min(entries)
            assert starts.pop_due(first[0]) == first[1]
            entries.remove(first)
        assert len(starts) == len(entries)
        assert starts.next_ms() == (min(entries)[0] if entries else None)
    assert sorted(starts) == sorted(sequence for _, sequence in entries)


def test_a_cancelled_start_is_not_held_until_its_instant() -> None:
    starts = Starts()
    for sequence in range(1, 20_001):
        starts.add(1_000 + sequence, sequence)
    for sequence in range(20_000, 1, -1):
        starts.remove(1_000 + sequence, sequence)
        heap = starts._heap  # pyright: ignore[reportPrivateUsage]
        held = len(heap._heap) + len(heap._removed)  # pyright: ignore[reportPrivateUsage]
        assert held <= 3 * len(starts) + 3_000
    assert list(starts) == [1]
