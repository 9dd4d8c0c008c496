"""How samples of several rounds become figures, and figures of two runs become ratios."""

import pytest
from tests.support.bench_records import record

from raftq.cli.bench.compare import changes, differences
from raftq.cli.bench.curves import Point
from raftq.cli.bench.figures import Figure, Pick, Sample, gather, percentile
from raftq.cli.bench.measure import merged_points
from raftq.cli.bench.record import Record


def test_a_figure_is_the_median_of_its_rounds() -> None:
    (figure,) = gather(Sample("case", "rate", "/s", value) for value in (1.0, 50.0, 2.0))
    assert (figure.value, figure.values) == (2.0, [1.0, 50.0, 2.0])


@pytest.mark.parametrize(("unit", "worst"), [("ms", 9.0), ("/s", 1.0)])
def test_the_worst_is_the_greatest_of_times_and_the_least_of_rates(unit: str, worst: float) -> None:
    assert Figure("case", "what", unit, Pick.WORST, [3.0, 9.0, 1.0]).value == worst


def test_figures_keep_the_order_in_which_they_came_and_are_not_mixed() -> None:
    samples = [Sample(case, "rate", "/s", 1.0) for case in ("b", "a", "b")]
    samples.append(Sample("a", "p50", "ms", 2.0))
    figures = gather(samples)
    assert [(each.case, each.what, len(each.values)) for each in figures] == [
        ("b", "rate", 2),
        ("a", "rate", 1),
        ("a", "p50", 1),
    ]


@pytest.mark.parametrize(("percent", "expected"), [(50, 51), (99, 100), (0, 1), (100, 100)])
def test_a_percentile_is_a_value_that_was_measured(percent: int, expected: int) -> None:
    assert percentile([float(each) for each in range(100, 0, -1)], percent) == expected


def test_points_of_several_rounds_are_merged_where_they_are() -> None:
    rounds = [[Point(1, 10, 1, 5), Point(2, 20)], [Point(1, 30, 3, 7), Point(2, 40), Point(3, 5)]]
    assert merged_points(rounds) == [Point(1, 20, 2, 6), Point(2, 30), Point(3, 5)]


# ---------------------------------------------------------------- two runs


def test_a_ratio_is_now_through_then() -> None:
    found = changes(record(rate=60_000), record(rate=40_000))
    assert [(each.figure.what, each.old, each.ratio) for each in found] == [
        ("rate", 40_000, 1.5),
        ("CPU, leader", 12.0, 1.0),
        ("gap, worst", 80.0, 1.0),
    ]


@pytest.mark.parametrize(
    ("new", "verdicts"),
    [
        (record(rate=50_000, gap=100), ["better", "", "worse"]),
        (record(rate=30_000, gap=40), ["worse", "", "better"]),
        (record(rate=41_000, gap=79), ["", "", ""]),
    ],
)
def test_more_is_better_of_rates_and_worse_of_times(new: Record, verdicts: list[str]) -> None:
    assert [each.verdict for each in changes(new, record())] == verdicts


def test_what_only_one_run_has_is_not_compared() -> None:
    old = record()
    del old.figures[0]
    assert [each.figure.what for each in changes(record(), old)] == ["CPU, leader", "gap, worst"]


def test_nothing_then_gives_no_ratio() -> None:
    old = record()
    old.figures[0].values[:] = [0.0]
    first = changes(record(), old)[0]
    assert (first.ratio, first.verdict, first.json()["ratio"]) == (None, "", None)


def test_other_machines_and_settings_are_named() -> None:
    new, old = record(cores=8), record()
    assert differences(record(), old) == []
    assert differences(Record(new.machine, {"nodes": 5}, []), old) == [
        "cores was 2, is 8",
        "nodes was 3, is 5",
        "rounds was 3, is None",
    ]
