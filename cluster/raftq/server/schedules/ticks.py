"""The ticks of a schedule: the first one, and what is due of those that have come.

A tick is *missed* if it was not judged for `MISSED_AFTER_MS`, which no failover takes: until then
nothing is left out, after that the schedule's policy decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice, pairwise
from typing import Final, Protocol

from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import MissedRuns
from raftq.protocol.options import Schedule
from raftq.server.schedules.cron import Cron
from raftq.server.schedules.timezones import zone_of

MISSED_AFTER_MS: Final = 1 * limits.MINUTE_MS
_SKIPPED_COUNTED_MAX: Final = 1_000
"""Ticks of a cron expression that are counted one by one when they are left out together."""


class Ticks(Protocol):
    """Instants in milliseconds since 1970."""

    def after(self, at_ms: int) -> Iterator[int]:
        """Yield the ticks after an instant, in order."""
        ...

    def newest(self, after_ms: int, until_ms: int, count_max: int) -> list[int]:
        """Return the newest ticks after an instant and up to another one, in order."""
        ...

    def count(self, after_ms: int, until_ms: int, count_max: int) -> int:
        """Return how many ticks there are after an instant and up to another one; of those that
        must be looked at one by one, at most `count_max`."""
        ...


class Interval:
    """Ticks at equal distances.

    Args:
        every_ms: The distance.
        anchor_ms: One of the ticks.
    """

    def __init__(self, every_ms: int, anchor_ms: int) -> None:
        self._every_ms = every_ms
        self._anchor_ms = anchor_ms

    def after(self, at_ms: int) -> Iterator[int]:
        """Yield the ticks after an instant, in order."""
        return count(self._last(at_ms) + self._every_ms, self._every_ms)

    def newest(self, after_ms: int, until_ms: int, count_max: int) -> list[int]:
        """Return the newest ticks after an instant and up to another one, in order."""
        last = self._last(until_ms)
        first = max(self._last(after_ms), last - count_max * self._every_ms) + self._every_ms
        return list(range(first, last + 1, self._every_ms))

    def count(self, after_ms: int, until_ms: int, count_max: int) -> int:
        """Return how many ticks there are after an instant and up to another one."""
        return max(self._last(until_ms) - self._last(after_ms), 0) // self._every_ms

    def _last(self, at_ms: int) -> int:
        """Return the last tick up to an instant."""
        return at_ms - (at_ms - self._anchor_ms) % self._every_ms


@dataclass(frozen=True, slots=True)
class Judged:
    """What becomes of a tick."""

    tick_at_ms: int
    next_at_ms: int
    """The tick that is judged next; 0 if there is none."""
    runs: bool
    """Whether its task is enqueued."""
    skipped: int = 0
    """Ticks between it and the next one, which are left out."""


def first_tick(schedule: Schedule, now_ms: int) -> int:
    """Return the first tick of a schedule that is set now.

    Raises:
        InvalidRequest: The schedule is wrong; the message says what to write instead.
    """
    if (schedule.cron is None) == (schedule.every_ms is None):
        raise InvalidRequest(
            "a schedule has either cron (such as '30 8 * * MON-FRI') or every_ms (such as 60000)"
        )
    _check_task(schedule)
    zone_of(schedule.timezone)
    return next(_ticks_of(schedule, now_ms).after(now_ms), 0)


def upcoming(schedule: Schedule, tick_at_ms: int, count_max: int) -> list[int]:
    """Return the tick that a schedule waits for, and those after it.

    Raises:
        InvalidRequest: This program cannot read the schedule.
    """
    return [tick_at_ms, *islice(_ticks_of(schedule, tick_at_ms).after(tick_at_ms), count_max - 1)]


def _check_task(schedule: Schedule) -> None:
    options = schedule.options
    if len(schedule.payload) > limits.SCHEDULE_PAYLOAD_BYTES_MAX:
        raise InvalidRequest(
            f"payload: {len(schedule.payload)} bytes; a schedule's may have "
            f"{limits.SCHEDULE_PAYLOAD_BYTES_MAX}: keep more elsewhere, and a reference to it here"
        )
    if options is None:
        return
    if options.depends_on:
        raise InvalidRequest("options: the task of a schedule cannot depend on one task")
    if options.expires_at_ms:
        raise InvalidRequest(
            "options: expires_at_ms is one instant for all ticks; use expires_after_ms"
        )
    if options.confirm_within_ms:
        raise InvalidRequest("options: nobody could confirm the task of a schedule")


def _ticks_of(schedule: Schedule, anchor_ms: int) -> Ticks:
    if schedule.every_ms is not None:
        return Interval(schedule.every_ms, anchor_ms)
    return Cron(schedule.cron or "", schedule.timezone)


def judge(schedule: Schedule, tick_at_ms: int, now_ms: int, count_max: int) -> list[Judged]:
    """Judge the ticks that have come, each the one that the one before leads to.

    Args:
        schedule: Whose.
        tick_at_ms: The one that it waits for, which has come.
        now_ms: Wall time.
        count_max: Ticks to judge at a time; the others wait.

    Raises:
        InvalidRequest: This node cannot read the schedule.
    """
    ticks = _ticks_of(schedule, tick_at_ms)
    runs = _to_run(ticks, schedule.missed, tick_at_ms, now_ms)
    if not runs:
        following = next(ticks.after(now_ms), 0)
        return [_left_out(ticks, tick_at_ms, now_ms, following)]
    judged: list[Judged] = []
    if runs[0] != tick_at_ms:
        judged.append(_left_out(ticks, tick_at_ms, runs[0] - 1, runs[0]))
    following = next(ticks.after(runs[-1]), 0)
    judged += [Judged(tick, after, runs=True) for tick, after in pairwise([*runs, following])]
    return judged[:count_max]


def _to_run(ticks: Ticks, missed: MissedRuns, tick_at_ms: int, now_ms: int) -> list[int]:
    """Return which of the ticks that have come are to run, in order."""
    is_missed = now_ms - tick_at_ms > MISSED_AFTER_MS
    if not is_missed or missed is MissedRuns.ALL:
        newest = ticks.newest(tick_at_ms, now_ms, limits.MISSED_RUNS_MAX)
        return [tick_at_ms, *newest][-limits.MISSED_RUNS_MAX :]
    newest = ticks.newest(tick_at_ms, now_ms, 1) or [tick_at_ms]
    if missed is MissedRuns.ONE:
        return newest
    return [tick for tick in newest if now_ms - tick <= MISSED_AFTER_MS]


def _left_out(ticks: Ticks, tick_at_ms: int, until_ms: int, next_at_ms: int) -> Judged:
    skipped = ticks.count(tick_at_ms, until_ms, _SKIPPED_COUNTED_MAX)
    return Judged(tick_at_ms, next_at_ms, runs=False, skipped=skipped)
