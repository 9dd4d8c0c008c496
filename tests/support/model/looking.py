"""What readers should be told."""

from tests.support.model.leases import leasable
from tests.support.model.limit_keys import held_slots
from tests.support.model.world import DONE, LEASED, SlowTask, World

from raftq.protocol.fields import TaskState
from raftq.protocol.options import KeyLimit, QueueSettings
from raftq.protocol.statuses import (
    LimitStatus,
    QueueStatus,
    ScheduleList,
    ScheduleStatus,
    Settings,
    TaskStatus,
)


def status(world: World, task: SlowTask) -> TaskStatus:
    """Return what a reader of a task should be told."""
    assert task.state is not None
    attempts_max = task.new.attempts_max or world.settings(task.queue).attempts_max
    was_cancelled = bool(task.history) and task.history[-1].end == "cancelled"
    runs = task.failures + task.crashes + (task.state in (LEASED, DONE) or was_cancelled)
    return TaskStatus(
        id=task.new.id,
        queue=task.queue,
        state=task.state,
        priority=task.priority,
        failures=task.failures,
        crashes=task.crashes,
        attempts=runs,
        attempts_max=attempts_max,
        token=task.token or None,
        result=task.result,
        errors=[each.error for each in task.history if each.error],
        not_before_at_ms=task.not_before_at_ms,
        enqueued_at_ms=task.enqueued_at_ms,
        finished_at_ms=task.finished_at_ms or None,
        history=task.history,
        progress=task.progress,
        worker=None if task.lease is None else task.lease.worker,
        options=task.new.options,
        sequence=task.number,
    )


def counts(world: World, queue: str) -> dict[str, int]:
    """Return the tasks of a queue by state, forgotten ones counted."""
    found = world.queue(queue)
    states = [each.state for each in world.tasks if each.queue == queue]
    states += [] if found is None else found.forgotten
    return {state.value: states.count(state) for state in TaskState}


def queue_status(world: World, queue: str) -> QueueStatus:
    """Return what a reader of a queue should be told, but for the age of its first task."""
    found = world.queue(queue)
    live = world.where(lambda each: each.queue == queue and each.is_live)
    return QueueStatus(
        queue,
        0 if found is None else found.enqueued,
        counts(world, queue),
        QueueSettings() if found is None else found.settings,
        sum(len(each.new.payload) for each in live),
    )


def ready_count(world: World, queue: str) -> int:
    """Return how many tasks of a queue could be leased now."""
    return leasable(world, queue)


def settings(world: World) -> Settings:
    """Return the quota and the limit keys that are set or in use."""
    keys = {each.key for each in world.limits}
    keys |= {
        each.limit_key or ""
        for each in world.tasks
        if each.limit_key and (each.lease or each.blocked_by == "limit_key")
    }
    return Settings(world.quota, [_limit_status(world, key) for key in sorted(keys)])


def _limit_status(world: World, key: str) -> LimitStatus:
    found = world.limit(key)
    parked = world.where(lambda each: each.limit_key == key and each.blocked_by == "limit_key")
    limit = KeyLimit() if found is None else found.limit
    return LimitStatus(key, limit, held_slots(world, key), len(parked))


def schedule_list(world: World) -> ScheduleList:
    """Return all schedules, by name."""
    return ScheduleList(
        [
            ScheduleStatus(
                each.name,
                each.schedule,
                each.revision,
                each.next_at_ms or None,
                each.last_tick_at_ms or None,
                each.last_task,
                each.runs,
                each.skipped,
            )
            for each in sorted(world.schedules, key=lambda each: each.name)
        ]
    )
