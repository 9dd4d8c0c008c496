"""Control: cancel, confirm, edit, sweeps over many tasks, and what is set."""

from google_crc32c import value as crc32c
from msgspec import UNSET, structs

from raftq.core.bucket import bucket_of
from raftq.core.finding import Search
from raftq.core.limit_keys import NO_LIMIT
from raftq.core.state import State
from raftq.core.task import (
    BLOCKED,
    CANCELLED,
    DEAD,
    EXPIRED,
    LEASED,
    READY,
    SCHEDULED,
    WAITING,
    Blocked,
    Task,
)
from raftq.protocol import codec, limits
from raftq.protocol.control import Edit, SetLimit, SetQueue, Sweep
from raftq.protocol.errors import Conflict, InvalidRequest, UnknownTask
from raftq.protocol.fields import SweepAction, TaskId
from raftq.protocol.options import Quota
from raftq.protocol.replies import Done, Rejected, SettledTask, Swept

_UNKNOWN = SettledTask(None, UnknownTask.code)


def _find(state: State, task_id: TaskId) -> Task | None:
    sequence = state.tasks.find(task_id)
    return state.tasks.get(sequence) if sequence else None


# ---------------------------------------------------------------- single tasks


def cancel(state: State, task_id: TaskId) -> SettledTask:
    """Cancel one task."""
    task = _find(state, task_id)
    if task is None:
        return _UNKNOWN
    if task.state in WAITING or task.state in (LEASED, DEAD):
        state.cancel(task)
        state.tell_relatives()
    return SettledTask(task.state, "" if task.state is CANCELLED else Conflict.code)


def confirm(state: State, task_id: TaskId) -> SettledTask:
    """Let one prepared task go on."""
    task = _find(state, task_id)
    if task is None:
        return _UNKNOWN
    extras = task.extras
    if extras is None or not extras.options.confirm_within_ms:
        return SettledTask(task.state, Conflict.code)
    is_prepared = extras.blocked_by is Blocked.UNCONFIRMED or extras.home_queue is not None
    if is_prepared and (task.state in WAITING or task.state is LEASED):
        state.confirm(task)
    elif is_prepared or task.state in (DEAD, CANCELLED, EXPIRED):
        return SettledTask(task.state, Conflict.code)
    return SettledTask(task.state)


def edit(state: State, command: Edit) -> SettledTask | Rejected:
    """Change a waiting task."""
    if command.delay_ms is not None and command.not_before_at_ms is not None:
        return Rejected(InvalidRequest.code, "an edit has either delay_ms or not_before_at_ms")
    if (command.not_before_at_ms or 0) - state.wall_now_ms > limits.DELAY_MS_MAX:
        return Rejected(InvalidRequest.code, "not_before_at_ms is too far away")
    task = _find(state, command.id)
    if task is None:
        return _UNKNOWN
    if task.state not in WAITING:
        return SettledTask(task.state, Conflict.code)
    priority = task.priority if command.priority is None else command.priority
    at_ms = task.not_before_at_ms
    if command.not_before_at_ms is not None:
        at_ms = command.not_before_at_ms
    if command.delay_ms is not None:
        at_ms = state.wall_now_ms + command.delay_ms
    if (command.delay_ms, command.not_before_at_ms) != (None, None) and _is_checked(task):
        _set_home_start(state, task, at_ms)
        at_ms = task.not_before_at_ms
    if (priority, at_ms) != (task.priority, task.not_before_at_ms):
        _place_anew(state, task, priority, at_ms)
    return SettledTask(task.state)


def _is_checked(task: Task) -> bool:
    """Tell whether a prepared task is in its check queue."""
    return task.extras is not None and task.extras.home_queue is not None


def _set_home_start(state: State, task: Task, at_ms: int) -> None:
    """Set when a task may start once it is confirmed; its check is not put off."""
    extras = task.extras
    if extras is not None and extras.home_not_before_at_ms != at_ms:
        extras.home_not_before_at_ms = at_ms
        state.mix(task.sequence, at_ms)


def _place_anew(state: State, task: Task, priority: int, at_ms: int) -> None:
    """Give a waiting task another priority or start, and the place that follows from them."""
    extras = task.extras
    blocked_by = None if extras is None else extras.blocked_by
    state.take_out(task)
    task.priority, task.not_before_at_ms = priority, at_ms
    state.mix(task.priority, task.not_before_at_ms)
    if blocked_by is Blocked.LIMIT_KEY:
        blocked_by = None  # It may have a place before others now; it is looked at again.
    if blocked_by is Blocked.UNCONFIRMED or blocked_by is Blocked.PARENTS:
        state.put_blocked(task, blocked_by)
    else:
        state.let_on(task, at_front=True)


# ---------------------------------------------------------------- many tasks


def sweep(state: State, command: Sweep) -> Swept | Rejected:
    """Do one thing with a page of tasks."""
    if command.action is SweepAction.MOVE:
        if command.to_queue is None:
            return Rejected(InvalidRequest.code, "a move needs to_queue")
        if command.to_queue not in state.queues and len(state.queues) >= limits.QUEUES_MAX:
            return Rejected(InvalidRequest.code, f"there are {limits.QUEUES_MAX} queues already")
    until = command.until or state.last_sequence
    changed = 0
    search = Search(state, command.filter, command.after, until)
    for task in search:
        changed += _act(state, command, task)
        if changed >= command.tasks_max:
            return Swept(changed, task.sequence, until, state.index)
    return Swept(changed, search.next_after, until, state.index)


def _act(state: State, command: Sweep, task: Task) -> bool:
    """Do what a sweep does with one task; tell whether anything changed."""
    match command.action:
        case SweepAction.CANCEL:
            can = task.state in WAITING or task.state in (LEASED, DEAD)
            if can:
                state.cancel(task)
        case SweepAction.DISCARD:
            can = task.state is DEAD
            if can:
                state.cancel(task)
        case SweepAction.REDRIVE:
            can = task.state is DEAD and _take_key_again(state, task)
            if can:
                state.redrive(task)
        case SweepAction.MOVE:
            can = _move(state, task, command.to_queue or "")
    state.tell_relatives()
    return can


def _take_key_again(state: State, task: Task) -> bool:
    """Give a dead task its unique key again; tell whether it has it."""
    if task.extras is None or (key := task.extras.options.unique_key) is None:
        return True
    return state.unique_keys.take_again(key, task.sequence, task.id)


def _move(state: State, task: Task, to_queue: str) -> bool:
    if task.queue == to_queue:
        return False
    if task.state is DEAD:
        state.tasks.own(task)
        state.move(task, to_queue)
        return True
    if task.state not in WAITING:
        return False
    extras = task.extras
    if _is_checked(task):
        return False  # It is being checked; where it belongs is not where it waits.
    blocked_by = None if extras is None else extras.blocked_by
    was = task.state
    state.take_out(task)
    state.move(task, to_queue)
    if was is BLOCKED and blocked_by is not None and blocked_by is not Blocked.LIMIT_KEY:
        state.put_blocked(task, blocked_by)
    elif was is SCHEDULED:
        state.put_scheduled(task)
    else:
        assert was is READY or blocked_by is Blocked.LIMIT_KEY
        state.put_ready(task, at_front=False)
    return True


# ---------------------------------------------------------------- settings


def set_queue(state: State, command: SetQueue) -> Done | Rejected:
    """Change settings of a queue."""
    known = state.queues.get(command.queue)
    if known is None and len(state.queues) >= limits.QUEUES_MAX:
        return Rejected(InvalidRequest.code, f"there are {limits.QUEUES_MAX} queues already")
    queue = state.queue_of(command.queue)
    changes = structs.asdict(command.changes)
    new = {name: value for name, value in changes.items() if value is not UNSET}
    settings = structs.replace(queue.settings, **new)
    if settings == queue.settings:
        return Done(known is None, state.index)
    old, now_ms = queue.settings, state.wall_now_ms
    queue.set(settings)
    queue.bucket = bucket_of(queue.bucket, old.rate, settings.rate, now_ms)
    queue.enqueue_bucket = bucket_of(
        queue.enqueue_bucket, old.enqueue_rate, settings.enqueue_rate, now_ms
    )
    state.mix(queue.number, crc32c(codec.encode(settings)))
    if queue.ready:
        state.became_ready[queue.name] = None
    return Done(True, state.index)


def set_limit(state: State, command: SetLimit) -> Done | Rejected:
    """Set or remove the limit of a key; tasks that may go on now do."""
    limit_keys = state.limit_keys
    is_more = command.limit != NO_LIMIT and not limit_keys.is_set(command.key)
    if is_more and limit_keys.is_full:
        return Rejected(InvalidRequest.code, f"there are {limits.LIMITS_MAX} key limits already")
    is_changed = limit_keys.set(command.key, command.limit, state.wall_now_ms)
    if is_changed:
        state.mix_text(command.key)
        state.mix(crc32c(codec.encode(command.limit)))
        state.unpark(limit_keys.unpark_free(command.key, state.wall_now_ms))
    return Done(is_changed, state.index)


def set_quota(state: State, quota: Quota) -> Done:
    """Set the quota of the cluster."""
    if quota == state.quota:
        return Done(False, state.index)
    old, new = state.quota.enqueue_rate, quota.enqueue_rate
    state.quota_bucket = bucket_of(state.quota_bucket, old, new, state.wall_now_ms)
    state.quota = quota
    state.mix(crc32c(codec.encode(quota)))
    return Done(True, state.index)
