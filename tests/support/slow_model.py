"""The queue machine once more, slow and obvious: lists and linear scans.

Written from docs/concepts, not from the code: no index, no heap, no packed row. What is ready is
found by looking at every task, and what goes out first by sorting. The only things taken from
elsewhere are the messages and the limits. The rules are in `tests/support/model`; here is what an
entry does, and what time does.
"""

from typing import assert_never

from tests.support.model import control, enqueues, leases, limit_keys, looking, schedules, settling
from tests.support.model.moves import (
    depends,
    pass_gates,
    tell_children,
)
from tests.support.model.world import SCHEDULED, WAITING, SlowTask, World

from raftq.protocol import limits
from raftq.protocol.commands import (
    Ack,
    Command,
    Enqueue,
    EnqueuePart,
    EnqueueParts,
    Extend,
    Fail,
    FoundCluster,
    Lease,
    Requeue,
)
from raftq.protocol.control import (
    Cancel,
    Confirm,
    DeleteSchedule,
    Edit,
    FireSchedule,
    SetLimit,
    SetQueue,
    SetQuota,
    SetSchedule,
    Sweep,
)
from raftq.protocol.replies import CommandReply, Founded, Settled
from raftq.protocol.statuses import QueueStatus, ScheduleList, Settings, TaskStatus


class SlowModel:
    """What a machine should be and answer."""

    def __init__(self) -> None:
        self.world = World()

    def apply(
        self, lease_advance_ms: int, wall_at_ms: int, commands: list[Command], index: int = 0
    ) -> list[CommandReply]:
        """Apply an entry; what it did is in the world's `ready`, `finished` and `events`."""
        world = self.world
        world.index = index
        world.ready, world.finished, world.events = [], [], []
        _pass_time(world, lease_advance_ms, wall_at_ms)
        return [self._whole(command) for command in commands]

    def _whole(self, command: Command) -> CommandReply:
        reply = self._execute(command)
        tell_children(self.world)
        return reply

    def _execute(self, command: Command) -> CommandReply:
        world = self.world
        match command:
            case Enqueue():
                return enqueues.enqueue(world, [EnqueuePart(command.queue, command.tasks)])
            case EnqueueParts():
                return enqueues.enqueue(world, command.parts)
            case Lease():
                return leases.lease(world, command)
            case Ack(items=items):
                return Settled([settling.ack(world, item) for item in items], world.index)
            case Fail(items=items):
                return Settled([settling.fail(world, item) for item in items], world.index)
            case Requeue(items=items):
                return Settled([settling.requeue(world, item) for item in items], world.index)
            case Extend(items=items):
                return Settled([settling.extend(world, item) for item in items], world.index)
            case FoundCluster():
                world.cluster_id = world.cluster_id or command.cluster_id
                return Founded(world.cluster_id)
            case _:
                return self._control(command)

    def _control(
        self,
        command: Cancel
        | Confirm
        | Edit
        | Sweep
        | SetQueue
        | SetLimit
        | SetQuota
        | SetSchedule
        | DeleteSchedule
        | FireSchedule,
    ) -> CommandReply:
        world = self.world
        match command:
            case Cancel():
                return Settled([control.cancel(world, each) for each in command.ids], world.index)
            case Confirm():
                return Settled([control.confirm(world, each) for each in command.ids], world.index)
            case Edit():
                return control.edit(world, command)
            case Sweep():
                return control.sweep(world, command)
            case SetQueue():
                return control.set_queue(world, command)
            case SetLimit():
                return control.set_limit(world, command)
            case SetQuota():
                return control.set_quota(world, command.quota)
            case SetSchedule():
                return schedules.set_schedule(world, command)
            case DeleteSchedule():
                return schedules.delete_schedule(world, command)
            case FireSchedule():
                return schedules.fire(world, command)
            case _:
                assert_never(command)

    # ------------------------------------------------------------ looking

    def find(self, task_id: bytes) -> SlowTask | None:
        """Return the task of an id."""
        return self.world.find(task_id)

    def status(self, task: SlowTask) -> TaskStatus:
        """Return what a reader should be told."""
        return looking.status(self.world, task)

    def queue_status(self, queue: str) -> QueueStatus:
        """Return what a reader should be told, but for the age of the first task."""
        return looking.queue_status(self.world, queue)

    def ready_count(self, queue: str) -> int:
        """Return how many tasks of a queue could be leased now."""
        return leases.leasable(self.world, queue)

    def settings(self) -> Settings:
        """Return what a reader should be told."""
        return looking.settings(self.world)

    def schedule_list(self) -> ScheduleList:
        """Return what a reader should be told."""
        return looking.schedule_list(self.world)

    def next_lease_deadline_ms(self) -> int | None:
        """Return when, in lease time, the next lease runs out."""
        held = self.world.where(lambda each: each.lease is not None)
        return min((_deadline_ms(each) for each in held), default=None)

    def next_wall_due_at_ms(self) -> int | None:
        """Return when, in wall time, something changes that others may wait for."""
        world = self.world
        starts = [each.not_before_at_ms for each in world.tasks if each.state is SCHEDULED]
        ends = [end_of_wait_ms(each) for each in world.tasks if end_of_wait_ms(each)]
        return min(
            [*starts, *ends, *leases.tokens_at_ms(world), *limit_keys.tokens_at_ms(world)],
            default=None,
        )

    def fingerprint(self) -> str:
        """Return everything but the clocks, the buckets and what is remembered of lease calls, as
        text: the state hash must change with it and only with it."""
        world = self.world
        return repr(
            (
                world.tasks,
                world.cluster_id,
                [(each.name, each.settings, each.forgotten) for each in world.queues],
                world.tokens,
                world.steps,
                [(each.key, each.limit) for each in world.limits],
                world.uniques,
                world.quota,
                world.schedules,
            )
        )


# ---------------------------------------------------------------- time


def _pass_time(world: World, lease_advance_ms: int, wall_at_ms: int) -> None:
    before_ms = world.wall_now_ms
    world.lease_now_ms += lease_advance_ms
    world.wall_now_ms = max(world.wall_now_ms, wall_at_ms)
    held = world.where(lambda each: each.lease is not None)
    over = [each for each in held if _deadline_ms(each) <= world.lease_now_ms]
    for task in sorted(over, key=lambda each: (_deadline_ms(each), each.token)):
        settling.run_out(world, task)
    _end_waits(world)
    due = world.where(lambda each: each.state is SCHEDULED)
    due = [each for each in due if each.not_before_at_ms <= world.wall_now_ms]
    for task in sorted(due, key=lambda each: (each.not_before_at_ms, each.number)):
        if task.state is SCHEDULED:
            pass_gates(world, task, 1)
    limit_keys.tokens_came(world, before_ms)
    world.uniques = [each for each in world.uniques if not 0 < each.until_ms <= world.wall_now_ms]
    tell_children(world)
    _forget_outcomes(world)
    oldest_ms = world.lease_now_ms - limits.WORKER_FORGOTTEN_AFTER_MS
    active = {each.worker for each in world.requests if each.at_ms > oldest_ms}
    world.requests = [each for each in world.requests if each.worker in active]


def _deadline_ms(task: SlowTask) -> int:
    assert task.lease is not None
    return task.lease.deadline_ms


def end_of_wait_ms(task: SlowTask) -> int:
    """Return when a task that waits expires or must have been confirmed, or 0."""
    if task.state not in WAITING:
        return 0
    instants = [task.expires_at_ms]
    if task.is_unconfirmed and task.home_queue is None:
        instants.append(task.enqueued_at_ms + task.options.confirm_within_ms)
    return min((each for each in instants if each), default=0)


def _end_waits(world: World) -> None:
    """Expire what was not started or not confirmed in time, the earliest first."""
    while True:
        due = world.where(lambda each: 0 < end_of_wait_ms(each) <= world.wall_now_ms)
        if not due:
            return
        task = min(due, key=lambda each: (end_of_wait_ms(each), each.number))
        control.time_is_up(world, task)


def forgotten_at_ms(task: SlowTask) -> int:
    """Return when the outcome of a task is forgotten."""
    return task.finished_at_ms + task.keep_ms


def _forget_outcomes(world: World) -> None:
    while True:
        kept = world.outcomes
        usual = [each for each in kept if each.keep_ms == limits.RESULT_RETENTION_MS]
        others = [each for each in kept if each.keep_ms != limits.RESULT_RETENTION_MS]
        others.sort(key=lambda each: (forgotten_at_ms(each), each.number))
        if others and forgotten_at_ms(others[0]) <= world.wall_now_ms:
            _forget(world, others[0])
        elif kept and _is_too_much(world, kept, oldest := [*usual, *others][0]):
            _forget(world, oldest)
        else:
            return


def _is_too_much(world: World, kept: list[SlowTask], oldest: SlowTask) -> bool:
    kept_bytes = sum(
        len(each.result or b"")
        + len(each.progress or b"")
        + sum(len(attempt.error) for attempt in each.history)
        for each in kept
    )
    age_ms = world.wall_now_ms - oldest.finished_at_ms
    is_over = len(kept) > limits.RESULTS_KEPT_MAX and age_ms >= limits.RETRY_MEMORY_MS
    is_old = forgotten_at_ms(oldest) <= world.wall_now_ms
    return is_old or is_over or kept_bytes > limits.RESULT_BYTES_KEPT_MAX


def _forget(world: World, task: SlowTask) -> None:
    """Forget a task, or, while a child may still read its outcome, only stop counting it."""
    world.outcomes.remove(task)
    if any(depends(each, task.new.id) for each in world.tasks):
        return
    world.tasks.remove(task)
    queue = world.queue_made(task.queue)
    assert task.state is not None
    queue.forgotten.append(task.state)
    world.forgotten_ids.append(task.new.id)
