"""Cron expressions in a time zone: from an instant to the ticks after it.

`cronsim` reads the expression and finds matching dates of the calendar. What they mean where
clocks are put forward or back is decided here, because its own stepping by whole hours loses ticks
where clocks move by half an hour (Australia/Lord_Howe). Two rules, by the hour field:

- With `*` as its hour, an expression goes by the time that passes: it ticks at each instant at
  which the local clock shows a matching time. A time that is skipped has no tick, and one that
  comes twice has two, so that the pauses between ticks stay as they are.
- Otherwise it names times of the day, and each has one tick: the first time that the clock shows
  it. One that is skipped has its tick at the instant at which the clock is put forward; several
  that are skipped, and one that falls on that instant, share it.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from cronsim import CronSim, CronSimError

from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest
from raftq.server.schedules.timezones import zone_of

_FIELDS: Final = 5
_SECOND: Final = timedelta(seconds=1)
_EPOCH: Final = datetime(1970, 1, 1)
_SHIFT_SECONDS_MAX: Final = limits.DAY_MS // 1_000
"""No clock is put back by more."""
_LAST_SECOND: Final = int((datetime(9900, 1, 1) - _EPOCH) / _SECOND)
"""Calendars of computers end with the year 9999."""
_EXAMPLE: Final = (
    "write five fields (minute, hour, day of the month, month, day of the week), "
    "such as '30 8 * * MON-FRI'"
)


class Cron:
    """A cron expression in a time zone.

    Args:
        text: Five fields; names, ranges, lists, steps, `L`, `LW` and `#` as cronsim reads them.
        timezone: As the IANA names it.

    Raises:
        InvalidRequest: One of them is wrong, or the expression never comes true.
    """

    def __init__(self, text: str, timezone: str) -> None:
        self._zone = zone_of(timezone)
        self._text = text
        fields = text.split()
        if len(fields) != _FIELDS:
            raise _invalid(text, f"it has {len(fields)} fields")
        try:
            matches = CronSim(text, _EPOCH)
        except CronSimError as error:
            raise _invalid(text, str(error).lower()) from None
        if next(matches, None) is None:
            raise _invalid(text, "no day is like that")
        self._goes_by_passing_time = fields[1] == "*"

    def after(self, at_ms: int) -> Iterator[int]:
        """Yield the ticks after an instant, in milliseconds since 1970, in order."""
        if at_ms >= _LAST_SECOND * 1_000:
            return
        second = at_ms // 1_000
        if self._goes_by_passing_time:
            while (tick := self._next_shown(second)) is not None:
                yield tick * 1_000
                second = tick
        else:
            for tick in self._first_shown(second):
                yield tick * 1_000

    def newest(self, after_ms: int, until_ms: int, count_max: int) -> list[int]:
        """Return the newest ticks after an instant and up to another one, in order.

        Looks back further and further: all ticks of a long time would be too many to look at.
        """
        span_ms = count_max * limits.MINUTE_MS
        while True:
            start_ms = max(after_ms, until_ms - span_ms)
            found: list[int] = []
            for tick in self.after(start_ms):
                if tick > until_ms:
                    break
                found.append(tick)
            if len(found) >= count_max or start_ms == after_ms:
                return found[-count_max:]
            span_ms *= 2

    def count(self, after_ms: int, until_ms: int, count_max: int) -> int:
        """Return how many ticks there are after an instant and up to another one, at most so many
        as `count_max`."""
        ticks = islice(self.after(after_ms), count_max)
        return sum(1 for tick in ticks if tick <= until_ms)

    # ------------------------------------------------------------ by passing time

    def _next_shown(self, second: int) -> int | None:
        """Return the next instant at which the local clock shows a matching time."""
        shown = _date(second + self._offset(second))
        while True:
            match = next(CronSim(self._text, shown), None)
            if match is None:
                return None
            tick = _seconds(match) - self._offset(second)
            turn = self._turn(second, min(tick, second + _SHIFT_SECONDS_MAX))
            if turn is None:
                turn = self._turn(second, tick)
            if turn is None or tick < turn:
                return tick
            second = turn
            shown = _date(second + self._offset(second)) - _SECOND

    # ------------------------------------------------------------ by times of the day

    def _first_shown(self, second: int) -> Iterator[int]:
        """Yield the instants after one at which matching times are shown for the first time."""
        for match in CronSim(self._text, _date(second + self._offset(second))):
            tick = self._instant(match)
            if tick > second:
                yield tick
                second = tick

    def _instant(self, shown: datetime) -> int:
        """Return when the local clock shows a time first, or is put forward past it."""
        before = _offset_of(shown.replace(tzinfo=self._zone))
        after = _offset_of(shown.replace(tzinfo=self._zone, fold=1))
        instant = _seconds(shown) - before
        if after <= before:
            return instant
        turn = self._turn(_seconds(shown) - after, instant)
        assert turn is not None, f"{shown} is skipped in {self._zone}, but no clock moves there"
        return turn

    # ------------------------------------------------------------ the zone

    def _offset(self, second: int) -> int:
        return _offset_of(datetime.fromtimestamp(second, self._zone))

    def _turn(self, start: int, end: int) -> int | None:
        """Return the first second after `start`, up to `end`, with the offset from UTC that is
        reached at `end`; None if that is the one at `start`."""
        offset = self._offset(start)
        if self._offset(end) == offset:
            return None
        while end - start > 1:
            middle = (start + end) // 2
            if self._offset(middle) == offset:
                start = middle
            else:
                end = middle
        return end


def _invalid(text: str, wrong: str) -> InvalidRequest:
    return InvalidRequest(f"cron: {text!r:.80} is no cron expression: {wrong}; {_EXAMPLE}")


def _date(second: int) -> datetime:
    return _EPOCH + second * _SECOND


def _seconds(date: datetime) -> int:
    return (date - _EPOCH) // _SECOND


def _offset_of(date: datetime) -> int:
    offset = date.utcoffset()
    assert offset is not None, "a date without a time zone"
    return offset // _SECOND
