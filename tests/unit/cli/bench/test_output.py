"""What `raftq bench` prints, keeps, reads again and draws."""

import json
from pathlib import Path

import pytest
from tests.support.bench_records import CURVE, record
from tests.support.clusters import raftq_inside

from raftq.cli.bench import report
from raftq.cli.bench.compare import changes
from raftq.cli.bench.plot import CannotPlot, check_can_plot, plot
from raftq.cli.bench.record import BadRecord, read_record


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "kept.json"
    path.write_text(json.dumps(record().json()))
    return path


def test_a_run_is_the_same_when_it_is_read_again(kept: Path) -> None:
    assert read_record(kept) == record()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not what"),
        ("[]", "is not what"),
        ('{"format": 99}', "has format 99"),
        ('{"format": 1, "figures": [{"case": "c"}]}', "is not what"),
    ],
)
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(BadRecord, match=words):
        read_record(path)


def test_the_table_has_each_value_its_spread_and_what_it_costs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report.print_record(record(), {"enqueue-128": "enqueue, 128 callers"}, [])
    out = capsys.readouterr().out
    (row,) = (line for line in out.splitlines() if "40,000" in line)
    assert [cell.strip() for cell in row.split("│")] == [
        *("enqueue-128", "rate", "40,000", "/s", "39,999 to 41,000", "3"),
        *("12", "", "", ""),
    ]
    assert "CPU, leader" not in out, "it is a column, not a row"
    assert "enqueue-128: enqueue, 128 callers" in out and "leader-killed:" not in out
    assert "machine: processor P" in out and "settings: nodes 3" in out
    assert "998" in out, "the curves"


def test_the_table_has_ratios_where_there_was_something(
    capsys: pytest.CaptureFixture[str],
) -> None:
    old = record(rate=20_000)
    del old.figures[2]
    report.print_record(record(), {}, changes(record(), old))
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split("│")[1].strip(): line.split("│")[-2:] for line in lines if "│" in line}
    assert [cell.strip() for cell in rows["rate"]] == ["20,000", "2.00 better"]
    assert [cell.strip() for cell in rows["gap, worst"]] == ["", ""]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1_234_567.8, "1,234,568"), (200.0, "200"), (12.34, "12.3"), (0.456, "0.46"), (0.0, "0")],
)
def test_numbers_have_the_digits_that_are_worth_reading(value: float, text: str) -> None:
    assert report.short(value) == text


def test_a_kept_run_is_shown_compared_and_drawn_without_measuring(
    kept: Path, tmp_path: Path
) -> None:
    other, picture = tmp_path / "old.json", tmp_path / "curves.png"
    other.write_text(json.dumps(record(rate=20_000, cores=4).json()))
    words = ("bench", "--from", str(kept), "--compare", str(other))
    ended = raftq_inside(*words, "--plot", str(picture), "--json")
    found = json.loads(ended.out)
    assert ended.code == 0 and found["figures"] == record().json()["figures"]
    assert found["compared"][0]["ratio"] == 2.0
    assert "cores was 4, is 2" in ended.err and str(picture) in ended.err
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "2.00 better" in raftq_inside(*words).out


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize(("ending", "first"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_picture_is_drawn_of_all_curves_or_some(
    tmp_path: Path, ending: str, first: bytes
) -> None:
    path = tmp_path / f"curves.{ending}"
    check_can_plot(path)
    plot(path, record().curves, "all")
    everything = path.read_bytes()
    plot(path, {"payload-bytes": CURVE}, "one")
    assert everything.startswith(first) and 0 < path.stat().st_size < len(everything)


def test_nothing_is_drawn_of_no_curves(tmp_path: Path) -> None:
    with pytest.raises(CannotPlot, match="no curves"):
        plot(tmp_path / "none.png", {"payload-bytes": []}, "none")


def test_where_no_picture_can_be_written_is_known_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CannotPlot, match="must end in"):
        check_can_plot(tmp_path / "curves.txt")
    with pytest.raises(CannotPlot, match="no folder"):
        check_can_plot(tmp_path / "missing" / "curves.png")
    monkeypatch.setattr("raftq.cli.bench.plot.find_spec", {"matplotlib": None}.__getitem__)
    with pytest.raises(CannotPlot, match=r"pip install 'raftq\[plot\]'"):
        check_can_plot(tmp_path / "curves.png")


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--case", "nothing"), "no case 'nothing'"),
        (("--nodes", "2"), "allowed is 1, 3 or 5"),
        (("--nodes", "1", "--case", "leader-killed"), "needs three nodes"),
        (("--set", "log_level"), "must be name=value"),
        (("--folder", "/nowhere"), "/nowhere"),
        (("--compare", "/nowhere.json"), "cannot be read"),
        (("--from", "/nowhere.json"), "cannot be read"),
        (("--plot", "curves.txt"), "must end in"),
        (("--profile", "/nowhere", "--case", "leader-hangs"), "cannot be profiled"),
        (("--rounds", "0"), "--rounds"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(words: tuple[str, ...], told: str) -> None:
    ended = raftq_inside("bench", *words)
    assert (ended.code, ended.out) == (2, "") and told in ended.err


def test_the_names_of_cases_are_listed() -> None:
    text = raftq_inside("bench", "--list").out
    names = json.loads(raftq_inside("bench", "--list", "--json").out)
    assert {"enqueue-128", "backlog", "offered-load"} < names.keys()
    assert all(f"{name} " in text and words in text for name, words in names.items())
