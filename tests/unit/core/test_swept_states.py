"""What a sweep acts on is what `raftq.protocol.sweeps` says: clients and nodes count by it."""

import pytest
from tests.support.machines import task_id
from tests.support.play import Play

from raftq.protocol.commands import Enqueue, Fail, FailItem
from raftq.protocol.control import Cancel, Sweep
from raftq.protocol.fields import SweepAction, TaskState
from raftq.protocol.options import NewTask, TaskFilter, TaskOptions
from raftq.protocol.replies import Swept
from raftq.protocol.sweeps import SWEPT_STATES, WAITING


def one_in_each_state() -> Play:
    """Return a play with one task in each state, in the queue a."""
    play = Play()
    tasks = [NewTask(task_id(each), b"", 0, options=TaskOptions(order_key="o")) for each in (1, 2)]
    tasks += [NewTask(task_id(each), b"", 1) for each in (3, 4)]
    play.apply(Enqueue("a", tasks))
    leases = play.lease("a", count=3)
    play.apply(Fail([FailItem(leases[1].token, "x", is_final=True)]))
    play.ack(leases[2])
    born_late = TaskOptions(expires_at_ms=1)
    play.apply(
        Enqueue("a", [NewTask(task_id(5), b"", delay_ms=1_000), NewTask(task_id(6), b"")]),
        Enqueue("a", [NewTask(task_id(7), b""), NewTask(task_id(8), b"", options=born_late)]),
        Cancel([task_id(6)]),
    )
    assert sorted(each.state for each in play.tasks()) == sorted(TaskState)
    return play


@pytest.mark.parametrize("action", list(SweepAction))
@pytest.mark.parametrize("state", list(TaskState))
def test_a_sweep_changes_tasks_in_the_states_that_are_named_and_no_others(
    action: SweepAction, state: TaskState
) -> None:
    sweep = Sweep(action, TaskFilter(states=[state]), to_queue="b")
    swept = one_in_each_state().one(sweep)
    assert isinstance(swept, Swept)
    assert swept.tasks == (state in SWEPT_STATES[action])


def test_who_waits_is_neither_run_nor_over() -> None:
    assert set(WAITING) == set(TaskState) - {
        TaskState.LEASED,
        TaskState.DONE,
        TaskState.DEAD,
        TaskState.CANCELLED,
        TaskState.EXPIRED,
    }
