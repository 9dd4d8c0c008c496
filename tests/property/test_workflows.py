"""Tasks that depend on others: a join fires once, whatever happens to its members."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.machines import task_id
from tests.support.play import Play

from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.protocol.commands import (
    Ack,
    AckItem,
    Command,
    Enqueue,
    EnqueuePart,
    EnqueueParts,
    Fail,
    FailItem,
    Lease,
)
from raftq.protocol.control import Cancel, Sweep
from raftq.protocol.fields import OnParentFailure, SweepAction, TaskState
from raftq.protocol.options import NewTask, TaskFilter, TaskOptions
from raftq.protocol.replies import LeasedTask, Settled

DONE, DEAD, CANCELLED = TaskState.DONE, TaskState.DEAD, TaskState.CANCELLED
JOIN = task_id(1_000)
policies = st.sampled_from(list(OnParentFailure))


def member(number: int) -> NewTask:
    return NewTask(task_id(number), b"", attempts_max=2)


def join(parents: list[bytes], policy: OnParentFailure) -> NewTask:
    options = TaskOptions(depends_on=parents, on_parent_failure=policy)
    return NewTask(JOIN, b"", options=options)


def settle(play: Play, lease: LeasedTask, how: str) -> None:
    """End a run of a member; a lease that is left alone runs out with the next step of time."""
    match how:
        case "ack":
            play.ack(lease, lease.task_id)
        case "fail":
            play.apply(Fail([FailItem(lease.token, "x", 0)]))
        case "dead":
            play.apply(Fail([FailItem(lease.token, "x", is_final=True)]))
        case "cancel":
            play.apply(Cancel([lease.task_id]))
        case _:
            play.apply(lease_ms=10_000)


def redrive(play: Play) -> None:
    play.apply(Sweep(SweepAction.REDRIVE, TaskFilter()))


ends = st.sampled_from(["ack", "ack", "ack", "fail", "dead", "cancel", "run out"])


@settings(deadline=None, max_examples=examples(120))
@given(st.integers(1, 6), policies, st.data())
def test_a_join_fires_exactly_once_when_all_members_are_over(
    count: int, policy: OnParentFailure, data: st.DataObject
) -> None:
    play = Play()
    ids = [task_id(number) for number in range(count)]
    members = EnqueuePart("a", [member(number) for number in range(count)])
    play.apply(EnqueueParts([members, EnqueuePart("j", [join(ids, policy)])]))
    for _ in range(data.draw(st.integers(1, 20))):
        for lease in play.lease("a", count=data.draw(st.integers(1, 3))):
            settle(play, lease, data.draw(ends))
        if data.draw(st.booleans()):
            redrive(play)
        over = [play.state(each) for each in ids]
        check_join(play.state(JOIN), over, policy)
        for lease in play.lease("j"):
            play.ack(lease)
    assert [state for state, each in play.events if each == JOIN].count(TaskState.LEASED) <= 1
    redrive(play)
    play.drain()
    started = [lease for _, lease in play.starts if lease.task_id == JOIN]
    over = [play.state(each) for each in ids]
    if all(each is DONE for each in over) or policy is OnParentFailure.RUN:
        was_cancelled = CANCELLED in (state for state, each in play.events if each == JOIN)
        assert len(started) == (0 if was_cancelled else 1)
    assert len(started) <= 1


def check_join(join: TaskState, members: list[TaskState], policy: OnParentFailure) -> None:
    if join in (TaskState.READY, TaskState.LEASED):
        assert policy is OnParentFailure.RUN or all(each is DONE for each in members)
    if all(each is DONE for each in members):
        assert join is not TaskState.BLOCKED
    if policy is OnParentFailure.CANCEL and {DEAD, CANCELLED} & set(members):
        assert join is CANCELLED
    if policy is OnParentFailure.WAIT and CANCELLED in members:
        assert join is CANCELLED


@settings(deadline=None, max_examples=examples(80))
@given(st.lists(st.sets(st.integers(0, 9), max_size=4), min_size=2, max_size=10), st.data())
def test_no_task_of_a_graph_starts_before_those_it_depends_on_are_done(
    graph: list[set[int]], data: st.DataObject
) -> None:
    play = Play()
    parents = [[each for each in named if each < number] for number, named in enumerate(graph)]
    tasks = [
        NewTask(
            task_id(number),
            b"",
            data.draw(st.integers(0, 9)),
            options=TaskOptions(depends_on=[task_id(each) for each in named]),
        )
        for number, named in enumerate(parents)
    ]
    play.apply(Enqueue("a", tasks))
    done: set[bytes] = set()
    while leases := play.lease("a", count=data.draw(st.integers(1, 4))):
        for lease in leases:
            named = parents[int.from_bytes(lease.task_id)]
            assert {task_id(each) for each in named} <= done
        for lease in data.draw(st.permutations(leases)):
            play.ack(lease)
            done.add(lease.task_id)
    assert done == {each.id for each in tasks}
    assert len(play.starts) == len(tasks)


@settings(deadline=None, max_examples=examples(60))
@given(
    st.lists(st.tuples(st.sets(st.integers(0, 9), max_size=4), policies), max_size=12), st.data()
)
def test_a_family_that_is_told_part_by_part_ends_as_one_that_is_told_at_once(
    graph: list[tuple[set[int], OnParentFailure]], data: st.DataObject
) -> None:
    tasks = [
        NewTask(
            task_id(number),
            b"",
            attempts_max=1,
            options=TaskOptions(
                depends_on=[task_id(each) for each in named if each < number],
                on_parent_failure=policy,
            ),
        )
        for number, (named, policy) in enumerate([(set[int](), OnParentFailure.RUN), *graph])
    ]
    at_once, in_parts = Play(), Play()
    most = data.draw(st.integers(1, 3))

    def both(*commands: Command, wall_ms: int = 0) -> None:
        at_once.apply(*commands, wall_ms=wall_ms)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "CHILDREN_PER_ENTRY_MAX", most)
            patch.setattr(limits, "TIES_PER_ENTRY_MAX", most)
            in_parts.apply(*commands, wall_ms=wall_ms)
            in_parts.machine = Machine.load(in_parts.machine.dump())
            for _ in range(1_000):
                if (in_parts.machine.next_wall_due_at_ms() or 2**60) > in_parts.wall_at_ms:
                    break
                in_parts.apply()
        in_parts.machine.check_invariants()
        assert in_parts.tasks() == at_once.tasks()
        assert in_parts.events == at_once.events

    both(Enqueue("a", tasks))
    for number in range(data.draw(st.integers(1, 25))):
        held = [each.token or 0 for each in at_once.tasks() if each.state is TaskState.LEASED]
        target = task_id(data.draw(st.integers(0, len(tasks) - 1)))
        match data.draw(st.sampled_from(["lease", "ack", "dead", "cancel", "redrive", "time"])):
            case "lease":
                both(Lease(["a"], 2, 10_000, "w", f"r{number}"))
            case "ack" if held:
                both(Ack([AckItem(held[0])]))
            case "dead" if held:
                both(Fail([FailItem(held[-1], "x")]))
            case "cancel":
                both(Cancel([target]))
            case "redrive":
                both(Sweep(SweepAction.REDRIVE, TaskFilter()))
            case _:
                both(wall_ms=600_000)


@settings(deadline=None, max_examples=examples(60))
@given(st.integers(1, 5), st.integers(0, 3), st.booleans())
def test_follow_ups_come_with_the_ack_or_not_at_all(
    count: int, strange: int, has_unknown_parent: bool
) -> None:
    play = Play()
    play.apply(Enqueue("a", [member(0)]))
    (lease,) = play.lease("a")
    unknown = [task_id(999)] if has_unknown_parent else [task_id(0)]
    new = [
        NewTask(
            task_id(number),
            b"",
            options=TaskOptions(depends_on=unknown if number == strange else [task_id(0)]),
        )
        for number in range(1, count + 1)
    ]
    hash_before = play.machine.state_hash
    item = AckItem(lease.token, b"result", [EnqueuePart("b", new)])
    (reply,) = play.apply(Ack([item]))
    is_refused = has_unknown_parent and 1 <= strange <= count
    known = [play.machine.task(each.id) for each in new]
    status = play.machine.task(lease.task_id)
    assert status is not None
    if is_refused:
        assert play.machine.state_hash == hash_before
        assert known == [None] * count and status.state is TaskState.LEASED
        assert play.ack(lease).state is DONE
    else:
        assert all(each is not None and each.state is TaskState.READY for each in known)
        assert (status.state, status.result) == (DONE, b"result")
        (again,) = play.apply(Ack([item]))
        assert isinstance(reply, Settled) and isinstance(again, Settled)
        assert again.items == reply.items, "a repeated ack is answered again"
        assert len(play.tasks()) == count + 1


@settings(deadline=None, max_examples=examples(40))
@given(st.integers(1, 6), st.sampled_from([1, 500]))
def test_a_parent_is_remembered_while_a_child_may_read_its_result(
    count: int, result_ttl_ms: int
) -> None:
    play = Play()
    options = TaskOptions(result_ttl_ms=result_ttl_ms)
    ids = [task_id(number) for number in range(count)]
    members = [NewTask(each, b"", options=options) for each in ids]
    play.apply(Enqueue("a", [*members, join(ids, OnParentFailure.CANCEL)]))
    for lease in play.lease("a", count=count):
        play.ack(lease, lease.task_id)
        play.apply(wall_ms=10_000)
    (lease,) = play.lease("a")
    statuses = [play.machine.task(each) for each in ids]
    assert [each.result for each in statuses if each is not None] == ids
    play.ack(lease)
    play.apply(wall_ms=10_000)
    assert [play.machine.task(each) for each in ids] == [None] * count
    assert all(play.machine.was_forgotten(each) for each in ids)
