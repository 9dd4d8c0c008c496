"""In which order cases and curves are measured, and how often."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from raftq.cli.bench.cases import Case
from raftq.cli.bench.curves import Curve, Point
from raftq.cli.bench.figures import Sample
from raftq.cli.bench.measure import Request, measured
from raftq.cli.bench.stage import Scale, Stage
from raftq.cli.local_cluster import LocalCluster


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace cases, curves and clusters; the list gets the names in the order of measuring."""
    found: list[str] = []

    def sample(_: Stage, name: str) -> list[Sample]:
        found.append(name)
        return [Sample(name, "rate", "/s", float(len(found)))]

    def points(_: Stage) -> Iterator[Point]:
        found.append("curve")
        yield Point(1, len(found))

    @contextmanager
    def no_stage(folder: Path, scale: Scale) -> Generator[Stage]:
        assert list(folder.iterdir()) == [], "each has a folder of its own"
        yield Stage(LocalCluster(folder / "cluster"), scale)

    cases = [
        Case("short", "", sample),
        Case("long", "", sample, is_long=True),
        Case("app", "", sample, is_framework=True),
    ]
    monkeypatch.setattr("raftq.cli.bench.measure.CASES", cases)
    monkeypatch.setattr("raftq.cli.bench.measure.CURVES", [Curve("curve", "", points)])
    monkeypatch.setattr("raftq.cli.bench.measure.opened_stage", no_stage)
    return found


def test_rounds_are_interleaved_and_long_cases_measured_once(
    order: list[str], tmp_path: Path
) -> None:
    record = measured(Request([], 3, Scale(), tmp_path))
    assert order == ["short", "long", "short", "short"]
    assert [(each.case, each.values) for each in record.figures] == [
        ("short", [1, 3, 4]),
        ("long", [2]),
    ]
    assert record.curves == {} and record.settings["rounds"] == 3
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_what_is_named_is_measured_in_every_round(order: list[str], tmp_path: Path) -> None:
    measured(Request(["long", "curve"], 2, Scale(), tmp_path))
    assert order == ["long", "curve", "long", "curve"]


@pytest.mark.parametrize(
    ("names", "is_framework", "expected"),
    [
        ([], False, ["short", "long"]),
        ([], True, ["app"]),
        (["app"], False, ["app"]),
        (["short"], True, ["short", "app"]),
    ],
)
def test_cases_that_run_apps_are_measured_only_when_asked_for(
    names: list[str], is_framework: bool, expected: list[str], order: list[str], tmp_path: Path
) -> None:
    measured(Request(names, 1, Scale(), tmp_path, is_framework=is_framework))
    assert order == expected


def test_a_plot_brings_all_curves_with_it(order: list[str], tmp_path: Path) -> None:
    record = measured(Request(["short"], 2, Scale(), tmp_path, has_curves=True))
    assert order == ["short", "curve", "short", "curve"]
    assert record.curves == {"curve": [Point(1, 3)]}
