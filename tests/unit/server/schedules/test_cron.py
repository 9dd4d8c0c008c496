"""Ticks of cron expressions, above all where clocks are put forward or back."""

from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest
from raftq.server.schedules.cron import Cron

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
# The clocks of each are put forward in spring, and back in autumn, in the night to this day.
FORWARD = {BERLIN: "2026-03-29", NEW_YORK: "2026-03-08", LORD_HOWE: "2026-10-04"}
BACK = {BERLIN: "2026-10-25", NEW_YORK: "2026-11-01", LORD_HOWE: "2026-04-05"}


def at(zone: str, shown: str, fold: int = 0) -> int:
    """Return when the local clock shows a time, for the first or the second time."""
    date = datetime.fromisoformat(shown).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return int(date.timestamp() * 1_000)


def shown(cron: str, zone: str, after: str, count: int) -> list[str]:
    """Return the next ticks as the local clock shows them, with * the second time."""
    ticks = islice(Cron(cron, zone).after(at(zone, after)), count)
    dates = [datetime.fromtimestamp(tick / 1_000, ZoneInfo(zone)) for tick in ticks]
    return [f"{date:%d %H:%M}{'*' * date.fold}" for date in dates]


# ---------------------------------------------------------------- without changes of the clock


@pytest.mark.parametrize(
    ("cron", "first"),
    [
        ("* * * * *", "2026-11-24T16:06"),
        ("*/15 * * * *", "2026-11-24T16:15"),
        ("30 8 * * MON-FRI", "2026-11-25T08:30"),
        ("0 0 1 * *", "2026-12-01T00:00"),
        ("0 12 L * *", "2026-11-30T12:00"),
        ("0 12 LW * *", "2026-11-30T12:00"),
        ("0 12 * * FRI#1", "2026-12-04T12:00"),
        ("0 12 * * 5L", "2026-11-27T12:00"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("0 0 13 * FRI", "2026-11-27T00:00"),  # The thirteenth or a Friday.
        ("0 0 * jan sun", "2027-01-03T00:00"),
        ("5,10 9-17/4 * * 7", "2026-11-29T09:05"),
    ],
)
def test_next_tick_is_the_next_time_that_matches(cron: str, first: str) -> None:
    assert next(Cron(cron, "UTC").after(at("UTC", "2026-11-24T16:05:30"))) == at("UTC", first)


def test_tick_lies_after_the_instant_asked_about_not_at_it() -> None:
    noon = at("UTC", "2026-11-24T12:00")
    cron = Cron("0 12 * * *", "UTC")
    assert next(cron.after(noon)) == noon + limits.DAY_MS
    assert next(cron.after(noon - 1)) == noon


def test_times_are_those_of_the_time_zone() -> None:
    after = at("UTC", "2026-11-24T00:00")
    assert next(Cron("0 8 * * *", "Asia/Kolkata").after(after)) == at("UTC", "2026-11-24T02:30")


def test_calendar_that_ends_has_no_further_tick() -> None:
    assert list(Cron("* * * * *", "UTC").after(limits.INSTANT_MS_MAX)) == []


# ---------------------------------------------------------------- a clock that is put forward


@pytest.mark.parametrize(
    ("zone", "cron", "after_gap"),
    [
        (BERLIN, "30 2 * * *", "03:00"),
        (NEW_YORK, "30 2 * * *", "03:00"),
        (LORD_HOWE, "15 2 * * *", "02:30"),
        (BERLIN, "*/20 2 * * *", "03:00"),
        (BERLIN, "0 2,3 * * *", "03:00"),
    ],
)
def test_time_that_is_skipped_ticks_once_when_the_clock_is_put_forward(
    zone: str, cron: str, after_gap: str
) -> None:
    day = FORWARD[zone]
    ticks = [each for each in shown(cron, zone, f"{day}T00:00", 12) if each[:2] == day[-2:]]
    assert ticks == [f"{day[-2:]} {after_gap}"]


def test_time_after_a_skipped_one_keeps_its_tick() -> None:
    assert shown("30 2,3 * * *", BERLIN, "2026-03-29T00:00", 2) == ["29 03:00", "29 03:30"]


@pytest.mark.parametrize(
    ("zone", "minute", "expected"),
    [
        (BERLIN, 30, ["29 00:30", "29 01:30", "29 03:30", "29 04:30"]),
        (NEW_YORK, 30, ["08 00:30", "08 01:30", "08 03:30", "08 04:30"]),
        (LORD_HOWE, 30, ["04 00:30", "04 01:30", "04 02:30", "04 03:30"]),
        (LORD_HOWE, 0, ["04 01:00", "04 03:00", "04 04:00", "04 05:00"]),
    ],
)
def test_hourly_ticks_go_on_through_a_clock_put_forward(
    zone: str, minute: int, expected: list[str]
) -> None:
    assert shown(f"{minute} * * * *", zone, f"{FORWARD[zone]}T00:00", 4) == expected


def test_skipped_day_ticks_at_the_end_of_it() -> None:
    # Samoa had no 30 December 2011.
    ticks = shown("0 8 * * *", "Pacific/Apia", "2011-12-29T00:00", 3)
    assert ticks == ["29 08:00", "31 00:00", "31 08:00"]


# ---------------------------------------------------------------- a clock that is put back


@pytest.mark.parametrize(
    ("zone", "cron", "once"),
    [
        (BERLIN, "30 2 * * *", ["02:30"]),
        (NEW_YORK, "30 1 * * *", ["01:30"]),
        (LORD_HOWE, "45 1 * * *", ["01:45"]),
        (BERLIN, "*/30 2 * * *", ["02:00", "02:30"]),
        (BERLIN, "0 */2 * * *", [f"{hour:02}:00" for hour in range(2, 24, 2)]),
    ],
)
def test_time_that_comes_twice_ticks_the_first_time_only(
    zone: str, cron: str, once: list[str]
) -> None:
    day = BACK[zone]
    ticks = [each for each in shown(cron, zone, f"{day}T00:00", 24) if each[:2] == day[-2:]]
    assert ticks == [f"{day[-2:]} {each}" for each in once]


@pytest.mark.parametrize(
    ("zone", "cron", "again"),
    [(BERLIN, "30 2 * * *", "02:10"), (NEW_YORK, "30 1 * * *", "01:10")],
)
def test_schedule_set_while_a_time_comes_again_waits_for_the_next_day(
    zone: str, cron: str, again: str
) -> None:
    now = at(zone, f"{BACK[zone]}T{again}", fold=1)
    assert next(Cron(cron, zone).after(now)) - now > 23 * limits.HOUR_MS


@pytest.mark.parametrize(
    ("zone", "minute", "expected"),
    [
        (BERLIN, 30, ["25 01:30", "25 02:30", "25 02:30*", "25 03:30"]),
        (NEW_YORK, 30, ["01 00:30", "01 01:30", "01 01:30*", "01 02:30"]),
        (LORD_HOWE, 45, ["05 00:45", "05 01:45", "05 01:45*", "05 02:45"]),
        (LORD_HOWE, 0, ["05 01:00", "05 02:00", "05 03:00", "05 04:00"]),
    ],
)
def test_hourly_ticks_go_on_through_a_clock_put_back(
    zone: str, minute: int, expected: list[str]
) -> None:
    begin = "2026-10-25T00:45" if zone == BERLIN else f"{BACK[zone]}T00:00"
    assert shown(f"{minute} * * * *", zone, begin, 4) == expected


def test_last_hour_of_a_day_ticks_twice_where_clocks_are_put_back_at_midnight() -> None:
    # In Santiago 24:00 becomes 23:00 again; the expression comes true on that day only.
    ticks = shown("0 * 4 4 *", "America/Santiago", "2026-04-04T22:30", 3)
    assert ticks == ["04 23:00", "04 23:00*", "04 00:00"]


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("cron", "wrong"),
    [
        ("61 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * MOM", "bad day-of-week"),
        ("0 3 * *", "4 fields"),
        ("0 0 3 * * *", "6 fields"),
        ("@daily", "1 fields"),
        ("", "0 fields"),
        ("* * */31 2 1#5", "no day is like that"),
    ],
)
def test_wrong_expression_is_refused_with_what_is_wrong_and_an_example(
    cron: str, wrong: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Cron(cron, "UTC")
    assert wrong in refused.value.message
    assert "such as '30 8 * * MON-FRI'" in refused.value.message


@pytest.mark.parametrize(
    ("zone", "advice"),
    [
        ("europe/berlin", "write 'Europe/Berlin'"),
        ("Berlin", "did you mean Europe/Berlin?"),
        ("New York", "did you mean America/New_York?"),
        ("Europe/Berln", "did you mean Europe/Berlin"),
        ("right/Europe/Berlin", "did you mean Europe/Berlin?"),
        ("US/NewYork", "did you mean America/New_York?"),
        ("../../etc/passwd", "write one like 'Europe/Berlin'"),
        ("localtime", "is no time zone of the IANA"),
        ("", "write one like 'Europe/Berlin'"),
    ],
)
def test_unknown_time_zone_is_refused_with_the_nearest_names(zone: str, advice: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Cron("* * * * *", zone)
    assert advice in refused.value.message
