"""Schedules: set, deleted, and fired once per tick."""

from tests.support.model.enqueues import Refused, carry_out, planned
from tests.support.model.moves import cancel, tell_children
from tests.support.model.world import OVER, SlowSchedule, World

from raftq.protocol import limits
from raftq.protocol.commands import EnqueuePart
from raftq.protocol.control import DeleteSchedule, FireSchedule, SetSchedule
from raftq.protocol.fields import Overlap
from raftq.protocol.options import NewTask, Schedule
from raftq.protocol.replies import Done, Rejected


def _find(world: World, name: str) -> SlowSchedule | None:
    return next((each for each in world.schedules if each.name == name), None)


def set_schedule(world: World, command: SetSchedule) -> Done | Rejected:
    """Create or replace a schedule, unless it is so already."""
    schedule, found = command.schedule, _find(world, command.name)
    if (schedule.cron is None) == (schedule.every_ms is None):
        return Rejected("invalid_request", "")
    if len(schedule.payload) > limits.SCHEDULE_PAYLOAD_BYTES_MAX:
        return Rejected("invalid_request", "")
    if schedule.options is not None and schedule.options.depends_on:
        return Rejected("invalid_request", "")
    if found is not None and found.schedule == command.schedule:
        return Done(False, world.index)
    if found is None:
        if len(world.schedules) >= limits.SCHEDULES_MAX:
            return Rejected("invalid_request", "")
        found = SlowSchedule(command.name, command.schedule, world.index, 0)
        world.schedules.append(found)
    if schedule.paused:
        found.next_at_ms = 0
    elif not found.next_at_ms or _times(found.schedule) != _times(schedule):
        found.next_at_ms = command.next_at_ms
    found.schedule, found.revision = command.schedule, world.index
    world.step()
    return Done(True, world.index)


def _times(schedule: Schedule) -> object:
    if schedule.every_ms is not None:
        return schedule.every_ms
    return schedule.cron, schedule.timezone


def delete_schedule(world: World, command: DeleteSchedule) -> Done:
    """Delete a schedule; its tasks stay."""
    found = _find(world, command.name)
    if found is None:
        return Done(False, world.index)
    world.schedules.remove(found)
    world.step()
    return Done(True, world.index)


def fire(world: World, command: FireSchedule) -> Done:
    """Enqueue the task of a tick, if it is the one that the schedule waits for."""
    found = _find(world, command.name)
    if (
        found is None
        or (found.revision, found.next_at_ms) != (command.revision, command.tick_at_ms)
        or not command.tick_at_ms
        or 0 < command.next_at_ms <= command.tick_at_ms
    ):
        return Done(False, world.index)
    world.step()
    found.last_tick_at_ms, found.next_at_ms = command.tick_at_ms, command.next_at_ms
    found.skipped += command.skipped
    task_id = None if command.task is None else _run(world, found, command.task)
    if task_id is not None:
        found.runs += 1
        found.last_task = task_id
    else:
        found.skipped += 1
    return Done(True, world.index)


def _run(world: World, schedule: SlowSchedule, new: NewTask) -> bytes | None:
    """Enqueue the task of a tick; return the id of the task that there is then."""
    earlier = None if schedule.last_task is None else world.find(schedule.last_task)
    is_overlap = earlier is not None and earlier.state not in OVER
    if is_overlap and schedule.schedule.overlap is Overlap.SKIP:
        return None
    parts = [EnqueuePart(schedule.schedule.queue, [new])]
    try:
        if earlier is not None and is_overlap and schedule.schedule.overlap is Overlap.REPLACE:
            planned(world, parts, earlier)  # Refused before anything is cancelled.
            cancel(world, earlier)
            tell_children(world)
        plan = planned(world, parts)
    except Refused:
        return None
    carry_out(world, plan)
    return plan[0].known.id if plan[0].known else new.id
