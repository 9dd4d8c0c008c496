"""Reports about leases: ack, fail, requeue and extend."""

from tests.support.model.enqueues import Refused, carry_out, planned
from tests.support.model.moves import (
    end,
    finish,
    is_spent,
    leave,
    note,
    pass_gates,
    pause_of,
    release,
    retry,
    tell_children,
)
from tests.support.model.world import CANCELLED, DEAD, DONE, LEASED, SlowTask, World

from raftq.protocol import limits
from raftq.protocol.commands import AckItem, ExtendItem, FailItem, RequeueItem
from raftq.protocol.replies import SettledTask

LOST = SettledTask(None, "lease_lost")
STOP = SettledTask(CANCELLED, "cancelled")


def _held(world: World, token: int) -> SlowTask | None:
    """Return the task whose newest lease has a token and is held, cancelled or not."""
    held = world.where(lambda each: each.token == token and each.lease is not None)
    return held[0] if held else None


def _ended(world: World, token: int, by: str) -> SettledTask:
    """Answer a report whose lease is over: the same report again is answered again."""
    for task in world.tasks:
        if task.token == token and task.ended_by == by:
            return SettledTask(task.state)
        if task.token == token and task.ended_by == "cancel":
            return STOP
    return LOST


def _stop(world: World, task: SlowTask) -> SettledTask:
    """A worker has settled a task that was cancelled: nothing of it runs any more."""
    release(world, task, "cancel")
    leave(world, task)
    return STOP


def ack(world: World, item: AckItem) -> SettledTask:
    """Record a task as done, and enqueue what follows."""
    task = _held(world, item.token)
    if task is None:
        return _ended(world, item.token, "ack")
    if task.state is CANCELLED:
        return _stop(world, task)
    if sum(len(part.tasks) for part in item.follow_ups) > limits.FOLLOW_UPS_MAX:
        return SettledTask(None, "invalid_request")
    try:
        plan = planned(world, item.follow_ups, task)
    except Refused as refused:
        return SettledTask(None, refused.code)
    finish(world, task, item.result)
    carry_out(world, plan)
    if item.follow_ups:
        tell_children(world)
    return SettledTask(DONE)


def fail(world: World, item: FailItem) -> SettledTask:
    """Record a run that failed or crashed: another attempt, or dead."""
    task = _held(world, item.token)
    if task is None:
        return _ended(world, item.token, "fail")
    if task.state is CANCELLED:
        return _stop(world, task)
    note(world, task, "crashed" if item.is_crash else "failed", item.error)
    if item.is_crash:
        task.crashes += 1
    else:
        task.failures += 1
    release(world, task, "fail")
    if item.is_final or is_spent(world, task):
        end(world, task, DEAD)
        return SettledTask(DEAD)
    backoff = task.options.backoff or world.settings(task.queue).backoff
    pause_ms = item.delay_ms
    if pause_ms is None:
        number = task.crashes if item.is_crash else task.failures
        pause_ms = pause_of(backoff, task.new.id, number)
    retry(world, task, pause_ms)
    return SettledTask(task.state)


def requeue(world: World, item: RequeueItem) -> SettledTask:
    """Take a lease back; it burns no attempt."""
    task = _held(world, item.token)
    if task is None:
        return _ended(world, item.token, "requeue")
    if task.state is CANCELLED:
        return _stop(world, task)
    release(world, task, "requeue")
    if item.delay_ms:
        task.not_before_at_ms = world.wall_now_ms + item.delay_ms
    pass_gates(world, task, 3, is_back=True)
    return SettledTask(task.state)


def extend(world: World, item: ExtendItem) -> SettledTask:
    """Prolong a lease."""
    task = _held(world, item.token)
    if task is None:
        return _ended(world, item.token, "no report")
    if task.state is CANCELLED:
        return STOP
    assert task.lease is not None
    deadline_ms = world.lease_now_ms + item.lease_ms
    progress = task.progress if item.progress is None else item.progress
    if (deadline_ms, progress) != (task.lease.deadline_ms, task.progress):
        world.step()
    task.lease.deadline_ms, task.progress = deadline_ms, progress
    return SettledTask(LEASED)


def run_out(world: World, task: SlowTask) -> None:
    """The lease of a task ran out."""
    assert task.lease is not None
    if task.state is CANCELLED:
        release(world, task, "time")
        leave(world, task)
        return
    note(world, task, "lease ran out", f"lease ran out (worker {task.lease.worker})")
    task.crashes += 1
    release(world, task, "time")
    if is_spent(world, task):
        end(world, task, DEAD)
    else:
        pass_gates(world, task, 3, is_back=True)
