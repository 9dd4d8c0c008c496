"""Cancel, confirm, edit, sweep, and what somebody sets."""

from msgspec import UNSET, structs
from tests.support.model import limit_keys, moves
from tests.support.model.buckets import SlowBucket
from tests.support.model.lines import change, to_back
from tests.support.model.moves import end, pass_gates, release, take_out
from tests.support.model.world import (
    CANCELLED,
    DEAD,
    DONE,
    EXPIRED,
    LEASED,
    READY,
    WAITING,
    SlowLimit,
    SlowTask,
    SlowUnique,
    World,
)

from raftq.protocol import limits
from raftq.protocol.control import Edit, SetLimit, SetQueue, Sweep
from raftq.protocol.fields import SweepAction
from raftq.protocol.options import KeyLimit, Quota, TaskFilter
from raftq.protocol.replies import Done, Rejected, Settled, SettledTask, Swept

UNKNOWN = SettledTask(None, "unknown_task")


def cancel(world: World, task_id: bytes) -> SettledTask:
    """Cancel a task that waits, is leased or is dead."""
    task = world.find(task_id)
    if task is None:
        return UNKNOWN
    if task.state in (DONE, EXPIRED):
        return SettledTask(task.state, "conflict")
    if task.state is not CANCELLED:
        moves.cancel(world, task)
        moves.tell_children(world)
    return SettledTask(CANCELLED)


def confirm(world: World, task_id: bytes) -> SettledTask:
    """Let a prepared task go on."""
    task = world.find(task_id)
    if task is None:
        return UNKNOWN
    is_confirmed = task.options.confirm_within_ms and not task.is_unconfirmed
    if task.state in (CANCELLED, EXPIRED, DEAD):
        return SettledTask(task.state, "conflict")
    if not is_confirmed and (task.state is DONE or not task.is_unconfirmed):
        return SettledTask(task.state, "conflict")
    if task.is_unconfirmed:
        task.is_unconfirmed = False
        if task.lease is None:
            take_out(world, task)
        else:
            release(world, task, "requeue")
        if task.home_queue is not None:
            move(world, task, task.home_queue)
            task.not_before_at_ms = task.home_not_before_at_ms
            task.home_queue = None
        pass_gates(world, task, 2)
    return SettledTask(task.state)


def time_is_up(world: World, task: SlowTask) -> None:
    """The time in which a task had to be started or confirmed is over."""
    check_queue = task.options.check_queue
    take_out(world, task)
    if check_queue is None or 0 < task.expires_at_ms <= world.wall_now_ms:
        end(world, task, EXPIRED)
        return
    task.home_queue = task.queue
    task.home_not_before_at_ms, task.not_before_at_ms = task.not_before_at_ms, 0
    move(world, task, check_queue)
    pass_gates(world, task, 3)


def move(world: World, task: SlowTask, to_queue: str) -> None:
    """Count a task in another queue from now on."""
    world.queue_made(task.queue).enqueued -= 1
    task.queue = to_queue
    world.queue_made(to_queue).enqueued += 1


def edit(world: World, command: Edit) -> Settled | Rejected:
    """Change when or how soon a task that waits is run."""
    if command.delay_ms is not None and command.not_before_at_ms is not None:
        return Rejected("invalid_request", "")
    if (command.not_before_at_ms or 0) - world.wall_now_ms > limits.DELAY_MS_MAX:
        return Rejected("invalid_request", "")
    task = world.find(command.id)
    if task is None:
        return Settled([UNKNOWN], world.index)
    if task.state not in WAITING:
        return Settled([SettledTask(task.state, "conflict")], world.index)
    priority = task.priority if command.priority is None else command.priority
    not_before_at_ms = task.not_before_at_ms
    if command.delay_ms is not None:
        not_before_at_ms = world.wall_now_ms + command.delay_ms
    if command.not_before_at_ms is not None:
        not_before_at_ms = command.not_before_at_ms
    is_put_off = command.delay_ms is not None or command.not_before_at_ms is not None
    if is_put_off and task.home_queue is not None:  # Its check goes on as it would have.
        task.home_not_before_at_ms = not_before_at_ms
        not_before_at_ms = task.not_before_at_ms
    if (priority, not_before_at_ms) == (task.priority, task.not_before_at_ms):
        return Settled([SettledTask(task.state)], world.index)
    gates = {"unconfirmed": 1, "parents": 2}
    first = gates.get(task.blocked_by or "", 3)
    take_out(world, task)
    task.priority, task.not_before_at_ms = priority, not_before_at_ms
    world.step()
    pass_gates(world, task, first, is_back=True)
    return Settled([SettledTask(task.state)], world.index)


# ---------------------------------------------------------------- many at once


def matches(task: SlowTask, wanted: TaskFilter) -> bool:
    """Tell whether a task is one of those that a filter describes."""
    options = task.options
    newest = task.history[-1].error if task.history else ""
    return all(
        (
            wanted.queue in (None, task.queue),
            not wanted.states or task.state in wanted.states,
            wanted.unique_key in (None, options.unique_key),
            wanted.order_key in (None, options.order_key),
            wanted.limit_key in (None, options.limit_key),
            wanted.fair_key in (None, options.fair_key),
            wanted.priority in (None, task.priority),
            not wanted.enqueued_before_ms or task.enqueued_at_ms < wanted.enqueued_before_ms,
            not wanted.enqueued_after_ms or task.enqueued_at_ms >= wanted.enqueued_after_ms,
            wanted.error_contains is None or wanted.error_contains in newest,
        )
    )


def sweep(world: World, command: Sweep) -> Swept | Rejected:
    """Do one thing with many tasks."""
    is_new = command.to_queue is not None and world.queue(command.to_queue) is None
    is_move = command.action is SweepAction.MOVE
    if is_move and (not command.to_queue or (is_new and len(world.queues) >= limits.QUEUES_MAX)):
        return Rejected("invalid_request", "")
    until = command.until or world.last_number
    changed, looked_at, last = 0, 0, command.after
    for task in world.where(lambda each: command.after < each.number <= until):
        looked_at, last = looked_at + 1, task.number
        if matches(task, command.filter):
            changed += _sweep_one(world, task, command)
            moves.tell_children(world)
        if changed == command.tasks_max or looked_at == limits.TASKS_LOOKED_AT_MAX:
            return Swept(changed, last, until, world.index)
    return Swept(changed, None, until, world.index)


def _sweep_one(world: World, task: SlowTask, command: Sweep) -> bool:
    match command.action:
        case SweepAction.CANCEL if task.state in (*WAITING, LEASED, DEAD):
            moves.cancel(world, task)
        case SweepAction.DISCARD if task.state is DEAD:
            moves.cancel(world, task)
        case SweepAction.REDRIVE if task.state is DEAD:
            return redrive(world, task)
        case SweepAction.MOVE if task.state in (*WAITING, DEAD) and task.queue != command.to_queue:
            if task.home_queue is not None and task.state is not DEAD:
                return False
            assert command.to_queue is not None
            _move_waiting(world, task, command.to_queue)
        case _:
            return False
    return True


def _move_waiting(world: World, task: SlowTask, to_queue: str) -> None:
    if task.state is DEAD:
        move(world, task, to_queue)
        world.step()
        return
    was, by = task.state, task.blocked_by
    take_out(world, task)
    move(world, task, to_queue)
    if was is READY or by == "limit_key":
        to_back(world, task)
    else:
        assert was is not None
        change(world, task, was, by)


def redrive(world: World, task: SlowTask) -> bool:
    """Let a dead task begin anew, unless another has its unique key."""
    key = task.options.unique_key
    holders = [each.number for each in world.uniques if each.key == key]
    if key is not None and holders not in ([], [task.number]):
        return False
    if key is not None and not holders and not task.options.unique_ms:
        world.uniques.append(SlowUnique(key, task.number, task.new.id, 0))
    task.failures = task.crashes = task.finished_at_ms = 0
    pass_gates(world, task, 2)
    return True


# ---------------------------------------------------------------- what is set


def set_queue(world: World, command: SetQueue) -> Done | Rejected:
    """Change settings of a queue."""
    if world.queue(command.queue) is None and len(world.queues) >= limits.QUEUES_MAX:
        return Rejected("invalid_request", "")
    is_new = world.queue(command.queue) is None
    queue = world.queue_made(command.queue)
    changes = {
        name: value for name, value in structs.asdict(command.changes).items() if value is not UNSET
    }
    before = queue.settings
    queue.settings = structs.replace(before, **changes)
    if queue.settings != before:
        world.step()
    queue.starts.set_rate(queue.settings.rate, world.wall_now_ms)
    queue.intake.set_rate(queue.settings.enqueue_rate, world.wall_now_ms)
    return Done(is_new or queue.settings != before, world.index)


def set_limit(world: World, command: SetLimit) -> Done | Rejected:
    """Set or remove what holds for a limit key."""
    found = world.limit(command.key)
    if (found.limit if found else KeyLimit()) == command.limit:
        return Done(False, world.index)
    if found is None and len(world.limits) >= limits.LIMITS_MAX:
        return Rejected("invalid_request", "")
    world.step()
    if found is None:
        found = SlowLimit(command.key, command.limit, SlowBucket())
        world.limits.append(found)
    found.limit = command.limit
    found.starts.set_rate(command.limit.rate, world.wall_now_ms)
    if command.limit == KeyLimit():
        world.limits.remove(found)
    limit_keys.is_changed(world, command.key)
    return Done(True, world.index)


def set_quota(world: World, quota: Quota) -> Done:
    """Set the quota of the cluster."""
    is_changed = quota != world.quota
    if is_changed:
        world.step()
    world.quota = quota
    world.intake.set_rate(quota.enqueue_rate, world.wall_now_ms)
    return Done(is_changed, world.index)
