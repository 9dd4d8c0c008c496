"""Waiting for a task to be over, on any node, and saying how old an answer may be."""

import asyncio
from random import Random
from uuid import UUID

import pytest
from msgspec import structs
from tests.support.asyncs import asynchronous, turns, within
from tests.support.fake_replica import FakeReplica

from raftq.protocol import limits
from raftq.protocol.calls import Call, ResultCall, TaskCall
from raftq.protocol.commands import Ack, AckItem, Command, Enqueue, Fail, FailItem, Lease
from raftq.protocol.control import Cancel, Sweep
from raftq.protocol.errors import (
    ForgottenTask,
    NoLeader,
    NotReady,
    RateLimited,
    UnknownTask,
)
from raftq.protocol.fields import Consistency, SweepAction, TaskState
from raftq.protocol.options import NewTask, TaskFilter, TaskOptions
from raftq.protocol.replies import Reply
from raftq.protocol.statuses import ClusterStatus, TaskStatus
from raftq.server.service import Service

SOON = 5.0
LONG_MS = 60_000
TASK = UUID(int=1).bytes
STALE = Consistency.STALE


class Bench:
    """A service on a fake replica, with one task of queue `q`."""

    def __init__(self, is_leader: bool = True) -> None:
        self.replica = FakeReplica(is_leader)
        status = ClusterStatus("c", "n1", None, 0, 0, 0, "0" * 16, [])
        self.service = Service(self.replica, lambda: status, lambda: False, Random(1))
        self.loop = asyncio.get_running_loop()
        self.apply(Enqueue("q", [NewTask(TASK, b"p")]))

    def apply(self, *commands: Command) -> None:
        self.replica.apply(list(commands))

    def finish(self, result: bytes | None = b"done", *more: Command) -> None:
        """Lease and ack the task, as somebody else would."""
        self.apply(Lease(["q"], 1, 30_000, "w", "r"))
        status = self.replica.machine.task(TASK)
        assert status is not None and status.token is not None
        self.apply(Ack([AckItem(status.token, result)]), *more)

    def ask(self, call: Call, seconds: float = SOON) -> "asyncio.Task[Reply]":
        deadline = self.loop.time() + seconds
        return asyncio.ensure_future(self.service.execute(call, deadline))

    def result(
        self, wait_ms: int = LONG_MS, consistency: Consistency = Consistency.LINEARIZABLE
    ) -> "asyncio.Task[Reply]":
        return self.ask(ResultCall(TASK, wait_ms, consistency), SOON + wait_ms / 1_000)

    def answer_reads(self) -> None:
        """Let a leader elsewhere answer reads: it has applied what this node has."""

        async def forward(call: Call, _deadline: float) -> Reply:
            assert isinstance(call, TaskCall), "a wait is never sent to another node"
            status = self.replica.machine.task(call.task_id)
            assert status is not None
            return with_index(status, self.replica.view().applied_index)

        self.replica.on_forward = forward


def with_index(status: TaskStatus, index: int) -> TaskStatus:
    return structs.replace(status, applied_index=index)


async def told(waiting: "asyncio.Task[Reply]") -> TaskStatus:
    status = await within(SOON, waiting)
    assert isinstance(status, TaskStatus)
    return status


# ---------------------------------------------------------------- waiting


@asynchronous
async def test_a_task_that_is_over_is_told_at_once() -> None:
    bench = Bench()
    bench.finish()
    status = await told(bench.result())
    assert (status.state, status.result, status.lag_ms) == (TaskState.DONE, b"done", None)
    assert status.applied_index == bench.replica.view().applied_index
    assert bench.replica.barriers == 1


@asynchronous
async def test_a_call_that_waits_is_answered_when_the_task_is_over() -> None:
    bench = Bench()
    waiting = bench.result()
    await turns()
    bench.apply(Enqueue("q", [NewTask(UUID(int=2).bytes, b"p")]))
    await turns()
    assert not waiting.done() and bench.service.reading.results.waiting == 1
    bench.finish()
    status = await told(waiting)
    assert (status.state, status.result) == (TaskState.DONE, b"done")
    assert status.applied_index == bench.replica.view().applied_index
    assert bench.service.reading.results.waiting == 0


@asynchronous
async def test_all_who_wait_for_a_task_are_answered() -> None:
    bench = Bench()
    waiting = [bench.result() for _ in range(3)]
    await turns()
    bench.apply(Cancel([TASK]))
    for each in waiting:
        assert (await told(each)).state is TaskState.CANCELLED


@asynchronous
async def test_the_result_is_told_though_it_is_forgotten_right_after() -> None:
    bench = Bench()
    short = UUID(int=5).bytes
    bench.apply(Enqueue("s", [NewTask(short, b"p", options=TaskOptions(result_ttl_ms=1))]))
    waiting = bench.ask(ResultCall(short, LONG_MS), SOON + 60)
    await turns()
    bench.apply(Lease(["s"], 1, 30_000, "w", "s"))
    status = bench.replica.machine.task(short)
    assert status is not None and status.token is not None
    bench.apply(Ack([AckItem(status.token, b"brief")]))
    bench.replica.wall_ms += limits.RETRY_MEMORY_MS + 10
    bench.apply()
    bench.apply()
    assert bench.replica.machine.task(short) is None, "the outcome is gone before the answer"
    assert (await told(waiting)).result == b"brief"


@asynchronous
async def test_a_wait_that_ends_in_vain_is_answered_by_a_read_anew() -> None:
    bench = Bench()
    status = await told(bench.result(20))
    assert status.state is TaskState.READY
    assert bench.replica.barriers == 2
    assert bench.service.reading.results.waiting == 0


@asynchronous
async def test_a_node_that_lost_touch_says_so_when_the_wait_ends() -> None:
    bench = Bench(is_leader=False)
    bench.answer_reads()
    waiting = bench.ask(ResultCall(TASK, 50), 0.3)
    await turns()

    async def cut_off(_call: Call, _deadline: float) -> Reply:
        raise NoLeader("none")

    bench.replica.on_forward = cut_off
    with pytest.raises(NoLeader):
        await within(SOON, waiting)


@asynchronous
async def test_a_change_of_leader_changes_nothing_for_who_waits() -> None:
    bench = Bench()
    waiting = bench.result()
    await turns()
    bench.replica.lead(False)
    await turns()
    bench.finish()
    assert (await told(waiting)).state is TaskState.DONE
    assert bench.replica.forwarded == []


@asynchronous
async def test_a_follower_asks_the_leader_once_and_waits_itself() -> None:
    bench = Bench(is_leader=False)
    bench.answer_reads()
    waiting = bench.result()
    await turns()
    assert bench.replica.forwarded == [TaskCall(TASK)]
    bench.finish()
    assert (await told(waiting)).result == b"done"
    assert len(bench.replica.forwarded) == 1


@asynchronous
async def test_an_end_that_this_node_applied_before_it_waits_is_not_missed() -> None:
    bench = Bench(is_leader=False)
    before = bench.replica.machine.task(TASK)
    assert before is not None
    index = bench.replica.view().applied_index

    async def slow(_call: Call, _deadline: float) -> Reply:
        bench.finish()  # The leader answered earlier; its answer was slower than its entries.
        return with_index(before, index)

    bench.replica.on_forward = slow
    assert (await told(bench.result())).state is TaskState.DONE


@asynchronous
async def test_an_end_older_than_what_the_leader_told_is_not_believed() -> None:
    bench = Bench(is_leader=False)
    live = bench.replica.machine.task(TASK)
    assert live is not None

    async def ahead(_call: Call, _deadline: float) -> Reply:
        return with_index(live, bench.replica.view().applied_index + 3)  # It was redriven there.

    bench.replica.on_forward = ahead
    waiting = bench.result()
    await turns()
    bench.finish()  # Two entries, of which the leader knows already.
    await turns()
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])


@asynchronous
async def test_a_redriven_task_is_waited_for_anew() -> None:
    bench = Bench()
    waiting = bench.result()
    await turns()
    bench.apply(Lease(["q"], 1, 30_000, "w", "r"))
    status = bench.replica.machine.task(TASK)
    assert status is not None and status.token is not None
    redrive = Sweep(SweepAction.REDRIVE, TaskFilter(queue="q"))
    bench.apply(Fail([FailItem(status.token, "no", is_final=True)]), redrive)
    await turns()
    assert not waiting.done(), "it is over for nobody: one entry failed and redrove it"
    bench.apply(Cancel([TASK]))
    assert (await told(waiting)).state is TaskState.CANCELLED


@asynchronous
async def test_what_came_with_a_snapshot_wakes_who_waits() -> None:
    bench = Bench()
    waiting = bench.result()
    await turns()
    bench.replica.install([Cancel([TASK])])
    assert (await told(waiting)).state is TaskState.CANCELLED


@asynchronous
async def test_a_caller_that_goes_leaves_nothing_behind() -> None:
    bench = Bench()
    waiting = bench.result()
    await turns()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert bench.service.reading.results.waiting == 0
    assert bench.service.calls_running == 0
    bench.finish()


@asynchronous
async def test_one_wait_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITERS_MAX", 2)
    bench = Bench()
    waiting = [bench.result(), bench.result()]
    await turns()
    with pytest.raises(RateLimited) as refused:
        await told(bench.result())
    assert refused.value.facts["retry_after_ms"] == limits.RETRY_AFTER_MS
    bench.finish()
    for each in waiting:
        assert (await told(each)).state is TaskState.DONE


@asynchronous
async def test_a_stopping_node_tells_the_present_state() -> None:
    bench = Bench()
    waiting = bench.result()
    await turns()
    bench.service.shut_down(bench.loop.time() + SOON)
    assert (await told(waiting)).state is TaskState.READY
    assert (await told(bench.result())).state is TaskState.READY


# ---------------------------------------------------------------- unknown, forgotten, stale


@asynchronous
async def test_unknown_and_forgotten_are_two_things() -> None:
    bench = Bench()
    with pytest.raises(UnknownTask) as unknown:
        await told(bench.ask(ResultCall(UUID(int=9).bytes, LONG_MS)))
    assert not isinstance(unknown.value, ForgottenTask)
    bench.finish()
    bench.replica.wall_ms += limits.RESULT_RETENTION_MS + 10
    bench.apply()
    for call in (ResultCall(TASK, LONG_MS), TaskCall(TASK)):
        with pytest.raises(ForgottenTask):
            await told(bench.ask(call))


@asynchronous
async def test_a_stale_answer_says_how_old_it_may_be() -> None:
    bench = Bench(is_leader=False)
    bench.replica.lag_ms = 70
    for call in (TaskCall(TASK, STALE), ResultCall(TASK, 0, STALE)):
        status = await told(bench.ask(call))
        assert (status.lag_ms, status.applied_index) == (70, bench.replica.view().applied_index)
    assert bench.replica.forwarded == []
    waiting = bench.result(consistency=STALE)
    await turns()
    bench.finish()
    status = await told(waiting)
    assert (status.state, status.lag_ms) == (TaskState.DONE, 70)


@asynchronous
async def test_a_node_that_heard_no_leader_is_as_old_as_its_newest_entry() -> None:
    bench = Bench(is_leader=False)
    bench.replica.lag_ms = None
    bench.replica.wall_ms += 12_345
    assert (await told(bench.ask(TaskCall(TASK, STALE)))).lag_ms == 12_345


@asynchronous
async def test_a_stale_read_waits_for_the_log_index_that_it_asks_for() -> None:
    bench = Bench(is_leader=False)
    index = bench.replica.view().applied_index
    waiting = bench.ask(TaskCall(TASK, STALE, min_index=index + 2))
    await turns()
    bench.apply()
    await turns()
    assert not waiting.done()
    bench.apply(Cancel([TASK]))
    await turns()
    assert waiting.done(), "the entry itself wakes it"
    status = await told(waiting)
    assert (status.state, status.applied_index) == (TaskState.CANCELLED, index + 2)


@asynchronous
async def test_a_log_index_that_does_not_come_is_not_ready() -> None:
    bench = Bench(is_leader=False)
    with pytest.raises(NotReady, match="not up to 99"):
        await told(bench.ask(TaskCall(TASK, STALE, min_index=99), 0.05))
    assert bench.service.reading.results.waiting == 0
