"""Who is taken next: shares between fair keys, and the bound of waiting under higher priority."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.machines import task_id
from tests.support.play import Play

from raftq.protocol.commands import Enqueue
from raftq.protocol.control import SetQueue
from raftq.protocol.options import NewTask, QueueChanges, TaskOptions

weights = st.integers(1, 10)


def backlog(first: int, count: int, key: str) -> list[NewTask]:
    """Return tasks of one fair key."""
    options = TaskOptions(fair_key=key)
    return [NewTask(task_id(first + each), b"", options=options) for each in range(count)]


@settings(deadline=None, max_examples=examples(60))
@given(weights, weights, st.integers(1, 40), st.integers(1, 7), st.booleans())
def test_two_keys_with_backlog_start_within_one_stride_of_their_weights(
    first: int, second: int, calls: int, count: int, is_later: bool
) -> None:
    play = Play()
    play.apply(SetQueue("a", QueueChanges(fair_weights={"x": first, "y": second})))
    play.apply(Enqueue("a", backlog(0, 400, "x")))
    if is_later:  # One that comes later gets its share from then on, not what it missed.
        play.lease("a", count=count)
    begun = len(play.starts)
    play.apply(Enqueue("a", backlog(1_000, 400, "y")))
    for _ in range(calls):
        play.lease("a", count=count)
        ids = [int.from_bytes(lease.task_id) for _, lease in play.starts[begun:]]
        of_y = sum(each >= 1_000 for each in ids)
        of_x = len(ids) - of_y
        assert abs(of_x / first - of_y / second) <= 1 / first + 1 / second + 1e-3


@settings(deadline=None, max_examples=examples(40))
@given(weights, st.integers(2, 30), st.sampled_from(["0", "z"]))
def test_a_key_that_comes_one_by_one_starves_nobody(weight: int, rounds: int, key: str) -> None:
    """One task at a time, each enqueued when the one before was taken, is no way to the front."""
    play = Play()
    play.apply(SetQueue("a", QueueChanges(fair_weights={key: weight})))
    play.apply(Enqueue("a", backlog(0, 400, "x")), Enqueue("a", backlog(1_000, 1, key)))
    taken = {"x": 0, key: 0}
    for number in range(1, rounds * (weight + 1)):
        (lease,) = play.lease("a")
        is_of_x = int.from_bytes(lease.task_id) < 1_000
        taken["x" if is_of_x else key] += 1
        if not is_of_x:
            play.apply(Enqueue("a", backlog(1_000 + number, 1, key)))
    assert taken["x"] >= rounds - 2


@settings(deadline=None, max_examples=examples(40))
@given(st.lists(st.sampled_from(["x", "y", "z"]), min_size=1, max_size=30), st.integers(1, 5))
def test_tasks_of_one_fair_key_keep_their_order(order: list[str], count: int) -> None:
    play = Play()
    play.apply(SetQueue("a", QueueChanges(fair_weights={"y": 3})))
    for number, key in enumerate(order):
        play.apply(Enqueue("a", backlog(number, 1, key)))
    for _ in order:
        play.lease("a", count=count)
    started = [int.from_bytes(lease.task_id) for _, lease in play.starts]
    assert sorted(started) == list(range(len(order)))
    for key in ("x", "y", "z"):
        own = [each for each in started if order[each] == key]
        assert own == sorted(own)


@settings(deadline=None, max_examples=examples(60))
@given(
    st.integers(1, 9),
    st.integers(0, 8),
    st.sampled_from([100, 1_000]),
    st.integers(1, 400),
)
def test_permanent_work_of_higher_priority_delays_a_task_by_the_stated_bound_only(
    priority: int, higher: int, ageing_ms: int, step_ms: int
) -> None:
    """A task of priority p goes before all of q < p that came (p - q) * ageing_ms after it."""
    higher %= priority
    play = Play()
    play.apply(SetQueue("a", QueueChanges(ageing_ms=ageing_ms)))
    bound_ms = (priority - higher) * ageing_ms
    step_ms = max(step_ms, bound_ms // 100)
    number, started = 1, False
    play.apply(Enqueue("a", [NewTask(task_id(0), b"", priority)]))
    began_at_ms = play.wall_at_ms
    while not started:
        new = [NewTask(task_id(number + each), b"", higher) for each in (0, 1)]
        play.apply(Enqueue("a", new))
        number += 2
        for lease in play.lease("a", count=2):
            came_at_ms = play.machine.task(lease.task_id)
            assert came_at_ms is not None
            started = started or lease.task_id == task_id(0)
            if not started:
                assert came_at_ms.enqueued_at_ms <= began_at_ms + bound_ms
        play.apply(wall_ms=step_ms)
        assert play.wall_at_ms <= began_at_ms + bound_ms + 2 * step_ms, "over the bound"


@settings(deadline=None, max_examples=examples(40))
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.booleans())
def test_without_waiting_higher_priority_goes_first(priorities: list[int], is_strict: bool) -> None:
    play = Play()
    if is_strict:
        play.apply(SetQueue("a", QueueChanges(ageing_ms=0)))
    for number, priority in enumerate(priorities):
        play.apply(Enqueue("a", [NewTask(task_id(number), b"", priority)]), wall_ms=is_strict)
    play.lease("a", count=100)
    started = [int.from_bytes(lease.task_id) for _, lease in play.starts]
    assert started == sorted(range(len(priorities)), key=lambda each: (priorities[each], each))
