"""`retry`: one task by its id begins anew, whatever state it is in, and nothing else does."""

import msgspec
import pytest
from tests.support.fake_node import FakeCluster, run

from raftq.client import AsyncClient, Conflict, KeyTaken, RaftqError, TaskState, TaskStatus
from raftq.protocol.calls import TaskCall
from raftq.protocol.control import Edit, Sweep
from raftq.protocol.fields import SweepAction
from raftq.protocol.replies import Settled, SettledTask, Swept

ID = bytes(range(16))
FOUND = TaskStatus(ID, "mail", TaskState.DEAD, 5, 5, 0, 5, 5, 7, None, ["x"], 0, 0, 9, sequence=41)


def in_state(state: TaskState) -> TaskStatus:
    return msgspec.structs.replace(FOUND, state=state)


def test_only_the_dead_task_itself_is_redriven() -> None:
    async def main() -> TaskState:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            cluster["n1"].script.extend([FOUND, Swept(1, None, 41), in_state(TaskState.READY)])
            state = await client.retry(ID)
            _, sweep, _ = cluster.calls
            assert isinstance(sweep, Sweep) and sweep.action is SweepAction.REDRIVE
            assert (sweep.after, sweep.until) == (40, 41), "from its place to its place"
            assert sweep.filter.states == [TaskState.DEAD]
            return state

    assert run(main) is TaskState.READY


def test_a_scheduled_task_begins_now() -> None:
    async def main() -> TaskState:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            settled = Settled([SettledTask(TaskState.READY)])
            cluster["n1"].script.extend([in_state(TaskState.SCHEDULED), settled])
            state = await client.retry(ID)
            assert cluster.calls[1] == Edit(ID, 0)
            return state

    assert run(main) is TaskState.READY


@pytest.mark.parametrize("state", [TaskState.READY, TaskState.BLOCKED, TaskState.LEASED])
def test_a_task_that_waits_or_runs_is_left_alone(state: TaskState) -> None:
    async def main() -> TaskState:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            cluster["n1"].script.append(in_state(state))
            found = await client.retry(ID)
            assert cluster.calls == [TaskCall(ID)]
            return found

    assert run(main) is state


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([in_state(TaskState.DONE)], Conflict),
        ([in_state(TaskState.CANCELLED)], Conflict),
        ([in_state(TaskState.EXPIRED)], Conflict),
        ([FOUND, Swept(0, None, 41), FOUND], KeyTaken),
        ([FOUND, Swept(0, None, 41), in_state(TaskState.CANCELLED)], Conflict),
    ],
)
def test_what_is_over_or_whose_key_is_taken_is_refused(
    answers: list[TaskStatus | Swept], error: type[RaftqError]
) -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            cluster["n1"].script.extend(answers)
            await client.retry(ID)

    with pytest.raises(error) as refused:
        run(main)
    assert type(refused.value) is error
