"""Unique keys: at most one live task of each, and what an enqueue of another does."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import command_strategies as some
from tests.support.examples import examples
from tests.support.machines import task_id
from tests.support.play import Play

from raftq.protocol.commands import Enqueue
from raftq.protocol.fields import OnConflict, TaskState
from raftq.protocol.options import NewTask, TaskOptions
from raftq.protocol.replies import Enqueued, Rejected

entries = st.lists(st.one_of(some.commands, some.enqueues), min_size=1, max_size=6)
times_ms = st.sampled_from([0, 0, 400, 1_000])
OVER = (TaskState.DONE, TaskState.DEAD, TaskState.CANCELLED, TaskState.EXPIRED)


def check_one_live(play: Play) -> None:
    """Check keys that are taken until the task is over; a time lets a second one in early."""
    live = [
        task.options.unique_key
        for task in play.tasks()
        if task.state not in OVER and task.options and not task.options.unique_ms
    ]
    keys = [each for each in live if each is not None]
    assert len(keys) == len(set(keys))


@settings(deadline=None, max_examples=examples(80))
@given(st.data())
def test_at_most_one_live_task_has_a_unique_key(data: st.DataObject) -> None:
    play = Play(check=check_one_live)
    for _ in range(data.draw(st.integers(1, 25))):
        play.apply_drawn(data.draw(entries), data.draw(times_ms), data.draw(times_ms))


def new(number: int, policy: OnConflict, unique_ms: int = 0) -> NewTask:
    options = TaskOptions(unique_key="u", on_conflict=policy, unique_ms=unique_ms)
    return NewTask(task_id(number), b"", options=options)


@settings(deadline=None, max_examples=examples(40))
@given(st.sampled_from(list(OnConflict)), st.sampled_from(["waiting", "leased", "over"]))
def test_an_enqueue_of_a_taken_key_does_what_it_asked_for(policy: OnConflict, holder: str) -> None:
    play = Play()
    play.apply(Enqueue("a", [new(1, OnConflict.REJECT)]))
    leases = play.lease("a") if holder != "waiting" else []
    if holder == "over":
        play.ack(leases[0])
    hash_before = play.machine.state_hash
    reply = play.one(Enqueue("a", [new(2, policy)]))
    if holder == "over" or (holder == "waiting" and policy is OnConflict.REPLACE):
        assert isinstance(reply, Enqueued) and reply.tasks[0].created
        expected = TaskState.DONE if holder == "over" else TaskState.CANCELLED
        assert play.state(task_id(1)) is expected
    elif policy is OnConflict.EXISTING:
        assert isinstance(reply, Enqueued)
        (told,) = reply.tasks
        assert (told.id, told.state, told.created) == (task_id(1), play.state(task_id(1)), False)
        assert play.machine.task(task_id(2)) is None
        assert play.machine.state_hash == hash_before
    else:
        assert isinstance(reply, Rejected) and reply.code == "key_taken"
        assert play.machine.state_hash == hash_before


@settings(deadline=None, max_examples=examples(40))
@given(st.integers(1, 5_000), st.integers(0, 6_000), st.booleans())
def test_a_key_taken_for_a_time_is_taken_exactly_so_long(
    unique_ms: int, passed_ms: int, is_done: bool
) -> None:
    play = Play()
    play.apply(Enqueue("a", [new(1, OnConflict.REJECT, unique_ms)]))
    if is_done:
        play.ack(play.lease("a")[0])
    play.apply(wall_ms=passed_ms)
    reply = play.one(Enqueue("a", [new(2, OnConflict.REJECT)]))
    assert isinstance(reply, Rejected) == (passed_ms < unique_ms)


@settings(deadline=None, max_examples=examples(40))
@given(st.permutations(list(OnConflict)), st.integers(0, 3))
def test_repeating_an_enqueue_answers_as_before(policies: list[OnConflict], times: int) -> None:
    play = Play()
    enqueues = [
        Enqueue("a", [new(number, policy)]) for number, policy in enumerate(policies, start=1)
    ]
    for enqueue in enqueues:
        play.apply(enqueue)
    known = [each for each in enqueues if play.machine.task(each.tasks[0].id) is not None]
    hash_before = play.machine.state_hash
    for enqueue in known * times:
        reply = play.one(enqueue)
        assert isinstance(reply, Enqueued)
        assert (reply.tasks[0].id, reply.tasks[0].created) == (enqueue.tasks[0].id, False)
    assert play.machine.state_hash == hash_before
