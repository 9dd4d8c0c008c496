"""The tables of docs/internals/performance.md say what the kept runs say."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.support.bench_records import record
from tests.support.clusters import raftq_inside
from tests.tidy import performance
from tests.tidy.performance import GOALS, PAGE, RUNS, Goal, kept_records, main, page

from raftq.cli.bench.figures import Figure, Pick
from raftq.cli.bench.record import Record
from raftq.cli.bench.report import short


def test_the_tables_are_up_to_date() -> None:
    written = PAGE.read_text()
    assert written == page(written, kept_records()), "run `python -m tests.tidy.performance`"


def test_each_goal_and_each_run_has_a_line_whether_it_was_measured_or_not() -> None:
    text = page(PAGE.read_text(), {})
    assert all(f"| {goal.text} | {goal.limit_text()} | not measured |" in text for goal in GOALS)
    assert all(f"| {name} | `raftq bench" in text for name in RUNS)


def test_a_measured_goal_is_met_or_said_not_to_be() -> None:
    for rate, verdict in ((35_000.0, "yes"), (34_999.0, "**no**")):
        text = page(PAGE.read_text(), {"standard": record(rate=rate)})
        spread = f"{short(rate - 1)} to {short(rate + 1_000)}"
        assert f"| ≥ 35,000 /s | **{short(rate)}** | {spread} | 3 | {verdict} |" in text
        assert "| ≤ 600 ms | **80** |  | 2 | yes |" in text
        assert "| `enqueue-128` | 12 |  |  |  |" in text


def test_curves_are_shown_with_their_picture_once_they_are_measured() -> None:
    assert "Not measured.\n<!-- end: curves -->" in page(PAGE.read_text(), {})
    text = page(PAGE.read_text(), {"curves": record()})
    assert "](performance/curves.png)" in text
    assert "| `offered-load` | 1,000 | 998 | 0.90 | 3.50 |" in text


@pytest.mark.parametrize(
    ("goal", "value", "is_met"),
    [
        (Goal("", 10, "", "", "/s"), 10, True),
        (Goal("", 10, "", "", "/s"), 9, False),
        (Goal("", 10, "", "", "ms"), 10, True),
        (Goal("", 10, "", "", "ms"), 11, False),
    ],
)
def test_rates_are_to_be_high_and_everything_else_low(
    goal: Goal, value: float, is_met: bool
) -> None:
    assert goal.is_met_by(Figure("", "", goal.unit, Pick.MEDIAN, [value])) is is_met


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the table 'goals'"):
        page("# Performance\n", {})


def test_the_words_of_the_page_stay_when_its_tables_change() -> None:
    text = PAGE.read_text() + "\n## Where the time goes\n\nwords\n"
    changed = page(text, {"standard": record(), "curves": Record({}, {}, [])})
    assert changed != text and changed.endswith("\n## Where the time goes\n\nwords\n")


# ---------------------------------------------------------------- recording


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a copy of the page; runs are kept beside it."""
    copy = tmp_path / PAGE.name
    copy.write_text(page(PAGE.read_text(), {}))
    monkeypatch.setattr(performance, "PAGE", copy)
    monkeypatch.setattr(performance, "FOLDER", copy.with_suffix(""))
    return copy


def test_a_recorded_run_is_kept_and_written_into_the_page(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def measured(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(command[4:])
        if "--plot" in command:
            assert raftq_inside(*command[3:]).code == 0
        return subprocess.CompletedProcess(command, 0, json.dumps(record().json()).encode())

    monkeypatch.setattr(subprocess, "run", measured)
    assert main(["record", "standard", "curves"]) == 0
    assert asked[:2] == [["--json"], [*RUNS["curves"], "--json"]]
    text = elsewhere.read_text()
    assert "**40,000**" in text and "](performance/curves.png)" in text
    assert (elsewhere.parent / "performance" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert kept_records() == {"standard": record(), "curves": record()}


def test_a_run_that_fails_is_told_and_does_not_keep_others_from_being_recorded(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, 1 if "4096" in command else 0, b"{}")

    monkeypatch.setattr(subprocess, "run", measured)
    monkeypatch.setattr(performance, "kept_records", dict)
    assert main(["record", "large-payloads", "many-tasks"]) == 1
    assert capsys.readouterr().err == "large-payloads was not measured\n"
    assert [each.name for each in elsewhere.with_suffix("").iterdir()] == ["many-tasks.json"]


@pytest.mark.parametrize("arguments", [["record", "everything"], ["standard"]])
def test_a_run_that_does_not_exist_is_not_recorded(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert f"{arguments[-1]} is no run" in capsys.readouterr().err
