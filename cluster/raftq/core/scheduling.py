"""Schedules as commands: set, delete, and the firing of one tick."""

from google_crc32c import value as crc32c

from raftq.core.enqueueing import enqueue_parts, refuses
from raftq.core.schedules import ScheduleEntry
from raftq.core.state import State
from raftq.core.task import OVER, Task
from raftq.protocol import codec, limits
from raftq.protocol.commands import EnqueuePart
from raftq.protocol.control import FireSchedule, SetSchedule
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import Overlap, TaskId
from raftq.protocol.replies import Done, Rejected


def set_schedule(state: State, command: SetSchedule) -> Done | Rejected:
    """Create or replace a schedule."""
    wrong = _what_is_wrong(state, command)
    if wrong is not None:
        return Rejected(InvalidRequest.code, wrong)
    schedule = command.schedule
    if not state.schedules.set(command.name, schedule, command.next_at_ms, state.index):
        return Done(False, state.index)
    state.mix_text(command.name)
    state.mix(crc32c(codec.encode(schedule)), command.next_at_ms)
    return Done(True, state.index)


def _what_is_wrong(state: State, command: SetSchedule) -> str | None:
    schedule = command.schedule
    if (schedule.cron is None) == (schedule.every_ms is None):
        return "a schedule has either cron or every_ms"
    if len(schedule.payload) > limits.SCHEDULE_PAYLOAD_BYTES_MAX:
        return f"the payload of a schedule is over {limits.SCHEDULE_PAYLOAD_BYTES_MAX} bytes"
    if schedule.options is not None and schedule.options.depends_on:
        return "a schedule's task cannot depend on others"
    is_new = state.schedules.get(command.name) is None
    if is_new and len(state.schedules) >= limits.SCHEDULES_MAX:
        return f"there are {limits.SCHEDULES_MAX} schedules already"
    return None


def delete_schedule(state: State, name: str) -> Done | Rejected:
    """Delete a schedule."""
    if not state.schedules.delete(name):
        return Done(False, state.index)
    state.mix_text(name)
    return Done(True, state.index)


def fire(state: State, command: FireSchedule) -> Done | Rejected:
    """Enqueue the task of a tick, if the schedule still waits for it."""
    entry = state.schedules.fire_check(command)
    if entry is None:
        return Done(False, state.index)
    fired: TaskId | None = None
    if command.task is not None:
        part = EnqueuePart(entry.schedule.queue, [command.task])
        if _may_run(state, entry, part):
            enqueued = enqueue_parts(state, [part], passes_quotas=True)
            if not isinstance(enqueued, Rejected):
                fired = enqueued.tasks[0].id
    state.schedules.fired(entry, command, fired)
    state.mix(command.tick_at_ms, command.next_at_ms, fired is not None)
    return Done(True, state.index)


def _may_run(state: State, entry: ScheduleEntry, part: EnqueuePart) -> bool:
    """Tell whether a tick may run beside the task of the one before.

    That one is cancelled if the schedule says so, but only if the new one will be enqueued: a run
    that goes on is better than none.
    """
    sequence = 0 if entry.last_task is None else state.tasks.find(entry.last_task)
    last: Task | None = state.tasks.get(sequence) if sequence else None
    if last is None or last.state in OVER or entry.schedule.overlap is Overlap.ALLOW:
        return True
    if entry.schedule.overlap is Overlap.SKIP or refuses(state, [part], last) is not None:
        return False
    state.cancel(last)
    state.tell_relatives()
    return True
