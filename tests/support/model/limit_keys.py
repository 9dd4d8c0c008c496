"""Limit keys: who may start, and which of the parked tasks go on when another may."""

from tests.support.model.lines import change, to_front
from tests.support.model.world import BLOCKED, SlowLimit, SlowTask, World


def held_slots(world: World, key: str) -> int:
    """Return how many tasks of a limit key are leased, in whatever queue."""
    return len(world.where(lambda each: each.limit_key == key and each.lease is not None))


def is_free(world: World, key: str | None) -> bool:
    """Tell whether a task of a limit key may start now."""
    return key is None or free(world, key) != 0


def free(world: World, key: str) -> int | None:
    """Return how many tasks of a limit key may start now; None is any number."""
    limit = world.limit(key)
    if limit is None:
        return None
    rooms: list[int] = []
    if limit.limit.concurrency is not None:
        rooms.append(max(0, limit.limit.concurrency - held_slots(world, key)))
    tokens = limit.starts.whole(world.wall_now_ms)
    if tokens is not None:
        rooms.append(tokens)
    return min(rooms, default=None)


def park(world: World, task: SlowTask) -> None:
    """Let a task that was about to be leased wait for its key."""
    change(world, task, BLOCKED, "limit_key")


def parked(world: World, key: str | None) -> list[SlowTask]:
    """Return who waits for a key, the first of each queue first."""
    waiting = world.where(lambda each: each.blocked_by == "limit_key" and each.limit_key == key)
    return sorted(waiting, key=lambda each: (each.queue, each.priority, each.number))


def _wake_firsts(world: World, key: str | None, count: int, queue: str | None = None) -> None:
    """Let the first so many of each queue, or of one, go on."""
    waiting = parked(world, key)
    for name in sorted({each.queue for each in waiting if queue in (None, each.queue)}):
        for task in [each for each in waiting if each.queue == name][:count]:
            to_front(world, task)


def is_released(world: World, key: str | None) -> None:
    """A lease of the key has ended: of each queue the first one goes on."""
    if is_free(world, key):
        _wake_firsts(world, key, 1)


def is_gone(world: World, key: str, queue: str) -> None:
    """A ready task of a queue was leased or went elsewhere: another one is ready for it."""
    if is_free(world, key):
        _wake_firsts(world, key, 1, queue)


def is_changed(world: World, key: str) -> None:
    """The limit is another one: as many of each queue go on as may start now."""
    count = free(world, key)
    _wake_firsts(world, key, len(world.tasks) if count is None else count)


def tokens_came(world: World, before_ms: int) -> None:
    """Time passed: where tasks waited for a token and one came, of each queue the first goes on."""
    came: list[tuple[int, str]] = []
    for limit in world.limits:
        wait_ms = _wait_ms(limit, before_ms)
        if wait_ms and before_ms + wait_ms <= world.wall_now_ms and parked(world, limit.key):
            came.append((before_ms + wait_ms, limit.key))
    for _, key in sorted(came):
        is_released(world, key)


def _wait_ms(limit: SlowLimit, now_ms: int) -> int:
    return limit.starts.wait_ms(1, now_ms)


def tokens_at_ms(world: World) -> list[int]:
    """Return when tokens come that parked tasks wait for."""
    return [
        world.wall_now_ms + _wait_ms(each, world.wall_now_ms)
        for each in world.limits
        if parked(world, each.key) and _wait_ms(each, world.wall_now_ms)
    ]
