"""The broker in memory knows the whole task model: control, schedules, limits, results."""

import asyncio
from datetime import timedelta

import pytest
from tests.support.asyncs import asynchronous, turns, within
from tests.support.machines import task_id

from raftq.protocol import limits
from raftq.protocol.calls import (
    Call,
    LeaseCall,
    QueuesCall,
    ResultCall,
    SchedulesCall,
    SettingsCall,
    TaskCall,
    TasksCall,
    WhyCall,
)
from raftq.protocol.commands import (
    Ack,
    AckItem,
    Enqueue,
    EnqueuePart,
    EnqueueParts,
    Extend,
    ExtendItem,
)
from raftq.protocol.control import (
    Cancel,
    Confirm,
    DeleteSchedule,
    Edit,
    SetLimit,
    SetQueue,
    SetQuota,
    SetSchedule,
    Sweep,
)
from raftq.protocol.errors import (
    ForgottenTask,
    InvalidRequest,
    KeyTaken,
    NotReady,
    QueueFull,
    RaftqError,
    TaskCancelled,
    UnknownTask,
)
from raftq.protocol.fields import Consistency, Overlap, SweepAction, TaskState
from raftq.protocol.options import (
    KeyLimit,
    NewTask,
    QueueChanges,
    Quota,
    Rate,
    Schedule,
    TaskFilter,
    TaskOptions,
)
from raftq.protocol.replies import Done, Leased, LeasedTask, Settled, SettledTask, Swept
from raftq.protocol.statuses import QueueList, ScheduleList, Settings, TaskPage, TaskStatus, Why
from raftq.testing import MemoryBroker
from raftq.testing.memory.clients import MemoryCalls, async_client

START_AT_MS = 1_700_000_000_000
LONG_MS = 60_000


def new(number: int, options: TaskOptions | None = None) -> NewTask:
    return NewTask(task_id(number), b"p", options=options)


class Bench:
    def __init__(self) -> None:
        self.broker = MemoryBroker(START_AT_MS)
        self._requests = 0

    def do(self, call: Call) -> object:
        return self.broker.execute(call)

    def enqueue(self, *numbers: int, queue: str = "q", options: TaskOptions | None = None) -> None:
        self.do(Enqueue(queue, [new(number, options) for number in numbers]))

    def lease(self, count: int = 1, queue: str = "q") -> list[LeasedTask]:
        self._requests += 1
        leased = self.do(LeaseCall([queue], count, 30_000, "w", f"r{self._requests}"))
        assert isinstance(leased, Leased)
        return leased.leases

    def state(self, number: int) -> TaskState:
        status = self.do(TaskCall(task_id(number)))
        assert isinstance(status, TaskStatus)
        return status.state

    def item(self, call: Call) -> SettledTask:
        settled = self.do(call)
        assert isinstance(settled, Settled)
        return settled.items[0]


# ---------------------------------------------------------------- commands and reads


def test_tasks_of_several_queues_are_enqueued_together_and_remembered_as_created() -> None:
    bench = Bench()
    parts = EnqueueParts([EnqueuePart("a", [new(1)]), EnqueuePart("b", [new(2)])])
    bench.do(parts)
    bench.do(parts)
    assert [(queue, task.id) for queue, task in bench.broker.enqueued] == [
        ("a", task_id(1)),
        ("b", task_id(2)),
    ]


def test_follow_ups_are_created_with_the_ack() -> None:
    bench = Bench()
    bench.enqueue(1)
    (lease,) = bench.lease()
    bench.do(Ack([AckItem(lease.token, None, [EnqueuePart("next", [new(2)])])]))
    assert bench.state(2) is TaskState.READY
    assert bench.broker.enqueued[-1][0] == "next"


def test_a_task_is_cancelled_edited_and_confirmed() -> None:
    bench = Bench()
    bench.enqueue(1)
    assert bench.item(Edit(task_id(1), delay_ms=500)).state is TaskState.SCHEDULED
    bench.broker.advance(500)
    (lease,) = bench.lease()
    assert bench.item(Cancel([task_id(1)])).state is TaskState.CANCELLED
    late = bench.item(Extend([ExtendItem(lease.token, 1_000)]))
    assert late.error_code == TaskCancelled.code
    bench.enqueue(2, options=TaskOptions(confirm_within_ms=1_000))
    assert bench.state(2) is TaskState.BLOCKED
    assert bench.item(Confirm([task_id(2)])).state is TaskState.READY
    bench.enqueue(3, options=TaskOptions(confirm_within_ms=1_000))
    bench.broker.advance(1_000)
    assert bench.state(3) is TaskState.EXPIRED
    with pytest.raises(InvalidRequest):
        bench.do(Edit(task_id(2)))


def test_lists_settings_and_reasons_are_read() -> None:
    bench = Bench()
    bench.enqueue(1, 2)
    bench.do(SetQueue("q", QueueChanges(paused=True)))
    bench.do(SetLimit("k", KeyLimit(concurrency=2)))
    bench.do(SetQuota(Quota(tasks_max=2)))
    page = bench.do(TasksCall(TaskFilter(queue="q")))
    assert isinstance(page, TaskPage) and [task.id for task in page.tasks] == [
        task_id(1),
        task_id(2),
    ]
    why = bench.do(WhyCall(task_id(1)))
    assert isinstance(why, Why) and why.reasons[0].rule == "paused"
    queues = bench.do(QueuesCall())
    assert isinstance(queues, QueueList) and queues.queues[0].settings.paused
    settings = bench.do(SettingsCall())
    assert isinstance(settings, Settings)
    assert settings.quota.tasks_max == 2 and settings.limits[0].limit.concurrency == 2
    with pytest.raises(QueueFull) as refused:
        bench.enqueue(3)
    assert refused.value.facts["retry_after_ms"]


def test_a_taken_key_refuses_and_a_sweep_cancels() -> None:
    bench = Bench()
    bench.enqueue(1, options=TaskOptions(unique_key="k"))
    with pytest.raises(KeyTaken):
        bench.enqueue(2, options=TaskOptions(unique_key="k"))
    swept = bench.do(Sweep(SweepAction.CANCEL, TaskFilter(queue="q")))
    assert isinstance(swept, Swept) and (swept.tasks, swept.next_after) == (1, None)
    bench.enqueue(2, options=TaskOptions(unique_key="k"))


# ---------------------------------------------------------------- time


def test_a_schedule_fires_at_each_tick_of_the_virtual_clock() -> None:
    bench = Bench()
    hourly = SetSchedule("s", Schedule("q", b"p", every_ms=limits.HOUR_MS))
    assert bench.do(hourly) == Done(True, 2)
    assert bench.do(hourly) == Done(False, 3)
    bench.broker.advance(3 * limits.HOUR_MS)
    found = bench.do(SchedulesCall("s"))
    assert isinstance(found, ScheduleList) and found.schedules[0].runs == 3
    assert len(bench.lease(10)) == len(bench.broker.enqueued) == 3
    bench.do(DeleteSchedule("s"))
    bench.broker.advance(3 * limits.HOUR_MS)
    assert len(bench.broker.enqueued) == 3


def test_a_schedule_leaves_out_a_tick_while_its_task_runs() -> None:
    bench = Bench()
    schedule = Schedule("q", b"p", every_ms=limits.HOUR_MS, overlap=Overlap.SKIP)
    bench.do(SetSchedule("s", schedule))
    bench.broker.advance(3 * limits.HOUR_MS)
    found = bench.do(SchedulesCall("s"))
    assert isinstance(found, ScheduleList)
    assert (found.schedules[0].runs, found.schedules[0].skipped) == (1, 2)


def test_a_slowed_queue_serves_who_waits_at_its_pace() -> None:
    bench = Bench()
    bench.do(SetQueue("q", QueueChanges(rate=Rate(1, 1_000))))
    served: list[timedelta] = []
    for number in range(3):
        poll = bench.broker.poll(LeaseCall(["q"], 1, 30_000, "w", f"p{number}", LONG_MS))
        poll.future.add_done_callback(lambda _: served.append(bench.broker.clock.elapsed))
    bench.enqueue(1, 2, 3)
    bench.broker.advance(5_000)
    assert served == [timedelta(seconds=second) for second in range(3)]


def test_a_poll_waits_on_while_a_key_is_full_and_is_woken_when_it_is_not() -> None:
    bench = Bench()
    bench.do(SetLimit("k", KeyLimit(concurrency=1)))
    bench.enqueue(1, 2, options=TaskOptions(limit_key="k"))
    (first,) = bench.lease()
    poll = bench.broker.poll(LeaseCall(["q"], 1, 30_000, "w", "p", LONG_MS))
    assert not poll.future.done()
    bench.do(Ack([AckItem(first.token)]))
    leased = poll.future.result(0)
    assert isinstance(leased, Leased) and leased.leases[0].task_id == task_id(2)


# ---------------------------------------------------------------- results


def result_of(reply: object) -> bytes | None:
    assert isinstance(reply, TaskStatus)
    return reply.result


def test_a_wait_for_a_result_ends_with_the_task_or_with_its_time() -> None:
    bench = Bench()
    bench.enqueue(1)
    waiting = bench.broker.poll(ResultCall(task_id(1), LONG_MS))
    in_vain = bench.broker.poll(ResultCall(task_id(1), 1_000))
    bench.broker.advance(1_000)
    ready = in_vain.future.result(0)
    assert isinstance(ready, TaskStatus) and ready.state is TaskState.READY
    assert not waiting.future.done()
    (lease,) = bench.lease()
    bench.do(Ack([AckItem(lease.token, b"result")]))
    assert result_of(waiting.future.result(0)) == b"result"
    assert result_of(bench.broker.poll(ResultCall(task_id(1), LONG_MS)).future.result(0))


@asynchronous
async def test_a_client_in_memory_waits_for_a_result() -> None:
    bench = Bench()
    bench.enqueue(1)
    calls = MemoryCalls(bench.broker)
    waiting = asyncio.ensure_future(calls.call(ResultCall(task_id(1), LONG_MS), 5.0))
    await turns()
    assert not waiting.done()
    bench.do(Cancel([task_id(1)]))
    status = await within(5.0, waiting)
    assert isinstance(status, TaskStatus) and status.state is TaskState.CANCELLED


def test_unknown_and_forgotten_are_two_things() -> None:
    bench = Bench()
    bench.enqueue(1)
    bench.do(Cancel([task_id(1)]))
    bench.broker.advance(limits.RESULT_RETENTION_MS + 1_000)
    for number, expected in ((1, ForgottenTask), (2, UnknownTask)):
        with pytest.raises(RaftqError) as error:
            bench.broker.poll(ResultCall(task_id(number), LONG_MS))
        assert type(error.value) is expected


def test_a_status_tells_of_which_log_index_it_is() -> None:
    bench = Bench()
    bench.enqueue(1)
    fresh = bench.do(TaskCall(task_id(1)))
    assert isinstance(fresh, TaskStatus) and (fresh.applied_index, fresh.lag_ms) == (2, None)
    stale = bench.do(TaskCall(task_id(1), Consistency.STALE, 2))
    assert isinstance(stale, TaskStatus) and (stale.applied_index, stale.lag_ms) == (2, 0)
    with pytest.raises(NotReady):
        bench.do(TaskCall(task_id(1), Consistency.STALE, 3))


@asynchronous
async def test_a_client_reads_lists_page_after_page(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    names = [f"n{number}" for number in range(9)]
    for name in names:
        bench.do(SetQueue(name, QueueChanges(paused=True)))
        bench.do(SetLimit(name, KeyLimit(concurrency=1)))
        bench.do(SetSchedule(name, Schedule("q", bytes(60), every_ms=1_000)))
    monkeypatch.setattr(limits, "LEASE_REPLY_BYTES_MAX", 100)
    client = async_client(bench.broker)
    assert [each.queue for each in await client.queues()] == names
    assert [each.key for each in await client.limits()] == names
    assert [each.name for each in await client.schedules()] == names
