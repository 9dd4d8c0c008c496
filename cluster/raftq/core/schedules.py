"""Schedules, and for which tick each of them waits.

Ticks are computed by the leader (`raftq.server.schedules`): nothing here knows cron. A tick is
fired by a command that names the schedule's revision and the tick; when that does not match any
more, the command changes nothing. So each tick is judged once, whoever proposes it how often.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from msgspec import Struct

from raftq.core.timers import Timers
from raftq.protocol.control import FireSchedule
from raftq.protocol.fields import Count, Index, Instant, ScheduleName, TaskId
from raftq.protocol.options import Schedule
from raftq.protocol.statuses import ScheduleStatus


class ScheduleRow(Struct, array_like=True, frozen=True):
    """A schedule as a dump holds it."""

    name: ScheduleName
    schedule: Schedule
    revision: Index
    next_at_ms: Instant
    last_tick_at_ms: Instant
    last_task: TaskId | None
    runs: Count
    skipped: Count


@dataclass(slots=True, eq=False)
class ScheduleEntry:
    """A schedule and where it stands; changed by `Schedules` only."""

    name: str
    schedule: Schedule
    revision: int
    """The log index at which it was set."""
    next_at_ms: int
    """The tick that it waits for; 0 if it is paused or there is none."""
    last_tick_at_ms: int = 0
    """The newest tick that was judged, whether it ran or was left out."""
    last_task: TaskId | None = None
    """Of the newest tick that ran."""
    runs: int = 0
    skipped: int = 0
    number: int = 0
    """Its own among all entries ever; 0 once it is replaced or deleted."""


def _due_of(entry: ScheduleEntry) -> tuple[int, int] | None:
    return (entry.next_at_ms, entry.number) if entry.next_at_ms and entry.number else None


class Schedules:
    """All schedules, by name and by next tick."""

    def __init__(self) -> None:
        self._entries: dict[str, ScheduleEntry] = {}
        self._timers: Timers[ScheduleEntry] = Timers(_due_of)
        self._numbers = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str) -> ScheduleEntry | None:
        """Return the schedule of a name."""
        return self._entries.get(name)

    # ------------------------------------------------------------ changes

    def set(self, name: str, schedule: Schedule, next_at_ms: int, index: int) -> bool:
        """Create or replace a schedule; tell whether that changed anything.

        What it replaces bequeaths its counts and its last task; and the tick that it waits for,
        if both tick alike: a program that is deployed every hour must not put off a daily tick.

        Args:
            name: Of the schedule.
            schedule: Its definition.
            next_at_ms: The first tick after now; 0 if there is none.
            index: Of the log entry.
        """
        old = self._entries.get(name)
        entry = ScheduleEntry(name, schedule, index, 0 if schedule.paused else next_at_ms)
        if old is not None:
            if old.schedule == schedule:
                return False
            entry.last_tick_at_ms, entry.last_task = old.last_tick_at_ms, old.last_task
            entry.runs, entry.skipped = old.runs, old.skipped
            if old.next_at_ms and not schedule.paused and _tick_alike(old.schedule, schedule):
                entry.next_at_ms = old.next_at_ms
            self._remove(old)
        self._add(entry)
        return True

    def delete(self, name: str) -> bool:
        """Delete a schedule; tell whether there was one."""
        entry = self._entries.get(name)
        if entry is None:
            return False
        self._remove(entry)
        return True

    def fire_check(self, command: FireSchedule) -> ScheduleEntry | None:
        """Return the schedule if it is set as it was when the tick was proposed, and waits for it.

        A tick that would not lead on to a later one is refused, or it would be fired for ever.
        """
        entry = self._entries.get(command.name)
        if entry is None or entry.revision != command.revision or not entry.next_at_ms:
            return None
        leads_on = not command.next_at_ms or command.next_at_ms > command.tick_at_ms
        return entry if entry.next_at_ms == command.tick_at_ms and leads_on else None

    def fired(self, entry: ScheduleEntry, command: FireSchedule, task: TaskId | None) -> None:
        """Record what came of a tick, and wait for the next.

        Args:
            entry: What `fire_check` returned for the command.
            command: The tick.
            task: What it enqueued; None if it was left out.
        """
        entry.last_tick_at_ms = command.tick_at_ms
        entry.skipped += command.skipped
        if task is None:
            entry.skipped += 1
        else:
            entry.runs += 1
            entry.last_task = task
        entry.next_at_ms = command.next_at_ms
        if entry.next_at_ms:
            self._timers.move(entry.next_at_ms, entry.number, entry)
        else:
            self._timers.forget()

    def _add(self, entry: ScheduleEntry) -> None:
        self._numbers += 1
        entry.number = self._numbers
        self._entries[entry.name] = entry
        if entry.next_at_ms:
            self._timers.add(entry.next_at_ms, entry.number, entry)

    def _remove(self, entry: ScheduleEntry) -> None:
        del self._entries[entry.name]
        entry.number = 0
        if entry.next_at_ms:
            self._timers.forget()

    # ------------------------------------------------------------ reading

    def next_at_ms(self) -> int | None:
        """Return the earliest tick that a schedule waits for."""
        return self._timers.next_ms()

    def due(self, now_ms: int, count_max: int | None = None) -> list[ScheduleEntry]:
        """Return the schedules whose tick has come, in the order of their ticks.

        Args:
            now_ms: Wall time.
            count_max: How many at most; None for all.
        """
        found: list[ScheduleEntry] = []
        while count_max is None or len(found) < count_max:
            entry = self._timers.pop_due(now_ms)
            if entry is None:
                break
            found.append(entry)
        for entry in found:
            self._timers.add(entry.next_at_ms, entry.number, entry)
        return found

    def statuses(self, name: str | None = None) -> list[ScheduleStatus]:
        """Return all schedules by name, or the one of a name if there is one."""
        if name is not None:
            return [_status(self._entries[name])] if name in self._entries else []
        return [_status(self._entries[each]) for each in sorted(self._entries)]

    # ------------------------------------------------------------ dumps

    def rows(self) -> Iterator[ScheduleRow]:
        """Yield all that is to be written, by name: equal states give equal rows."""
        for name in sorted(self._entries):
            entry = self._entries[name]
            yield ScheduleRow(
                name,
                entry.schedule,
                entry.revision,
                entry.next_at_ms,
                entry.last_tick_at_ms,
                entry.last_task,
                entry.runs,
                entry.skipped,
            )

    def restore(self, rows: Iterable[ScheduleRow]) -> None:
        """Add what was dumped; names that are there already are replaced."""
        for row in rows:
            self.delete(row.name)
            self._add(
                ScheduleEntry(
                    row.name,
                    row.schedule,
                    row.revision,
                    row.next_at_ms,
                    row.last_tick_at_ms,
                    row.last_task,
                    row.runs,
                    row.skipped,
                )
            )


def _tick_alike(one: Schedule, other: Schedule) -> bool:
    """Tell whether two definitions have the same ticks."""
    if one.cron is None:
        return one.every_ms == other.every_ms
    return (one.cron, one.timezone) == (other.cron, other.timezone)


def _status(entry: ScheduleEntry) -> ScheduleStatus:
    return ScheduleStatus(
        entry.name,
        entry.schedule,
        entry.revision,
        entry.next_at_ms or None,
        entry.last_tick_at_ms or None,
        entry.last_task,
        entry.runs,
        entry.skipped,
    )
