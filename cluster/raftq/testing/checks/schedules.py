"""Every tick of a schedule fired once, by the tasks that it left in a queue of its own."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.protocol.fields import MissedRuns, Overlap
from raftq.protocol.options import TaskFilter
from raftq.protocol.statuses import ScheduleStatus
from raftq.testing.checks.verdict import Violation

OVERDUE_MS: Final = 1_000
"""A tick that came longer before the newest entry was not fired by a cluster that was whole."""


def check_ticks(machines: Mapping[str, Machine], newest: str | None) -> Iterator[Violation]:
    """No tick fired twice, none is missing, and none is overdue at the end.

    Judges schedules that make up for missed ticks, tick at equal distances, and whose tasks have a
    queue for themselves in which they stay. The id of a task tells its tick.
    """
    if newest is None:
        return
    machine = machines[newest]
    for status in machine.schedule_list().schedules:
        schedule = status.schedule
        is_judged = schedule.missed is MissedRuns.ALL and schedule.overlap is Overlap.ALLOW
        if is_judged and schedule.every_ms is not None:
            ticks = _ticks(machine, schedule.queue)
            yield from _judge(status, schedule.every_ms, ticks, machine.wall_now_ms)


def runs_in(machine: Machine, queue: str) -> int:
    """Return how many tasks of a queue were enqueued by schedules."""
    found = machine.schedule_list().schedules
    return sum(status.runs for status in found if status.schedule.queue == queue)


def _ticks(machine: Machine, queue: str) -> list[int]:
    """Return the ticks that the ids of a queue's tasks tell, in order."""
    ticks: list[int] = []
    after: int | None = 0
    while after is not None:
        page = machine.tasks_page(TaskFilter(queue=queue), after, limits.TASKS_PER_SWEEP_MAX)
        ticks += [int.from_bytes(task.id[:6]) for task in page.tasks]
        after = page.next_after
    return sorted(ticks)


def _judge(
    status: ScheduleStatus, every_ms: int, ticks: list[int], now_ms: int
) -> Iterator[Violation]:
    name, next_at_ms = status.name, status.next_at_ms
    for earlier, later in pairwise(ticks):
        if earlier == later:
            yield Violation("tick-twice", f"the tick {earlier} of {name} fired twice")
        elif later - earlier != every_ms:
            yield Violation("tick-lost", f"after {earlier}, {name} fired at {later} only")
    if (status.runs, status.skipped) != (len(ticks), 0):
        text = f"{name} counts {status.runs} runs and {status.skipped} left out"
        yield Violation("tick-counts", f"{text}; {len(ticks)} tasks are there")
    if next_at_ms is None or (ticks and next_at_ms != ticks[-1] + every_ms):
        yield Violation("tick-lost", f"{name} waits for {next_at_ms}; the last was {ticks[-1:]}")
    elif now_ms - next_at_ms > OVERDUE_MS:
        yield Violation("tick-overdue", f"{name} waits for {next_at_ms} at {now_ms} still")
