"""Laws of the machine that hold for all commands and all options, each said in one sentence."""

from contextlib import suppress

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple
from tests.support import command_strategies as some
from tests.support.examples import examples
from tests.support.machines import entry
from tests.support.message_strategies import messages_of
from tests.support.play import Play

from raftq.core.machine import Machine
from raftq.protocol.commands import Command, Entry
from raftq.protocol.control import Cancel, Confirm, Edit, SetQueue
from raftq.protocol.fields import OnParentFailure, TaskState
from raftq.protocol.options import QueueChanges
from raftq.protocol.replies import Rejected, Settled

entries = st.lists(some.commands, min_size=1, max_size=5)
steps_ms = st.sampled_from([0, 0, 0, 1, 400, 1_000, 5_000])


def play_on(play: Play, data: st.DataObject, steps: int) -> None:
    """Apply random entries."""
    for _ in range(data.draw(st.integers(1, steps))):
        drawn = data.draw(entries)
        play.apply_drawn(drawn, lease_ms=data.draw(steps_ms), wall_ms=data.draw(steps_ms))


def check_counts(play: Play) -> None:
    enqueued = 0
    for queue in play.machine.queue_list().queues:
        assert queue.enqueued == sum(queue.counts.values())
        enqueued += queue.enqueued
    assert enqueued == play.machine.last_sequence


@settings(deadline=None, max_examples=examples(80))
@given(st.data())
def test_what_was_enqueued_is_the_sum_of_all_states_after_every_entry(data: st.DataObject) -> None:
    play_on(Play(check=check_counts), data, 25)


@settings(deadline=None, max_examples=examples(80))
@given(st.data())
def test_who_is_cancelled_or_expired_is_never_leased_and_has_no_result(data: st.DataObject) -> None:
    def check(play: Play) -> None:
        for task in play.tasks():
            if task.state in (TaskState.CANCELLED, TaskState.EXPIRED):
                ended[task.sequence] = task.state
            if task.sequence in ended:
                assert task.state is ended[task.sequence] and task.result is None

    ended: dict[int, TaskState] = {}
    play = Play(check=check)
    play_on(play, data, 25)
    gone: set[bytes] = set()
    for state, each in play.events:
        if state in (TaskState.CANCELLED, TaskState.EXPIRED):
            gone.add(each)
        elif state is TaskState.LEASED:
            assert each not in gone
        elif each in gone:  # Forgotten, and then the id of a new task.
            gone.remove(each)


@settings(deadline=None, max_examples=examples(60))
@given(st.data())
def test_a_loaded_machine_does_what_the_dumped_one_does(data: st.DataObject) -> None:
    play = Play()
    play_on(play, data, 15)
    dumped = list(play.machine.dump())
    loaded = Machine.load(dumped)
    assert list(loaded.dump()) == dumped
    for _ in range(data.draw(st.integers(1, 10))):
        scene = play.scene()
        commands = [scene.command(each) for each in data.draw(entries)]
        play.wall_at_ms += data.draw(steps_ms)
        play.index += 1
        raw = entry(*commands, lease_ms=data.draw(steps_ms), wall_at_ms=play.wall_at_ms)
        first, second = (each.apply(raw, play.index) for each in (play.machine, loaded))
        assert astuple(first) == astuple(second) and first.errors == 0
        assert list(play.machine.dump()) == list(loaded.dump())
        assert play.machine.state_hash == loaded.state_hash
        for queue in some.QUEUES:
            assert play.machine.ready_count(queue) == loaded.ready_count(queue)
        assert play.machine.next_wall_due_at_ms() == loaded.next_wall_due_at_ms()


@settings(deadline=None, max_examples=examples(80))
@given(st.data())
def test_a_refused_command_changes_nothing(data: st.DataObject) -> None:
    play = Play()
    play_on(play, data, 15)
    for _ in range(8):
        command = play.scene().command(data.draw(some.commands))
        machine = play.machine
        before = machine.state_hash, machine.content_hash()
        (reply,) = play.apply(command)
        is_refused = isinstance(reply, Rejected)
        if isinstance(command, Confirm | Cancel | Edit) and isinstance(reply, Settled):
            is_refused = all(each.error_code for each in reply.items)
        if is_refused:
            assert (machine.state_hash, machine.content_hash()) == before


@settings(deadline=None, max_examples=examples(60))
@given(st.data())
def test_nothing_that_can_run_waits_for_ever(data: st.DataObject) -> None:
    """Whatever happened: with workers at work and all gates open, every task comes to an end,
    but for those that wait for a dead one to be redriven."""
    play = Play()
    play_on(play, data, 25)
    for _ in range(2):
        everything = QueueChanges(paused=False)
        play.apply(*[SetQueue(name, everything) for name in play.machine.queues()])
        held = [each for each in play.tasks() if each.worker is not None]
        play.apply(lease_ms=60_000 if held else 0)
        prepared = [each.id for each in play.tasks()]
        if prepared:
            play.apply(Confirm(prepared))
        play.drain()
    for task in play.tasks():
        if task.state is TaskState.BLOCKED:
            assert task.options is not None
            waits = task.options.on_parent_failure is OnParentFailure.WAIT
            parents = [play.machine.task(each) for each in task.options.depends_on]
            assert waits and any(each and _is_stuck(each.state) for each in parents), task
        else:
            assert task.state in (
                TaskState.DONE,
                TaskState.DEAD,
                TaskState.CANCELLED,
                TaskState.EXPIRED,
            ), task


def _is_stuck(state: TaskState) -> bool:
    return state in (TaskState.DEAD, TaskState.BLOCKED)


# ---------------------------------------------------------------- totality

any_entry = messages_of(Entry)


@settings(deadline=None, max_examples=examples(200))
@given(st.data())
def test_applying_any_bytes_and_any_commands_returns(data: st.DataObject) -> None:
    machine = Machine()
    other = Machine()
    for _ in range(data.draw(st.integers(1, 6))):
        raw = data.draw(st.one_of(st.binary(max_size=200), any_entry.map(_bytes_of)))
        applied = machine.apply(raw, 1)
        assert applied.errors == 0, applied.replies
        assert astuple(applied) == astuple(other.apply(raw, 1))
        assert (applied.rejected is None) or not applied.replies
        machine.check_invariants()
    assert machine.state_hash == other.state_hash


def _bytes_of(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


@settings(deadline=None, max_examples=examples(60))
@given(st.data(), st.lists(messages_of(Command), min_size=1, max_size=10))
def test_a_machine_with_tasks_stands_any_commands(
    data: st.DataObject, commands: list[Command]
) -> None:
    play = Play()
    play_on(play, data, 10)
    for command in commands:
        with suppress(OverflowError):
            play.apply(command)
        play.machine.check_invariants()
        play.machine.queue_list()
        play.tasks()


@settings(deadline=None, max_examples=examples(60))
@given(st.data())
def test_why_names_what_holds_a_task_back(data: st.DataObject) -> None:
    def check(play: Play) -> None:
        for task in play.tasks():
            why = play.machine.why(task.id)
            assert why is not None and why.state is task.state and why.reasons
            first = why.reasons[0].rule
            match task.state:
                case TaskState.SCHEDULED:
                    assert first == "not_before" and task.not_before_at_ms > play.wall_at_ms
                case TaskState.BLOCKED:
                    assert first in ("parents", "order_key", "limit_key", "unconfirmed")
                case TaskState.LEASED:
                    assert first == "leased"
                case TaskState.READY:
                    rest = ("behind", "paused", "queue_concurrency", "queue_rate", "nothing")
                    assert first in rest
                case _:
                    assert first == "over"

    play_on(Play(check=check), data, 15)
