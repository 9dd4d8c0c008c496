"""First ticks, and what becomes of the ticks that have come."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import MissedRuns
from raftq.protocol.options import Schedule, TaskOptions
from raftq.server.schedules.ticks import MISSED_AFTER_MS, Judged, first_tick, judge

NOON = 1_795_348_800_000
"""2026-11-22T12:00 UTC."""
MINUTE = limits.MINUTE_MS


def every(every_ms: int, missed: MissedRuns = MissedRuns.ONE) -> Schedule:
    return Schedule("q", b"", every_ms=every_ms, missed=missed)


def minutely(missed: MissedRuns) -> Schedule:
    return Schedule("q", b"", cron="* * * * *", missed=missed)


def runs(judged: list[Judged]) -> list[int]:
    return [each.tick_at_ms for each in judged if each.runs]


def left_out(judged: list[Judged]) -> int:
    return sum(each.skipped + (not each.runs) for each in judged)


# ---------------------------------------------------------------- the first tick


def test_first_tick_of_an_interval_is_one_interval_from_now() -> None:
    assert first_tick(every(90_000), NOON + 7) == NOON + 90_007


def test_first_tick_of_a_cron_is_its_next_time() -> None:
    schedule = Schedule("q", b"", cron="30 8 * * *", timezone="Europe/Berlin")
    assert first_tick(schedule, NOON) == NOON + 19 * limits.HOUR_MS + 30 * MINUTE


@pytest.mark.parametrize(
    ("schedule", "wrong"),
    [
        (Schedule("q", b""), "either cron"),
        (Schedule("q", b"", cron="* * * * *", every_ms=1_000), "either cron"),
        (Schedule("q", b"", cron="x"), "cron: 'x'"),
        (Schedule("q", b"", cron="* * * * *", timezone="Mars"), "timezone: 'Mars'"),
        (Schedule("q", b"", every_ms=1_000, timezone="Mars"), "timezone: 'Mars'"),
        (
            Schedule("q", bytes(limits.SCHEDULE_PAYLOAD_BYTES_MAX + 1), every_ms=1_000),
            "payload: 65537 bytes",
        ),
        (
            Schedule("q", b"", every_ms=1_000, options=TaskOptions(depends_on=[bytes(16)])),
            "cannot depend",
        ),
        (
            Schedule("q", b"", every_ms=1_000, options=TaskOptions(expires_at_ms=NOON)),
            "use expires_after_ms",
        ),
        (
            Schedule("q", b"", every_ms=1_000, options=TaskOptions(confirm_within_ms=1_000)),
            "nobody could confirm",
        ),
    ],
)
def test_schedule_that_cannot_work_is_refused_with_what_is_wrong(
    schedule: Schedule, wrong: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        first_tick(schedule, NOON)
    assert wrong in refused.value.message


def test_largest_payload_is_accepted() -> None:
    schedule = Schedule("q", bytes(limits.SCHEDULE_PAYLOAD_BYTES_MAX), every_ms=1_000)
    assert first_tick(schedule, NOON)


# ---------------------------------------------------------------- in time


@pytest.mark.parametrize("missed", MissedRuns)
def test_tick_that_is_judged_in_time_runs_and_leads_to_the_next(missed: MissedRuns) -> None:
    assert judge(minutely(missed), NOON, NOON + 20, 10) == [Judged(NOON, NOON + MINUTE, runs=True)]


def test_ticks_are_missed_as_soon_as_the_oldest_is_older_than_a_minute() -> None:
    judged = judge(every(1_000), NOON, NOON + MISSED_AFTER_MS + 1, 100)
    assert runs(judged) == [NOON + MISSED_AFTER_MS]
    assert left_out(judged) == MISSED_AFTER_MS // 1_000


@pytest.mark.parametrize("missed", MissedRuns)
def test_no_tick_is_left_out_while_the_oldest_is_not_missed(missed: MissedRuns) -> None:
    judged = judge(every(1_000, missed), NOON, NOON + MISSED_AFTER_MS, 100)
    assert runs(judged) == list(range(NOON, NOON + MISSED_AFTER_MS + 1, 1_000))
    assert left_out(judged) == 0


def test_interval_keeps_its_rhythm_however_late_it_is_judged() -> None:
    assert judge(every(60_000), NOON + 7, NOON + 59_000, 10)[-1].next_at_ms == NOON + 60_007


def test_schedule_whose_calendar_ends_waits_for_nothing() -> None:
    last = int(datetime(9900, 1, 1, tzinfo=UTC).timestamp()) * 1_000
    assert judge(minutely(MissedRuns.ONE), last, last, 10) == [Judged(last, 0, runs=True)]


def test_tick_that_is_no_time_of_the_expression_any_more_leads_to_one() -> None:
    # The rules of its time zone changed since it was computed.
    odd = NOON + 17_000
    assert judge(minutely(MissedRuns.ONE), odd, odd, 10) == [Judged(odd, NOON + MINUTE, runs=True)]


# ---------------------------------------------------------------- missed


def test_missed_ticks_are_left_out_by_skip_but_a_fresh_one_runs() -> None:
    now = NOON + 60 * MINUTE + 5_000
    judged = judge(minutely(MissedRuns.SKIP), NOON, now, 10)
    assert runs(judged) == [NOON + 60 * MINUTE]
    assert left_out(judged) == 60


def test_missed_ticks_are_left_out_by_skip_if_none_is_fresh() -> None:
    schedule = Schedule("q", b"", cron="0 * * * *", missed=MissedRuns.SKIP)
    judged = judge(schedule, NOON, NOON + 150 * MINUTE, 10)
    assert judged == [Judged(NOON, NOON + 180 * MINUTE, runs=False, skipped=2)]


@pytest.mark.parametrize(
    "schedule", [minutely(MissedRuns.ONE), every(MINUTE, MissedRuns.ONE)], ids=["cron", "interval"]
)
def test_newest_of_missed_ticks_runs_by_one(schedule: Schedule) -> None:
    judged = judge(schedule, NOON, NOON + 90 * MINUTE + 30_000, 10)
    assert judged == [
        Judged(NOON, NOON + 90 * MINUTE, runs=False, skipped=89),
        Judged(NOON + 90 * MINUTE, NOON + 91 * MINUTE, runs=True),
    ]


def test_single_missed_tick_runs_by_one() -> None:
    schedule = Schedule("q", b"", cron="0 12 * * *")
    judged = judge(schedule, NOON, NOON + 5 * limits.HOUR_MS, 10)
    assert judged == [Judged(NOON, NOON + limits.DAY_MS, runs=True)]


def test_every_missed_tick_runs_by_all() -> None:
    judged = judge(minutely(MissedRuns.ALL), NOON, NOON + 90 * MINUTE, 1_000)
    assert runs(judged) == [NOON + minute * MINUTE for minute in range(91)]
    assert left_out(judged) == 0


@pytest.mark.parametrize(
    "schedule", [minutely(MissedRuns.ALL), every(MINUTE, MissedRuns.ALL)], ids=["cron", "interval"]
)
def test_all_makes_up_for_the_newest_runs_only_up_to_the_limit(schedule: Schedule) -> None:
    late = limits.MISSED_RUNS_MAX + 50
    judged = judge(schedule, NOON, NOON + late * MINUTE, 2_000)
    assert len(runs(judged)) == limits.MISSED_RUNS_MAX
    assert runs(judged)[-1] == NOON + late * MINUTE
    assert left_out(judged) == 51


def test_just_as_many_missed_runs_as_the_limit_are_all_made_up_for() -> None:
    late = limits.MISSED_RUNS_MAX - 1
    judged = judge(minutely(MissedRuns.ALL), NOON, NOON + late * MINUTE, 2_000)
    assert (len(runs(judged)), left_out(judged)) == (limits.MISSED_RUNS_MAX, 0)


def test_ticks_left_out_of_a_long_downtime_are_counted_for_an_interval() -> None:
    judged = judge(every(1_000, MissedRuns.SKIP), NOON, NOON + 30 * limits.DAY_MS, 10)
    assert left_out(judged) == 30 * limits.DAY_MS // 1_000
    assert runs(judged) == [NOON + 30 * limits.DAY_MS]


@given(
    st.sampled_from(MissedRuns),
    st.sampled_from(["* * * * *", "*/7 3-14 * * *", "30 2 * * 0", None]),
    st.integers(0, 40 * limits.DAY_MS),
    st.integers(1, 50),
)
def test_judged_ticks_are_a_chain_that_ends_after_now_or_at_the_bound(
    missed: MissedRuns, cron: str | None, late_ms: int, count_max: int
) -> None:
    schedule = Schedule("q", b"", cron=cron, missed=missed, timezone="Europe/Berlin")
    if cron is None:
        schedule = every(12_345, missed)
    tick = first_tick(schedule, NOON)
    now = tick + late_ms
    judged = judge(schedule, tick, now, count_max)
    assert judged[0].tick_at_ms == tick
    assert all(one.next_at_ms == other.tick_at_ms for one, other in pairwise(judged))
    assert all(each.tick_at_ms <= now and each.next_at_ms > each.tick_at_ms for each in judged)
    assert judged[-1].next_at_ms > now or len(judged) == count_max
