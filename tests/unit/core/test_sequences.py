"""Lines and instants in compact form, against lists."""

from heapq import heappop, heappush
from random import Random

import pytest

from raftq.core.id_table import SEQUENCE_MAX
from raftq.core.sequences import Line, Starts


@pytest.mark.parametrize("seed", range(10))
def test_a_line_gives_out_what_was_put_in_and_what_came_back_first(seed: int) -> None:
    random, line = Random(seed), Line()
    waiting: list[int] = []
    returned: list[int] = []
    sequence = 1
    for _ in range(6_000):
        match random.randrange(5):
            case 0 | 1:
                sequence += random.choice((0, 0, 1, 7))
                count = random.choice((1, 1, 2, 100))
                line.append(sequence, count)
                waiting += range(sequence, sequence + count)
                sequence += count
            case 2 if waiting:
                heappush(returned, back := random.choice(waiting) + 10**9)
                line.put_back(back)
            case _:
                for _ in range(random.choice((1, 1, 60))):
                    expected = returned[0] if returned else waiting[0] if waiting else 0
                    assert line.first() == expected
                    if expected:
                        taken = heappop(returned) if returned else waiting.pop(0)
                        assert line.pop() == taken
    assert list(line.waiting()) == waiting
    assert line.returned() == sorted(returned)


@pytest.mark.parametrize("count", [65_535, 65_536, 200_000])
def test_a_run_longer_than_one_number_tells_loses_nothing(count: int) -> None:
    line = Line()
    line.append(5, count)
    line.append(5 + count, 3)
    assert list(line.waiting()) == list(range(5, 5 + count + 3))


def test_a_line_of_a_million_consecutive_sequences_holds_a_few_numbers() -> None:
    line = Line()
    for first in range(1, 1_000_000, 100):
        line.append(first, 100)
    blocks = line._blocks  # pyright: ignore[reportPrivateUsage]
    assert sum(map(len, blocks)) <= 1_000_000 // 2**15
    assert list(line.waiting()) == list(range(1, 1_000_001))


def test_a_line_that_is_used_up_holds_nothing() -> None:
    line = Line()
    for sequence in range(1, 20_000, 2):
        line.append(sequence, 1)
    for sequence in range(1, 20_000, 2):
        assert line.pop() == sequence
    assert line._blocks == [] and line.first() == 0  # pyright: ignore[reportPrivateUsage]


def test_the_last_sequence_fits_into_a_line_and_into_the_starts() -> None:
    line, starts = Line(), Starts()
    line.append(SEQUENCE_MAX, 1)
    starts.add(2**53, SEQUENCE_MAX)
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
