"""Enqueueing: what speaks against it is found first, then all tasks are created or none."""

from dataclasses import dataclass

from msgspec import structs
from tests.support.model.buckets import SlowBucket
from tests.support.model.moves import (
    cancel,
    cancels,
    depends,
    end,
    keeps_waiting,
    pass_gates,
    tell_children,
)
from tests.support.model.world import (
    CANCELLED,
    EXPIRED,
    LEASED,
    WAITING,
    SlowTask,
    SlowUnique,
    World,
)

from raftq.protocol import limits
from raftq.protocol.commands import EnqueuePart
from raftq.protocol.fields import OnConflict
from raftq.protocol.options import NewTask
from raftq.protocol.replies import Enqueued, EnqueuedTask, Rejected


class Refused(Exception):
    """Something speaks against an enqueue."""

    def __init__(self, code: str, retry_after_ms: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after_ms = retry_after_ms


@dataclass
class Planned:
    """What becomes of one task of an enqueue."""

    queue: str
    new: NewTask
    known: EnqueuedTask | None = None
    """What is told of the task that was there before, if no task is created."""
    same_as: bytes | None = None
    """The id of an earlier task of the same enqueue that has the unique key."""

    @property
    def is_created(self) -> bool:
        """Tell whether a task is created."""
        return self.known is None and self.same_as is None


def enqueue(world: World, parts: list[EnqueuePart]) -> Enqueued | Rejected:
    """Do what a producer asks, or refuse it."""
    try:
        plan = planned(world, parts)
        _check_quotas(world, plan)
    except Refused as refused:
        return Rejected(refused.code, "", refused.retry_after_ms)
    _take_from_rates(world, plan)
    carry_out(world, plan)
    tell_children(world)
    return Enqueued([_answer(world, each) for each in plan], world.index)


def _answer(world: World, planned: Planned) -> EnqueuedTask:
    if planned.known is not None:
        return planned.known
    task = world.find(planned.same_as or planned.new.id)
    assert task is not None and task.state is not None
    return EnqueuedTask(task.new.id, task.state, planned.is_created)


def carry_out(world: World, plan: list[Planned]) -> None:
    """Create what is planned."""
    for each in plan:
        if each.is_created:
            _create(world, each)


def planned(
    world: World, parts: list[EnqueuePart], ending: SlowTask | None = None
) -> list[Planned]:
    """Return what becomes of each task; raise if something speaks against any of them.

    What `ending` gives up with its end is free for them.
    """
    names = {part.queue for part in parts} | {
        new.options.check_queue
        for part in parts
        for new in part.tasks
        if new.options is not None and new.options.check_queue
    }
    known = {each.name for each in world.queues}
    if names - known and len(names | known) > limits.QUEUES_MAX:
        raise Refused("invalid_request")
    plan: list[Planned] = []
    for part in parts:
        for new in part.tasks:
            if any(each.new.id == new.id for each in plan):
                raise Refused("invalid_request")
            plan.append(_planned_one(world, part.queue, new, plan, ending))
    return plan


def _planned_one(
    world: World, queue: str, new: NewTask, plan: list[Planned], ending: SlowTask | None
) -> Planned:
    known = world.find(new.id)
    if known is not None:
        is_same_queue = queue in (known.queue, known.first_queue, known.home_queue)
        is_same = is_same_queue and new.payload == known.new.payload
        if not is_same or known.state is None:
            raise Refused("conflict")
        return Planned(queue, new, EnqueuedTask(new.id, known.state, False))
    if new.not_before_at_ms - world.wall_now_ms > limits.DELAY_MS_MAX:
        raise Refused("invalid_request")
    if new.options is None:
        return Planned(queue, new)
    options = new.options
    if options.check_queue and not options.confirm_within_ms:
        raise Refused("invalid_request")
    if options.unique_ms and not options.unique_key:
        raise Refused("invalid_request")
    parents = _parents(world, new.id, options.depends_on, plan)
    new = structs.replace(new, options=structs.replace(options, depends_on=parents))
    return _with_unique_key(world, queue, new, plan, ending)


def _parents(world: World, child: bytes, named: list[bytes], plan: list[Planned]) -> list[bytes]:
    """Return the tasks that there will be for the ids that a child names."""
    stands_for = {
        each.new.id: each.known.id if each.known else each.same_as or each.new.id for each in plan
    }
    parents = [stands_for.get(each, each) for each in named]
    if len(set(parents)) < len(parents):
        raise Refused("invalid_request")
    created = [each.new.id for each in plan if each.is_created]
    for parent in parents:
        if parent == child:
            raise Refused("invalid_request")
        if world.find(parent) is None and parent not in created:
            raise Refused("unknown_task")
        children = [each for each in world.tasks if depends(each, parent)]
        more = [each for each in plan if each.is_created and _names(each.new, parent)]
        if len(children) + len(more) >= limits.CHILDREN_MAX:
            raise Refused("invalid_request")
    return parents


def _names(new: NewTask, parent: bytes) -> bool:
    return new.options is not None and parent in new.options.depends_on


def _with_unique_key(
    world: World, queue: str, new: NewTask, plan: list[Planned], ending: SlowTask | None
) -> Planned:
    """Judge the unique key of a task, which may be taken by a task of the same enqueue."""
    assert new.options is not None
    key, policy = new.options.unique_key, new.options.on_conflict
    if key is None:
        return Planned(queue, new)
    for each in plan:
        was_known = each.known is not None and each.known.id == each.new.id
        options = each.new.options
        if was_known or options is None or options.unique_key != key:
            continue
        if policy is not OnConflict.EXISTING:
            raise Refused("key_taken")
        first = None if each.known else each.same_as or each.new.id
        return Planned(queue, new, each.known, first)
    taken = next((each for each in world.uniques if each.key == key), None)
    if taken is None or (ending and taken.number == ending.number and not taken.until_ms):
        return Planned(queue, new)
    holder = world.holder(taken)
    if policy is OnConflict.EXISTING:
        state = taken.ended_as if holder is None else holder.state
        assert state is not None
        return Planned(queue, new, EnqueuedTask(taken.task_id, state, False))
    if policy is OnConflict.REJECT or (holder is not None and holder.state is LEASED):
        raise Refused("key_taken")
    return Planned(queue, new)


# ---------------------------------------------------------------- quotas


def _check_quotas(world: World, plan: list[Planned]) -> None:
    created = [each for each in plan if each.is_created]
    if not created:
        return
    live = world.where(lambda task: task.is_live)
    quota = world.quota
    _check(live, [each.new for each in created], quota.tasks_max, quota.payload_bytes_max)
    _check_rate(world.intake, len(created), world.wall_now_ms)
    for name in dict.fromkeys(each.queue for each in created):
        settings, queue = world.settings(name), world.queue(name)
        own = [task for task in live if task.queue == name]
        new = [each.new for each in created if each.queue == name]
        _check(own, new, settings.tasks_max, settings.payload_bytes_max)
        if queue is not None:
            _check_rate(queue.intake, len(new), world.wall_now_ms)


def _check(
    live: list[SlowTask], new: list[NewTask], tasks_max: int | None, bytes_max: int | None
) -> None:
    held_bytes = sum(len(task.new.payload) for task in live)
    more_bytes = sum(len(each.payload) for each in new)
    is_full = tasks_max is not None and len(live) + len(new) > tasks_max
    if is_full or (bytes_max is not None and held_bytes + more_bytes > bytes_max):
        raise Refused("queue_full", limits.RETRY_AFTER_MS)


def _check_rate(bucket: SlowBucket, count: int, now_ms: int) -> None:
    wait_ms = bucket.wait_ms(count, now_ms)
    if wait_ms:
        raise Refused("rate_limited", wait_ms)


def _take_from_rates(world: World, plan: list[Planned]) -> None:
    for each in plan:
        if each.is_created:
            world.intake.take(1, world.wall_now_ms)
            queue = world.queue(each.queue)
            if queue is not None:
                queue.intake.take(1, world.wall_now_ms)


# ---------------------------------------------------------------- creating


def _create(world: World, planned: Planned) -> SlowTask:
    new, now_ms = planned.new, world.wall_now_ms
    queue = world.queue_made(planned.queue)
    queue.enqueued += 1
    world.last_number += 1
    not_before_at_ms = max(now_ms + new.delay_ms, new.not_before_at_ms)
    task = SlowTask(
        world.last_number,
        new,
        planned.queue,
        now_ms,
        not_before_at_ms,
        new.priority,
        _expires_at_ms(world, new),
    )
    task.first_queue = planned.queue
    task.is_unconfirmed = task.options.confirm_within_ms > 0
    if task.options.check_queue:
        world.queue_made(task.options.check_queue)
    world.tasks.append(task)
    _take_unique_key(world, task)
    parents = [each for each in world.tasks if each.new.id in task.options.depends_on]
    task.waits_for = [each.new.id for each in parents if keeps_waiting(task, each)]
    if any(cancels(task, each) for each in parents if not keeps_waiting(task, each)):
        end(world, task, CANCELLED)
    elif 0 < task.expires_at_ms <= now_ms:
        end(world, task, EXPIRED)
    else:
        pass_gates(world, task, 1)
    return task


def _expires_at_ms(world: World, new: NewTask) -> int:
    if new.options is None:
        return 0
    instants = [new.options.expires_at_ms]
    if new.options.expires_after_ms:
        instants.append(world.wall_now_ms + new.options.expires_after_ms)
    return min((each for each in instants if each), default=0)


def _take_unique_key(world: World, task: SlowTask) -> None:
    key = task.options.unique_key
    if key is None:
        return
    until_ms = world.wall_now_ms + task.options.unique_ms if task.options.unique_ms else 0
    for each in list(world.uniques):
        if each.key == key:
            world.uniques.remove(each)
            holder = world.holder(each)
            if holder is not None and holder.state in WAITING:
                cancel(world, holder)
    world.uniques.append(SlowUnique(key, task.number, task.new.id, until_ms))
