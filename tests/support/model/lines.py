"""The states of tasks, and the lines in which the ready ones stand."""

from tests.support.model.world import READY, SlowLine, SlowTask, World

from raftq.protocol.fields import TaskState

STRIDE = 1_000_000


def change(world: World, task: SlowTask, state: TaskState, blocked_by: str | None = None) -> None:
    """Give a task a state; if it was ready, it leaves its line."""
    hide(world, task)
    task.state, task.blocked_by = state, blocked_by
    world.events.append((state, task.queue, task.new.id))


def hide(world: World, task: SlowTask) -> None:
    """Take a task from its place."""
    was_ready, task.state, task.blocked_by = task.state is READY, None, None
    if was_ready and not _ready(world, task.queue, task.priority):
        _clear(world.line(task.queue, task.priority))


def _ready(world: World, queue: str, priority: int) -> list[SlowTask]:
    return world.where(
        lambda each: (each.state, each.queue, each.priority) == (READY, queue, priority)
    )


def to_back(world: World, task: SlowTask) -> None:
    """Put a task behind all that are ready."""
    _make_ready(world, task, (1, world.step()))


def to_front(world: World, task: SlowTask) -> None:
    """Put a task that came back before those that did not."""
    _make_ready(world, task, (0, task.number))


def _make_ready(world: World, task: SlowTask, place: tuple[int, int]) -> None:
    hide(world, task)
    line = world.line(task.queue, task.priority)
    others = _ready(world, task.queue, task.priority)
    if task.fair_key and not line.is_fair:
        line.is_fair = True
        line.times = {"": 0} if others else {}
    if line.is_fair and not any(each.fair_key == task.fair_key for each in others):
        line.times[task.fair_key] = max(line.now, line.times.get(task.fair_key, 0))
    change(world, task, READY)
    task.place = place
    if task.queue not in world.ready:
        world.ready.append(task.queue)


# ---------------------------------------------------------------- fair keys


def _clear(line: SlowLine) -> None:
    """Nobody is in a line: nobody is there to be treated unfairly."""
    line.is_fair, line.now, line.times = False, 0, {}


def first_of_line(world: World, queue: str, priority: int) -> SlowTask | None:
    """Return the task of a line that is taken next: of the key that had least, its first one."""
    times = world.line(queue, priority).times
    return min(
        _ready(world, queue, priority),
        key=lambda each: (times.get(each.fair_key, 0), each.fair_key, each.place),
        default=None,
    )


def charge(world: World, task: SlowTask) -> None:
    """Count the first task of a line, which is about to be leased, for its fair key."""
    line = world.line(task.queue, task.priority)
    if line.is_fair:
        weight = world.settings(task.queue).fair_weights.get(task.fair_key, 1)
        line.now = line.times[task.fair_key]
        line.times[task.fair_key] += STRIDE // weight
