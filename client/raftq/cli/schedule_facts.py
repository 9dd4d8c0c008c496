"""A schedule as the command line shows it: JSON without bytes, and words for a person."""

import base64
from uuid import UUID

from raftq.cli import moments
from raftq.cli.control.facts import options_facts, options_words
from raftq.cli.output import printable
from raftq.client import Schedule, ScheduleStatus
from raftq.protocol import limits


def schedule_facts(found: ScheduleStatus) -> dict[str, object]:
    """Return a schedule as JSON."""
    schedule = found.schedule
    facts: dict[str, object] = {"schedule": found.name}
    for name in schedule.__struct_fields__:
        facts[name] = getattr(schedule, name)
    facts["payload"] = schedule.payload.decode(errors="replace")
    facts["payload_base64"] = base64.b64encode(schedule.payload).decode()
    facts["options"] = None if schedule.options is None else options_facts(schedule.options)
    for name in ("revision", "next_at_ms", "last_tick_at_ms", "runs", "skipped"):
        facts[name] = getattr(found, name)
    facts["last_task"] = None if found.last_task is None else str(UUID(bytes=found.last_task))
    return facts


def when(schedule: Schedule) -> str:
    """Return at which times a schedule ticks."""
    if schedule.every_ms is not None:
        return f"every {moments.duration(schedule.every_ms)}"
    return f"{schedule.cron} ({schedule.timezone})"


def schedule_words(found: ScheduleStatus) -> dict[str, object]:
    """Return a schedule for a person: what it has, with times that can be read."""
    schedule, now = found.schedule, moments.now_ms()
    words: dict[str, object] = {
        "schedule": found.name,
        "queue": schedule.queue,
        "payload": printable(schedule.payload),
        "when": when(schedule),
        "missed": schedule.missed,
        "overlap": schedule.overlap,
        **_task_words(schedule),
        "next": "paused" if schedule.paused else "never",
        "runs": found.runs,
        "skipped": found.skipped,
    }
    if found.next_at_ms is not None:
        words["next"] = moments.instant(found.next_at_ms, now)
    if found.last_tick_at_ms is not None:
        words["last tick"] = moments.instant(found.last_tick_at_ms, now)
    if found.last_task is not None:
        words["last task"] = str(UUID(bytes=found.last_task))
    return words


def _task_words(schedule: Schedule) -> dict[str, object]:
    """Return what was said about the tasks beyond what is usual."""
    words: dict[str, object] = {}
    if schedule.jitter_ms:
        words["jitter"] = moments.duration(schedule.jitter_ms)
    if schedule.priority != limits.PRIORITY_DEFAULT:
        words["priority"] = schedule.priority
    if schedule.attempts_max:
        words["attempts max"] = schedule.attempts_max
    if schedule.options is not None:
        words |= options_words(schedule.options)
    return words
