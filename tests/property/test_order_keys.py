"""Order keys: one at a time, first in first out, and nobody else is held up."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import command_strategies as some
from tests.support.examples import examples
from tests.support.machines import task_id
from tests.support.play import Play

from raftq.protocol.commands import (
    Ack,
    AckItem,
    Command,
    Enqueue,
    Fail,
    FailItem,
    Requeue,
    RequeueItem,
)
from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask, TaskOptions
from raftq.protocol.replies import LeasedTask

COUNT = 12
entries = st.lists(st.one_of(some.commands, some.leases, some.reports), min_size=1, max_size=6)
times_ms = st.sampled_from([0, 0, 400, 1_000])
keys = st.sampled_from(["o1", "o2", None])
ends = st.sampled_from(["ack", "ack", "fail", "pause", "requeue", "delay", "crash", "dead"])


def runs_of(play: Play) -> dict[str, int]:
    """Return how many tasks of each order key somebody runs; to check a prepared one is no run."""
    runs: dict[str, int] = {}
    for task in play.tasks():
        options = task.options
        if options is None or options.order_key is None or task.worker is None:
            continue
        if task.queue != options.check_queue:
            runs[options.order_key] = runs.get(options.order_key, 0) + 1
    return runs


def check_one_at_a_time(play: Play) -> None:
    assert all(count == 1 for count in runs_of(play).values())


@settings(deadline=None, max_examples=examples(60))
@given(st.data())
def test_at_most_one_task_of_an_order_key_is_run(data: st.DataObject) -> None:
    play = Play(check=check_one_at_a_time)
    for _ in range(data.draw(st.integers(1, 25))):
        play.apply_drawn(data.draw(entries), data.draw(times_ms), data.draw(times_ms))


def end_of(lease: LeasedTask, how: str) -> Command | None:
    """Return the report that ends a lease; None lets it run out."""
    match how:
        case "ack":
            return Ack([AckItem(lease.token)])
        case "fail":
            return Fail([FailItem(lease.token, "x", 0)])
        case "pause":
            return Fail([FailItem(lease.token, "x", 500)])
        case "dead":
            return Fail([FailItem(lease.token, "x", is_final=True)])
        case "requeue":
            return Requeue([RequeueItem(lease.token)])
        case "delay":
            return Requeue([RequeueItem(lease.token, 500)])
        case _:
            return None


@settings(deadline=None, max_examples=examples(100))
@given(st.lists(keys, min_size=2, max_size=COUNT), st.data())
def test_tasks_of_an_order_key_run_one_after_the_other_in_order(
    order: list[str | None], data: st.DataObject
) -> None:
    play = Play()
    ids = [task_id(number) for number in range(len(order))]
    for each, key in zip(ids, order, strict=True):
        options = TaskOptions(order_key=key, crashes_max=100)
        play.apply(Enqueue(data.draw(some.queues), [NewTask(each, b"", 5, 0, 100, 0, options)]))
    for _ in range(30):
        for lease in play.lease("a", "b", "c", count=data.draw(st.integers(1, 4)), lease_ms=1_000):
            report = end_of(lease, data.draw(ends))
            if report is not None:
                play.apply(report)
        play.apply(lease_ms=data.draw(st.sampled_from([0, 1_000])), wall_ms=300)
    for key in ("o1", "o2"):
        line = [each for each, own in zip(ids, order, strict=True) if own == key]
        started = [lease.task_id for _, lease in play.starts if lease.task_id in line]
        assert list(dict.fromkeys(started)) == line[: len(set(started))]
        assert started == sorted(started), "one began before the one before it was over"


@settings(deadline=None, max_examples=examples(50))
@given(st.lists(keys, min_size=2, max_size=COUNT))
def test_a_held_order_key_holds_up_no_other_task(order: list[str | None]) -> None:
    play = Play()
    holder = NewTask(task_id(100), b"", 0, options=TaskOptions(order_key="o1"))
    play.apply(Enqueue("a", [holder]))
    (held,) = play.lease("a")
    others = [
        NewTask(task_id(number), b"", options=TaskOptions(order_key=key))
        for number, key in enumerate(order)
    ]
    play.apply(Enqueue("a", others))
    while leases := play.lease("a", count=100):
        for lease in leases:
            play.ack(lease)
    for each, key in zip(others, order, strict=True):
        expected = TaskState.BLOCKED if key == "o1" else TaskState.DONE
        assert play.state(each.id) is expected
    play.ack(held)
    play.drain()
    assert all(play.state(each.id) is TaskState.DONE for each in others)
