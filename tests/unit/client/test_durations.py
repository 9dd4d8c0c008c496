"""Durations are read as people write them, and nothing else is guessed at."""

from datetime import timedelta

import pytest

from raftq.client.durations import Duration, milliseconds, seconds
from raftq.protocol.errors import InvalidRequest


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (0, 0.0),
        (1.5, 1.5),
        ("30", 30.0),
        ("500ms", 0.5),
        ("30s", 30.0),
        (" 5 m ", 300.0),
        ("2h", 7_200.0),
        ("1d", 86_400.0),
        ("1.5s", 1.5),
        (timedelta(minutes=2), 120.0),
    ],
)
def test_a_duration_is_read_in_its_unit(written: Duration, expected: float) -> None:
    assert seconds(written) == pytest.approx(expected)


@pytest.mark.parametrize(
    "written",
    [
        *(-1, -0.001, float("nan"), float("inf"), timedelta(seconds=-1)),
        *("", "s", "-1s", "1 year", "1e3", "1s\n2", "\u0663s", "1_000", "9" * 400),
    ],
)
def test_what_is_no_duration_is_refused_with_what_would_be(written: Duration) -> None:
    with pytest.raises(InvalidRequest, match="is no duration"):
        seconds(written)


def test_milliseconds_are_rounded_up_so_that_no_wait_becomes_none() -> None:
    assert milliseconds(0.0001) == 1
    assert milliseconds("1500ms") == 1_500
    assert milliseconds(0) == 0


@pytest.mark.parametrize("written", ["29ms", "57ms", "115ms", "11417828893ms", "1.1s", "0.29"])
def test_whole_milliseconds_stay_what_they_are(written: str) -> None:
    number = float(written.rstrip("ms"))
    expected = round(number if written.endswith("ms") else number * 1_000)
    assert milliseconds(written) == expected
