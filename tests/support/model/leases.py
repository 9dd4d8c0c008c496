"""Who is given out next, what holds it back, and the granting."""

from tests.support.model.limit_keys import is_free, is_gone, park
from tests.support.model.lines import change, charge, first_of_line
from tests.support.model.world import (
    LEASED,
    READY,
    SlowLease,
    SlowRequest,
    SlowTask,
    World,
)

from raftq.protocol import limits
from raftq.protocol.commands import Lease
from raftq.protocol.replies import Leased, LeasedTask


def first_ready(world: World, queue: str) -> SlowTask | None:
    """Return the task of a queue that is given out next, whatever the gates say."""
    heads = [
        head
        for priority in range(limits.PRIORITY_MAX + 1)
        if (head := first_of_line(world, queue, priority))
    ]
    ageing_ms = world.settings(queue).ageing_ms
    if not ageing_ms:
        return min(heads, key=lambda head: head.priority, default=None)
    return min(
        heads,
        key=lambda head: (head.ready_at_ms + head.priority * ageing_ms, head.priority),
        default=None,
    )


def room(world: World, queue: str) -> int | None:
    """Return how many tasks of a queue its own gates let through now; None is any number."""
    settings = world.settings(queue)
    if settings.paused:
        return 0
    rooms: list[int] = []
    if settings.concurrency is not None:
        held = world.where(lambda each: each.queue == queue and each.lease is not None)
        rooms.append(max(0, settings.concurrency - len(held)))
    found = world.queue(queue)
    starts = None if found is None else found.starts.whole(world.wall_now_ms)
    if starts is not None:
        rooms.append(max(0, starts))
    return min(rooms, default=None)


def leasable(world: World, queue: str) -> int:
    """Return how many tasks of a queue could be leased now, but for limit keys."""
    ready = world.where(lambda each: (each.state, each.queue) == (READY, queue))
    its_room = room(world, queue)
    return len(ready) if its_room is None else min(len(ready), its_room)


def tokens_at_ms(world: World) -> list[int]:
    """Return when tokens come that ready tasks of queues wait for."""
    now_ms = world.wall_now_ms
    instants: list[int] = []
    for queue in world.queues:
        is_waited_for = any(each.state is READY for each in world.tasks if each.queue == queue.name)
        wait_ms = queue.starts.wait_ms(1, now_ms)
        if is_waited_for and wait_ms and not queue.settings.paused:
            instants.append(now_ms + wait_ms)
    return instants


# ---------------------------------------------------------------- granting


def lease(world: World, command: Lease) -> Leased:
    """Answer a lease call."""
    for request in world.requests:
        if (request.worker, request.request_id) == (command.worker, command.request_id):
            found = [holder(world, token) for token in request.tokens]
            return Leased([_leased(world, each) for each in found if each], is_repeat=True)
    granted: list[SlowTask] = []
    for queue in command.queues:
        _lease_from(world, queue, command, granted)
    if granted:
        _remember(world, command, [task.token for task in granted])
    return Leased([_leased(world, task) for task in granted])


def _lease_from(world: World, queue: str, command: Lease, granted: list[SlowTask]) -> None:
    """Grant tasks of one queue, until there is a reason to stop."""
    parked = 0
    while len(granted) < command.count and parked < limits.PARKED_PER_COMMAND_MAX:
        task = first_ready(world, queue)
        if task is None or room(world, queue) == 0:
            return
        if not is_free(world, task.limit_key):
            parked += 1
            park(world, task)
            continue
        payload_bytes = sum(len(each.new.payload) for each in [*granted, task])
        if granted and payload_bytes > limits.LEASE_REPLY_BYTES_MAX:
            return
        _grant(world, task, command)
        granted.append(task)


def _grant(world: World, task: SlowTask, command: Lease) -> None:
    charge(world, task)
    change(world, task, LEASED)
    world.tokens += 1
    task.token, task.ended_by, task.worker = world.tokens, None, command.worker
    deadline_ms = world.lease_now_ms + command.lease_ms
    task.lease = SlowLease(command.worker, deadline_ms, world.wall_now_ms)
    if task.home_queue is None:  # Else it is only checked whether it shall be run.
        task.expires_at_ms = 0
        limit = world.limit(task.limit_key)
        if limit is not None:
            limit.starts.take(1, world.wall_now_ms)
        if task.limit_key is not None:
            is_gone(world, task.limit_key, task.queue)
    world.queue_made(task.queue).starts.take(1, world.wall_now_ms)


def holder(world: World, token: int) -> SlowTask | None:
    """Return the task that is leased under a token right now."""
    held = world.where(lambda each: each.token == token and each.lease is not None)
    return next((each for each in held if each.state is LEASED), None)


def _leased(world: World, task: SlowTask) -> LeasedTask:
    assert task.lease is not None
    return LeasedTask(
        task.new.id,
        task.queue,
        task.token,
        task.failures + task.crashes + 1,
        task.new.payload,
        task.lease.deadline_ms - world.lease_now_ms,
    )


def _remember(world: World, command: Lease, tokens: list[int]) -> None:
    requests = world.requests
    requests.append(SlowRequest(command.worker, command.request_id, tokens, world.lease_now_ms))
    own = [each for each in requests if each.worker == command.worker]
    if len(own) > limits.LEASE_REQUESTS_KEPT_PER_WORKER:
        requests.remove(own[0])
    while (
        len(world.requests) > limits.LEASE_REQUESTS_KEPT_MAX
        or sum(len(each.tokens) for each in world.requests) > limits.LEASE_TOKENS_KEPT_MAX
    ):
        newest_first = [each.worker for each in reversed(world.requests)]
        silent = max(set(newest_first), key=newest_first.index)
        world.requests = [each for each in world.requests if each.worker != silent]
