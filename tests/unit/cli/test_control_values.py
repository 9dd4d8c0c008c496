"""What is written on the command line: settings, instants, ids; read and shown alike."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftq.cli import moments
from raftq.cli.control import values
from raftq.cli.control.facts import backoff_text, rate_text, settings_words, weights_text
from raftq.cli.control.known import _is_near  # pyright: ignore[reportPrivateUsage]  # The rule.
from raftq.client import Backoff, BackoffKind, QueueSettings, Rate
from raftq.client.durations import milliseconds
from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest

RATES = st.builds(
    Rate,
    st.integers(1, limits.RATE_MAX),
    st.integers(1, limits.RATE_PERIOD_MS_MAX),
    st.integers(1, limits.BURST_MAX),
)
BACKOFFS = st.builds(
    Backoff,
    st.integers(1, limits.BACKOFF_MS_MAX),
    st.sampled_from(BackoffKind),
    st.integers(0, limits.BACKOFF_MS_MAX),
    st.integers(0, 100),
)


@given(RATES)
def test_a_rate_is_shown_as_it_can_be_written(rate: Rate) -> None:
    assert values.read_rate(rate_text(rate)) == rate


@given(BACKOFFS)
def test_a_backoff_is_shown_as_it_can_be_written(backoff: Backoff) -> None:
    assert values.read_backoff(backoff_text(backoff)) == backoff


@given(st.integers(0, limits.DELAY_MS_MAX))
def test_a_duration_is_shown_as_it_can_be_written(duration_ms: int) -> None:
    assert milliseconds(moments.duration(duration_ms)) == duration_ms


@pytest.mark.parametrize(
    ("rate", "shown"),
    [
        (Rate(10), "10/s"),
        (Rate(1, 60_000), "1/m"),
        (Rate(100, 300_000, 20), "100/5m burst 20"),
        (Rate(3, 1), "3/ms"),
        (Rate(3, 10_000), "3/10s"),
    ],
)
def test_rates_are_shown_in_few_words(rate: Rate, shown: str) -> None:
    assert rate_text(rate) == shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5s", Backoff(5_000)),
        ("0", Backoff(0)),
        ("1h", Backoff(3_600_000, max_ms=3_600_000)),
        ("1h max 1m", Backoff(3_600_000, max_ms=60_000)),
        ("1s linear", Backoff(1_000, BackoffKind.LINEAR)),
        ("1s  fixed  jitter 0%", Backoff(1_000, BackoffKind.FIXED, jitter_percent=0)),
    ],
)
def test_what_a_backoff_does_not_say_is_as_usual(text: str, expected: Backoff) -> None:
    assert values.read_backoff(text) == expected


@pytest.mark.parametrize("text", ["", "fast", "1s cubic", "1s max", "1s jitter 2 max 3s", "-1s"])
def test_what_is_no_backoff_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is no"):
        values.read_backoff(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("1024", 1_024), ("1 KiB", 1_024), ("64MiB", 64 << 20), ("2GiB", 2 << 30)],
)
def test_sizes_are_bytes_or_have_a_unit(text: str, expected: int) -> None:
    assert values.read_size(text) == expected


@pytest.mark.parametrize("text", ["", "1GB", "-1", "1.5MiB", "²", "many"])
def test_what_is_no_size_or_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        values.read_size(text)
    with pytest.raises(InvalidRequest):
        values.read_count(text)


def test_weights_are_set_one_by_one_and_a_weight_of_one_is_left_out() -> None:
    present = {"gold": 3, "silver": 2}
    assert values.read_weights(["gold=4", "a=b=5"], present) == {"gold": 4, "silver": 2, "a=b": 5}
    assert values.read_weights(["gold=1"], present) == {"silver": 2}
    assert values.read_weights(["none", "new=2"], present) == {"new": 2}
    assert weights_text({"gold": 3, "a\x1bb": 2}) == "gold=3, a\N{REPLACEMENT CHARACTER}b=2"
    for wrong in ("gold", "gold=", "=3", "gold=-1", "gold=²"):
        with pytest.raises(InvalidRequest, match="KEY=WEIGHT"):
            values.read_weights([wrong], present)


def test_every_setting_of_a_queue_is_shown_by_the_name_of_its_option() -> None:
    words = settings_words(QueueSettings(rate=Rate(10), result_ttl_ms=90_000))
    assert len(words) == len(QueueSettings.__struct_fields__)
    assert (words["rate"], words["result-ttl"], words["tasks-max"]) == ("10/s", "90s", "none")


# ---------------------------------------------------------------- instants


def test_an_instant_without_an_offset_is_local_time() -> None:
    assert moments.read_instant("2026-12-24T18:00") == datetime(2026, 12, 24, 18).astimezone()
    assert moments.read_instant("2026-12-24T18:00+01:00").timestamp() == 1_798_131_600


def test_the_past_is_an_instant_or_how_long_ago() -> None:
    ago = datetime.now().astimezone() - moments.read_past("1h")
    assert timedelta(minutes=59) < ago < timedelta(minutes=61)
    assert moments.read_past("2026-12-24") == datetime(2026, 12, 24).astimezone()


@pytest.mark.parametrize(
    ("span_ms", "shown"),
    [
        (-5, "0s"),
        (0, "0s"),
        (950, "950ms"),
        (59_999, "59s"),
        (60_000, "1m"),
        (200_000, "3m 20s"),
        (3_600_000, "1h"),
        (3_605_000, "1h"),
        (90_000_000, "1d 1h"),
    ],
)
def test_spans_are_told_in_at_most_two_units(span_ms: int, shown: str) -> None:
    assert moments.span(span_ms) == shown


def test_an_instant_is_shown_with_its_distance() -> None:
    assert moments.instant(1_795_000_000_000, 1_795_000_200_000).endswith("(3m 20s ago)")
    assert moments.instant(1_795_000_200_000, 1_795_000_000_000).endswith("(in 3m 20s)")


# ---------------------------------------------------------------- mistyped ids

ID = "01a20e5f6c3d794f9ec6446850021d26"


@pytest.mark.parametrize(
    "wrong",
    [
        ID[:8],
        ID[:20],
        ID[:-1] + "0",
        "1" + ID[1:],
        ID[:10] + ID[11:],
        ID[:10] + "a" + ID[10:],
        ID[:10] + ID[11] + ID[10] + ID[12:],
        ID[:-2],
    ],
)
def test_an_id_that_was_cut_or_mistyped_is_near(wrong: str) -> None:
    assert _is_near(wrong, ID)


@pytest.mark.parametrize(
    "other", ["", "no-id", ID[:7], ID[:8][::-1], ID[:14] + "0" * 18, "f" * 32, ID + "0000"]
)
def test_another_id_is_not_near(other: str) -> None:
    assert not _is_near(other, ID)
