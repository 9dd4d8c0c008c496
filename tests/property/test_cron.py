"""Ticks of any cron expression, compared with a look at every minute."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from raftq.protocol.errors import InvalidRequest
from raftq.server.schedules.cron import Cron

# Days on which clocks are put forward or back in one of the zones, and one on which none is.
_DAYS = (
    *("2026-03-29", "2026-10-25"),
    *("2026-03-08", "2026-11-01"),
    *("2026-10-04", "2026-04-05"),
    *("2026-09-06", "2026-04-05"),
    "2026-01-01",
)
_ZONES = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kolkata"]
)


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    return st.one_of(
        st.just("*"),
        number.map(str),
        st.lists(number, min_size=2, max_size=3).map(lambda found: ",".join(map(str, found))),
        st.tuples(number, number).map(lambda found: f"{min(found)}-{max(found)}"),
        st.integers(2, 20).map(lambda step: f"*/{step}"),
    )


_CRONS = st.tuples(_field(0, 59), _field(0, 23), _field(1, 28), st.just("*"), _field(0, 6)).map(
    " ".join
)


def _near(day: str, minutes: int) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(minutes=minutes)


_STARTS = st.builds(_near, st.sampled_from(_DAYS), st.integers(-3 * 1_440, 1_440))


def _matching_minutes(cron: str, zone: str, begin_ms: int, minutes: int) -> list[int]:
    """Return each instant whose local time matches, by looking at every minute."""
    # In UTC no clock moves: an instant matches there, if its local time is taken for UTC.
    local = Cron(cron, "UTC")
    found: list[int] = []
    for minute in range(1, minutes + 1):
        instant = (begin_ms // 60_000 + minute) * 60_000
        date = datetime.fromtimestamp(instant / 1_000, ZoneInfo(zone)).replace(tzinfo=UTC)
        as_utc = int(date.timestamp() * 1_000)
        if next(local.after(as_utc - 1), None) == as_utc:
            found.append(instant)
    return found


@settings(max_examples=40, deadline=None)
@given(_CRONS, _ZONES, _STARTS)
def test_ticks_are_the_matching_minutes_but_for_what_is_documented(
    cron: str, zone: str, start: datetime
) -> None:
    begin_ms, minutes = int(start.timestamp() * 1_000), 2 * 1_440
    matching = _matching_minutes(cron, zone, begin_ms, minutes)
    end_ms = begin_ms + minutes * 60_000
    ticks = [each for each in islice(Cron(cron, zone).after(begin_ms), minutes) if each <= end_ms]
    assert ticks == sorted(set(ticks)), "ticks must grow"
    if cron.split()[1] == "*":
        assert ticks == matching
        return
    dates = {each: datetime.fromtimestamp(each / 1_000, ZoneInfo(zone)) for each in matching}
    first_times = [each for each, date in dates.items() if not date.fold]
    assert [each for each in ticks if each in dates] == first_times
    for extra in set(ticks) - set(matching):
        moved = _offset(zone, extra) - _offset(zone, extra - 1_000)
        assert moved > timedelta(0), "only a clock that is put forward makes a tick of its own"


def _offset(zone: str, at_ms: int) -> timedelta:
    offset = datetime.fromtimestamp(at_ms / 1_000, ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return offset


@settings(max_examples=40, deadline=None)
@given(_CRONS, _ZONES, _STARTS, st.integers(1, 200))
def test_ticks_one_by_one_and_the_newest_are_the_same_ticks(
    cron: str, zone: str, start: datetime, count: int
) -> None:
    reader, begin_ms = Cron(cron, zone), int(start.timestamp() * 1_000)
    ticks = list(islice(reader.after(begin_ms), count))
    assume(ticks)
    one_by_one, now_ms = list[int](), begin_ms
    for _ in ticks:
        now_ms = next(reader.after(now_ms))
        one_by_one.append(now_ms)
    assert one_by_one == ticks
    assert reader.newest(begin_ms, ticks[-1], count) == ticks
    assert reader.newest(begin_ms, ticks[-1], 3) == ticks[-3:]
    assert reader.count(begin_ms, ticks[-1], 1_000) == len(ticks)
    assert reader.newest(ticks[-1], ticks[-1], 3) == []


_SATURDAY_MS = 1_774_656_000_000


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("0123456789*,-/#LWlwAMONJ² ", max_size=6), min_size=5, max_size=5))
def test_no_text_but_an_invalid_request_comes_of_it(fields: list[str]) -> None:
    text = " ".join(fields)
    try:
        ticks = list(islice(Cron(text, "Europe/Berlin").after(_SATURDAY_MS), 2))
    except InvalidRequest:
        return
    assert ticks == sorted(set(ticks))
