"""Limits of keys and queues: never more at a time, never faster, and nobody is forgotten."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import command_strategies as some
from tests.support.examples import examples
from tests.support.machines import task_id
from tests.support.play import ALL, Play

from raftq.protocol.commands import Enqueue, Lease
from raftq.protocol.control import Cancel, Edit, SetLimit, SetQueue, Sweep
from raftq.protocol.fields import SweepAction, TaskState
from raftq.protocol.options import KeyLimit, NewTask, QueueChanges, Rate, TaskOptions
from raftq.protocol.replies import LeasedTask
from raftq.protocol.statuses import TaskStatus

one = st.one_of(some.commands, some.key_limits, some.leases, some.reports)
wall_steps = st.sampled_from([0, 0, 1, 100, 333, 1_000])


def users(play: Play, key: str) -> list[TaskStatus]:
    """Return the tasks of a limit key that somebody runs, not only checks."""
    return [
        task
        for task in play.tasks()
        if task.options is not None
        and task.options.limit_key == key
        and task.worker is not None
        and task.queue != task.options.check_queue
    ]


@settings(deadline=None, max_examples=examples(60))
@given(st.data())
def test_no_task_starts_while_its_limit_key_is_at_its_cap(data: st.DataObject) -> None:
    play = Play()
    for _ in range(data.draw(st.integers(1, 25))):
        before = {key: len(users(play, key)) for key in ("l1", "l2")}
        command = play.scene().command(data.draw(one))
        play.apply(command, wall_ms=data.draw(wall_steps))
        if not isinstance(command, Lease):
            continue
        for status in play.machine.settings().limits:
            cap = status.limit.concurrency
            now = len(users(play, status.key))
            assert cap is None or now <= max(cap, before.get(status.key, 0))


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    count, per_ms = draw(st.integers(1, 4)), draw(st.sampled_from([1, 7, 500, 1_000]))
    return Rate(count, per_ms, draw(st.integers(1, 4)))


def check_rate(starts_at_ms: list[int], rate: Rate) -> None:
    """Check every window of whole milliseconds: what was there at its begin, and what came."""
    for first, begin_ms in enumerate(starts_at_ms):
        for last in range(first, len(starts_at_ms)):
            window_ms = starts_at_ms[last] - begin_ms + 1
            most = rate.burst + rate.count * window_ms / rate.per_ms
            assert last - first + 1 <= most, (starts_at_ms, rate)


@settings(deadline=None, max_examples=examples(60))
@given(rates(), st.booleans(), st.lists(st.tuples(wall_steps, st.integers(1, 5)), max_size=25))
def test_no_window_has_more_starts_than_the_rate_allows(
    rate: Rate, is_of_queue: bool, calls: list[tuple[int, int]]
) -> None:
    play = Play()
    options = None if is_of_queue else TaskOptions(limit_key="l")
    if is_of_queue:
        play.apply(SetQueue("a", QueueChanges(rate=rate)))
    else:
        play.apply(SetLimit("l", KeyLimit(rate=rate)))
    tasks = [NewTask(task_id(number), b"", options=options) for number in range(40)]
    play.apply(Enqueue("a", tasks[:20]), Enqueue("a" if is_of_queue else "b", tasks[20:]))
    for wall_ms, count in calls:
        play.apply(wall_ms=wall_ms)
        for lease in play.lease("a", "b", count=count):
            play.ack(lease)
    check_rate([at_ms for at_ms, _ in play.starts], rate)


@settings(deadline=None, max_examples=examples(40))
@given(rates(), st.booleans(), st.integers(1, 12))
def test_a_rate_is_used_up_by_whoever_asks_when_he_is_told(
    rate: Rate, is_of_queue: bool, count: int
) -> None:
    """No start is later than the bucket makes it."""
    play = Play()
    options = None if is_of_queue else TaskOptions(limit_key="l")
    if is_of_queue:
        play.apply(SetQueue("a", QueueChanges(rate=rate)))
    else:
        play.apply(SetLimit("l", KeyLimit(rate=rate)))
    play.apply(
        Enqueue("a", [NewTask(task_id(each), b"", options=options) for each in range(count)])
    )
    began_at_ms = play.wall_at_ms
    play.drain()
    starts_at_ms = [at_ms - began_at_ms for at_ms, _ in play.starts]
    expected = [
        max(0, -(-(number + 1 - rate.burst) * rate.per_ms // rate.count)) for number in range(count)
    ]
    assert starts_at_ms == expected


def check_nobody_is_forgotten(play: Play) -> None:
    """Who waits at a key that has room, or will have a token, stands in a line or is woken."""
    limits = {each.key: each for each in play.machine.settings().limits}
    tasks = play.tasks()
    for task in tasks:
        key = task.options.limit_key if task.options else None
        if key is None or task.state is not TaskState.BLOCKED or not _is_parked(play, task):
            continue
        cap = limits[key].limit.concurrency
        if cap is not None and limits[key].leased >= cap:
            continue
        mates = [
            each.state
            for each in tasks
            if each.queue == task.queue and each.options and each.options.limit_key == key
        ]
        is_armed = limits[key].limit.rate and play.machine.next_wall_due_at_ms() is not None
        assert TaskState.READY in mates or is_armed, "a parked task is forgotten"


def _is_parked(play: Play, task: TaskStatus) -> bool:
    why = play.machine.why(task.id)
    return why is not None and why.reasons[0].rule == "limit_key"


@settings(deadline=None, max_examples=examples(80))
@given(st.data())
def test_no_parked_task_is_forgotten(data: st.DataObject) -> None:
    play = Play(check=check_nobody_is_forgotten)
    for _ in range(data.draw(st.integers(1, 30))):
        command = play.scene().command(data.draw(one))
        play.apply(command, wall_ms=data.draw(wall_steps))


@settings(deadline=None, max_examples=examples(40))
@given(st.integers(1, 3), st.lists(st.integers(1, 4), min_size=1, max_size=12))
def test_a_cap_holds_over_all_queues_and_all_of_it_is_used(cap: int, counts: list[int]) -> None:
    play = Play()
    play.apply(SetLimit("l", KeyLimit(concurrency=cap)))
    options = TaskOptions(limit_key="l")
    tasks = [NewTask(task_id(number), b"", options=options) for number in range(20)]
    play.apply(Enqueue("a", tasks[:10]), Enqueue("b", tasks[10:]))
    held: list[LeasedTask] = []
    for turn, count in enumerate(counts):
        queues = ("a", "b") if turn % 2 else ("b", "a")
        held += play.lease(*queues, count=count)
        if sum(counts[: turn + 1]) >= cap:
            assert len(held) == cap
        if turn % 3 == 2 and held:
            play.ack(held.pop())
            held += play.lease(*queues)
            assert len(held) == cap, "a free slot is not used"


@settings(deadline=None, max_examples=examples(40))
@given(
    st.lists(st.sampled_from(["cancel", "delay", "move", "expire"]), min_size=1, max_size=6),
    st.sampled_from(["release", "cap"]),
)
def test_a_task_that_leaves_the_line_gives_its_turn_to_the_next(ways: list[str], how: str) -> None:
    play = Play()
    play.apply(SetLimit("l", KeyLimit(concurrency=1)))
    options = TaskOptions(limit_key="l", expires_after_ms=1_000_000)
    brief = TaskOptions(limit_key="l", expires_after_ms=100)
    tasks = [
        NewTask(task_id(number), b"", options=brief if way == "expire" else options)
        for number, way in enumerate(["first", *ways, "last"])
    ]
    play.apply(Enqueue("a", tasks))
    (held,) = play.lease("a")
    assert play.lease("a", count=10) == []
    if how == "release":
        play.ack(held)
    else:
        play.apply(SetLimit("l", KeyLimit(concurrency=2)))
    for number, way in enumerate(ways, 1):
        leave(play, task_id(number), number, way)
    (last,) = play.lease("a", count=10)
    assert last.task_id == tasks[-1].id


def leave(play: Play, task: bytes, sequence: int, way: str) -> None:
    """Take a task that is ready, or still parked, out of its queue."""
    match way:
        case "cancel":
            play.apply(Cancel([task]))
        case "delay":
            play.apply(Edit(task, delay_ms=500_000))
        case "move":
            play.apply(Sweep(SweepAction.MOVE, ALL, sequence, sequence + 1, to_queue="b"))
        case _:
            play.apply(wall_ms=100)
