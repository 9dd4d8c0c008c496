"""The check of ticks: what it lets pass, and what it notices."""

from collections.abc import Sequence

from raftq.core.machine import Machine
from raftq.protocol import codec
from raftq.protocol.commands import Command, Entry
from raftq.protocol.control import FireSchedule, SetSchedule
from raftq.protocol.fields import MissedRuns
from raftq.protocol.options import NewTask, Schedule
from raftq.protocol.versions import ENTRY_VERSION
from raftq.server.schedules import tick_task_id
from raftq.testing.checks.schedules import check_ticks, runs_in

START_MS = 1_800_000_000_000
EVERY_MS = 1_000
SCHEDULE = Schedule("ticks", b"", every_ms=EVERY_MS, missed=MissedRuns.ALL)


def machine(fires: Sequence[FireSchedule], end_ms: int, schedule: Schedule = SCHEDULE) -> Machine:
    """Return a machine whose schedule fired, and which the time went on for."""
    made = Machine()
    commands: list[Command] = [SetSchedule("s", schedule, START_MS), *fires]
    for index, batch in enumerate((commands, list[Command]()), 1):
        entry = Entry(ENTRY_VERSION, 0, START_MS + end_ms, batch)
        assert made.apply(codec.encode(entry), index).rejected is None
    return made


def fire(number: int, *, then: int | None = None, runs: bool = True) -> FireSchedule:
    """Return the firing of a tick by its number; `then` is the number of the next."""
    tick_at_ms = START_MS + number * EVERY_MS
    following = START_MS + (number + 1 if then is None else then) * EVERY_MS
    task = NewTask(tick_task_id("c", "s", 1, tick_at_ms), b"") if runs else None
    return FireSchedule("s", 1, tick_at_ms, following, task)


def rules(judged: Machine) -> list[str]:
    return [each.rule for each in check_ticks({"n1": judged}, "n1")]


def test_ticks_that_fired_one_after_the_other_pass() -> None:
    judged = machine([fire(0), fire(1), fire(2)], 2_900)
    assert rules(judged) == []
    assert (runs_in(judged, "ticks"), runs_in(judged, "other")) == (3, 0)


def test_schedule_that_has_not_ticked_yet_passes() -> None:
    assert rules(machine([], 0)) == []


def test_tick_that_was_passed_over_is_noticed() -> None:
    assert rules(machine([fire(0, then=2), fire(2)], 2_900)) == ["tick-lost"]


def test_tick_that_was_left_out_is_noticed() -> None:
    found = rules(machine([fire(0), fire(1, runs=False), fire(2)], 2_900))
    assert found == ["tick-lost", "tick-counts"]


def test_tick_that_fired_twice_is_noticed() -> None:
    # Two schedules in one queue look just like one that fires twice.
    judged = machine([fire(0), fire(1)], 1_900)
    again = NewTask(tick_task_id("other", "s", 1, START_MS), b"")
    commands: list[Command] = [
        SetSchedule("t", SCHEDULE, START_MS),
        FireSchedule("t", 3, START_MS, START_MS + 2 * EVERY_MS, again),
    ]
    judged.apply(codec.encode(Entry(ENTRY_VERSION, 0, START_MS + 1_900, commands)), 3)
    assert "tick-twice" in rules(judged)


def test_tick_that_is_overdue_is_noticed() -> None:
    assert rules(machine([fire(0)], 2_001)) == ["tick-overdue"]
    assert rules(machine([fire(0)], 2_000)) == []


def test_schedule_that_stopped_ticking_is_noticed() -> None:
    assert rules(machine([fire(0, then=5)], 1_500)) == ["tick-lost"]


def test_schedule_that_may_leave_ticks_out_is_not_judged() -> None:
    schedule = Schedule("ticks", b"", every_ms=EVERY_MS)
    assert rules(machine([fire(0, runs=False)], 10_000, schedule)) == []
