"""The gates that a waiting task passes, and the ways in which it ends."""

from google_crc32c import value as crc32c
from tests.support.model import limit_keys
from tests.support.model.lines import change, hide, to_back, to_front
from tests.support.model.world import (
    BLOCKED,
    CANCELLED,
    DEAD,
    DONE,
    EXPIRED,
    FOR_GOOD,
    LEASED,
    OVER,
    READY,
    SCHEDULED,
    SlowTask,
    World,
)

from raftq.protocol import limits
from raftq.protocol.fields import BackoffKind, OnParentFailure, TaskState
from raftq.protocol.options import Backoff
from raftq.protocol.statuses import Attempt

# ---------------------------------------------------------------- gates


def pass_gates(world: World, task: SlowTask, first: int, *, is_back: bool = False) -> None:
    """Let a task through the gates from the one of a number on, as far as it comes.

    One that came back stands before those that did not.
    """
    if first <= 1 and task.is_unconfirmed and task.home_queue is None:
        change(world, task, BLOCKED, "unconfirmed")
    elif first <= 2 and task.waits_for and task.home_queue is None:
        change(world, task, BLOCKED, "parents")
    elif task.not_before_at_ms > world.wall_now_ms:
        change(world, task, SCHEDULED)
    elif not has_order_key(world, task):
        change(world, task, BLOCKED, "order_key")
    elif is_back:
        to_front(world, task)
    else:
        to_back(world, task)


def has_order_key(world: World, task: SlowTask) -> bool:
    """Give a task its place in the line of its order key; tell whether it holds the key."""
    key = task.options.order_key
    if key is None or task.home_queue is not None:
        return True
    line = world.order_lines.setdefault(key, [])
    if task.number not in line:
        line.append(task.number)
    return line[0] == task.number


def give_up_order_key(world: World, task: SlowTask) -> None:
    """Take a task out of the line of its key; the next one goes on."""
    key = task.options.order_key
    line = world.order_lines.get(key or "", [])
    if key is None or task.number not in line:
        return
    was_holder = line[0] == task.number
    line.remove(task.number)
    if not line:
        del world.order_lines[key]
    elif was_holder:
        heir = world.numbered(line[0])
        if heir.blocked_by == "order_key":
            pass_gates(world, heir, 3)


# ---------------------------------------------------------------- ends


def end(world: World, task: SlowTask, state: TaskState) -> None:
    """Record that a task is over, and let those go on that waited for it."""
    change(world, task, state)
    task.finished_at_ms, task.finished_number = world.wall_now_ms, world.step()
    world.finished.append(task.new.id)
    _give_up_unique_key(world, task)
    world.over.append(task)
    if task.lease is None:
        leave(world, task)


def _give_up_unique_key(world: World, task: SlowTask) -> None:
    for each in list(world.uniques):
        if each.number == task.number:
            each.ended_as = task.state
            if not each.until_ms:
                world.uniques.remove(each)


def leave(world: World, task: SlowTask) -> None:
    """A task is over, and nobody runs it any more."""
    give_up_order_key(world, task)
    if task.state not in FOR_GOOD:
        return
    for parent in world.where(lambda each: each.new.id in task.options.depends_on):
        if parent.is_gone and parent not in world.outcomes:
            keep_outcome(world, parent)
    keep_outcome(world, task)


def depends(child: SlowTask, parent: bytes) -> bool:
    """Tell whether a child that may still run depends on a parent."""
    return parent in child.options.depends_on and not child.is_gone


def keep_outcome(world: World, task: SlowTask) -> None:
    """Keep an outcome for its time, unless a child may still read it."""
    if not any(depends(each, task.new.id) for each in world.tasks):
        ttl_ms = task.options.result_ttl_ms or world.settings(task.queue).result_ttl_ms
        task.keep_ms = max(ttl_ms, limits.RETRY_MEMORY_MS)
        world.outcomes.append(task)


def tell_children(world: World) -> None:
    """Let the children of tasks that are over know it; done after each command."""
    while world.over:
        parent = world.over.pop(0)
        for child in list(world.tasks):
            if parent.new.id in child.waits_for and child.state not in FOR_GOOD:
                _judge_parent(world, child, parent)


def _judge_parent(world: World, child: SlowTask, parent: SlowTask) -> None:
    """Tell a child that a parent is over."""
    if keeps_waiting(child, parent):
        return
    if cancels(child, parent):
        cancel(world, child)
        return
    child.waits_for.remove(parent.new.id)
    if not child.waits_for and child.blocked_by == "parents":
        pass_gates(world, child, 3)


def keeps_waiting(child: SlowTask, parent: SlowTask) -> bool:
    """Tell whether a child waits for a parent."""
    is_redrivable = parent.state is DEAD
    waits = child.options.on_parent_failure is OnParentFailure.WAIT
    return parent.state not in OVER or (is_redrivable and waits)


def cancels(child: SlowTask, parent: SlowTask) -> bool:
    """Tell whether a parent that is over takes its child along."""
    is_failed = parent.state in (DEAD, CANCELLED, EXPIRED)
    return is_failed and child.options.on_parent_failure is not OnParentFailure.RUN


def cancel(world: World, task: SlowTask) -> None:
    """Cancel a task that is not over, or dead; one that is leased keeps its lease."""
    if task.state is LEASED:
        note(world, task, "cancelled", "")
    elif task.state is not DEAD:
        take_out(world, task)
    end(world, task, CANCELLED)


def finish(world: World, task: SlowTask, result: bytes | None) -> None:
    """Record a leased task as done."""
    release(world, task, "ack")
    task.result = result
    end(world, task, DONE)


def release(world: World, task: SlowTask, by: str) -> None:
    """End the lease of a task; what it used is free again."""
    task.lease, task.ended_by = None, by
    if task.limit_key is not None:
        limit_keys.is_released(world, task.limit_key)


def take_out(world: World, task: SlowTask) -> None:
    """Take a waiting task from its place, to give it another."""
    was_ready = task.state is READY
    hide(world, task)
    key = task.options.limit_key
    if was_ready and key is not None:
        limit_keys.is_gone(world, key, task.queue)


# ---------------------------------------------------------------- failures


def note(world: World, task: SlowTask, how: str, error: str) -> None:
    """Write a run that did not succeed into the history; its lease is still held."""
    assert task.lease is not None
    attempt = Attempt(
        task.failures + task.crashes + 1,
        task.lease.worker,
        task.lease.granted_at_ms,
        world.wall_now_ms,
        how,
        error,
    )
    task.history = [*task.history, attempt][-limits.ERRORS_KEPT_PER_TASK :]


def is_spent(world: World, task: SlowTask) -> bool:
    """Tell whether a task has failed or crashed too often."""
    settings = world.settings(task.queue)
    attempts_max = task.new.attempts_max or settings.attempts_max
    crashes_max = task.options.crashes_max or settings.crashes_max
    return task.failures >= attempts_max or task.crashes >= crashes_max


def retry(world: World, task: SlowTask, pause_ms: int) -> None:
    """Let a task run again after a pause, in which it keeps its order key."""
    if pause_ms:
        task.not_before_at_ms = world.wall_now_ms + pause_ms
    pass_gates(world, task, 3)


def pause_of(backoff: Backoff, task_id: bytes, number: int) -> int:
    """Return the pause after so many failures, or so many crashes."""
    match backoff.kind:
        case BackoffKind.FIXED:
            full_ms = backoff.base_ms
        case BackoffKind.LINEAR:
            full_ms = backoff.base_ms * number
        case BackoffKind.EXPONENTIAL:
            full_ms = backoff.base_ms * 2 ** (number - 1)
    full_ms = min(full_ms, backoff.max_ms)
    away_max_ms = full_ms * backoff.jitter_percent // 100
    return full_ms - crc32c(task_id + number.to_bytes(4)) % (away_max_ms + 1)
