"""Commands and reads beyond the life cycle, on the leader and on another node."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest
from msgspec import structs
from tests.support.asyncs import asynchronous, within
from tests.support.fake_replica import FakeReplica
from tests.support.machines import task_id

from raftq.protocol import codec, limits
from raftq.protocol.calls import (
    Call,
    LeaseCall,
    QueueCall,
    QueuesCall,
    ResultCall,
    SchedulesCall,
    SettingsCall,
    TaskCall,
    TasksCall,
    WhyCall,
)
from raftq.protocol.commands import Ack, AckItem, Enqueue, EnqueuePart, EnqueueParts, Fail, FailItem
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
    DiskFull,
    ForgottenTask,
    InvalidRequest,
    KeyTaken,
    LeadershipLost,
    NoLeader,
    OutcomeUnknown,
    QueueFull,
    RaftqError,
    UnknownSchedule,
    UnknownTask,
)
from raftq.protocol.fields import Consistency, SweepAction, TaskState
from raftq.protocol.options import (
    KeyLimit,
    NewTask,
    QueueChanges,
    QueueSettings,
    Quota,
    Schedule,
    TaskFilter,
    TaskOptions,
)
from raftq.protocol.replies import Done, Enqueued, Leased, Reply, Settled, Swept
from raftq.protocol.statuses import (
    ClusterStatus,
    QueueList,
    QueueStatus,
    ScheduleList,
    Settings,
    TaskPage,
    TaskStatus,
    Why,
)
from raftq.server.calls import ClientCommand, is_command, is_read
from raftq.server.service import Service

SOON = 5.0
HOURLY = Schedule("q", b"p", every_ms=limits.HOUR_MS)


def new(number: int, payload: bytes = b"p", options: TaskOptions | None = None) -> NewTask:
    return NewTask(task_id(number), payload, options=options)


class Bench:
    """A service on a fake replica."""

    def __init__(self, is_leader: bool = True) -> None:
        self.replica = FakeReplica(is_leader)
        self.disk_is_full = False
        status = ClusterStatus("c", "n1", None, 0, 0, 0, "0" * 16, [])
        self.service = Service(self.replica, lambda: status, lambda: self.disk_is_full, Random(1))

    async def execute(self, call: Call, seconds: float = SOON) -> Reply:
        deadline = asyncio.get_running_loop().time() + seconds
        return await within(2 * SOON, self.service.execute(call, deadline))

    async def lease(self, count: int = 1, queue: str = "q") -> list[int]:
        request = f"r{len(self.replica.entries)}"
        leased = await self.execute(LeaseCall([queue], count, 30_000, "w", request))
        assert isinstance(leased, Leased)
        return [each.token for each in leased.leases]


COMMANDS: list[tuple[ClientCommand, type[Reply]]] = [
    (EnqueueParts([EnqueuePart("a", [new(11)]), EnqueuePart("b", [new(12)])]), Enqueued),
    (Cancel([task_id(1)]), Settled),
    (Confirm([task_id(1)]), Settled),
    (Edit(task_id(1), priority=3), Settled),
    (Sweep(SweepAction.CANCEL, TaskFilter(queue="q")), Swept),
    (SetQueue("q", QueueChanges(paused=True)), Done),
    (SetLimit("k", KeyLimit(concurrency=1)), Done),
    (SetQuota(Quota(tasks_max=5)), Done),
    (SetSchedule("s", HOURLY), Done),
    (DeleteSchedule("s"), Done),
]
READS: list[tuple[Call, type[Reply]]] = [
    (TaskCall(task_id(1)), TaskStatus),
    (ResultCall(task_id(1)), TaskStatus),
    (TasksCall(TaskFilter()), TaskPage),
    (WhyCall(task_id(1)), Why),
    (QueueCall("q"), QueueStatus),
    (QueuesCall(), QueueList),
    (SettingsCall(), Settings),
    (SchedulesCall(), ScheduleList),
]
KIND = pytest.mark.parametrize(
    ("call", "kind"), [*COMMANDS, *READS], ids=lambda each: type(each).__name__
)


@KIND
def test_the_leader_answers_every_call(call: Call, kind: type[Reply]) -> None:
    @asynchronous
    async def body() -> None:
        bench = Bench()
        await bench.execute(Enqueue("q", [new(1)]))
        entries = len(bench.replica.entries)
        assert isinstance(await bench.execute(call), kind)
        assert is_read(call) is not is_command(call)
        assert bench.replica.barriers == is_read(call)
        assert len(bench.replica.entries) == entries + is_command(call)
        assert bench.replica.forwarded == []

    body()


@KIND
def test_another_node_has_the_leader_answer(call: Call, kind: type[Reply]) -> None:
    @asynchronous
    async def body() -> None:
        leader, bench = Bench(), Bench(is_leader=False)
        await leader.execute(Enqueue("q", [new(1)]))
        bench.replica.on_forward = leader.replica.handler
        assert isinstance(await bench.execute(call), kind)
        assert len(bench.replica.forwarded) == 1

    body()


@pytest.mark.parametrize("command", [each for each, _ in COMMANDS], ids=lambda e: type(e).__name__)
def test_a_command_whose_try_was_lost_is_never_said_not_to_have_happened(
    command: ClientCommand,
) -> None:
    @asynchronous
    async def body() -> None:
        bench = Bench(is_leader=False)
        errors: list[RaftqError] = [LeadershipLost("lost")]

        async def forward(_call: Call, _deadline: float) -> Reply:
            raise errors.pop() if errors else NoLeader("none")

        bench.replica.on_forward = forward
        with pytest.raises(OutcomeUnknown):
            await bench.execute(command, 0.1)

    body()


@pytest.mark.parametrize("call", [each for each, _ in READS], ids=lambda each: type(each).__name__)
def test_a_stale_read_asks_nobody(call: Call) -> None:
    @asynchronous
    async def body() -> None:
        bench = Bench(is_leader=False)
        bench.replica.apply([Enqueue("q", [new(1)])])
        assert is_read(call)
        await bench.execute(structs.replace(call, consistency=Consistency.STALE))
        assert bench.replica.forwarded == [] and bench.replica.barriers == 0

    body()


# ---------------------------------------------------------------- refusals


@asynchronous
async def test_a_rejection_of_the_machine_says_when_to_try_again() -> None:
    bench = Bench()
    await bench.execute(SetQuota(Quota(tasks_max=1)))
    await bench.execute(Enqueue("q", [new(1)]))
    with pytest.raises(QueueFull) as refused:
        await bench.execute(Enqueue("q", [new(2)]))
    after_ms = refused.value.facts["retry_after_ms"]
    assert isinstance(after_ms, int) and after_ms > 0


@asynchronous
async def test_a_taken_key_is_an_error_of_its_own() -> None:
    bench = Bench()
    await bench.execute(Enqueue("q", [new(1, options=TaskOptions(unique_key="k"))]))
    with pytest.raises(KeyTaken):
        await bench.execute(Enqueue("q", [new(2, options=TaskOptions(unique_key="k"))]))


@asynchronous
async def test_what_is_not_there_has_its_error() -> None:
    bench = Bench()
    for call in (WhyCall(task_id(9)), TaskCall(task_id(9))):
        with pytest.raises(UnknownTask) as unknown:
            await bench.execute(call)
        assert not isinstance(unknown.value, ForgottenTask)
    with pytest.raises(UnknownSchedule, match="nothing"):
        await bench.execute(SchedulesCall("nothing"))
    found = await bench.execute(SchedulesCall())
    assert isinstance(found, ScheduleList) and found.schedules == []


@pytest.mark.parametrize(
    "edit",
    [Edit(task_id(1)), Edit(task_id(1), delay_ms=1, not_before_at_ms=1)],
    ids=["nothing", "two times"],
)
def test_an_edit_that_says_nothing_or_two_things_is_refused(edit: Edit) -> None:
    @asynchronous
    async def body() -> None:
        bench = Bench()
        await bench.execute(Enqueue("q", [new(1)]))
        with pytest.raises(InvalidRequest):
            await bench.execute(edit)
        assert len(bench.replica.entries) == 1

    body()


# ---------------------------------------------------------------- admission


@asynchronous
async def test_an_enqueue_of_parts_is_admitted_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "TASKS_LIVE_MAX", 2)
    bench = Bench()
    parts = EnqueueParts([EnqueuePart("a", [new(1)]), EnqueuePart("b", [new(2)])])
    await bench.execute(parts)
    with pytest.raises(QueueFull):
        await bench.execute(EnqueueParts([EnqueuePart("c", [new(3)])]))
    repeated = await bench.execute(parts)
    assert isinstance(repeated, Enqueued) and not any(each.created for each in repeated.tasks)
    bench.disk_is_full = True
    monkeypatch.setattr(limits, "TASKS_LIVE_MAX", 3)
    with pytest.raises(DiskFull):
        await bench.execute(EnqueueParts([EnqueuePart("c", [new(3)])]))


@asynchronous
async def test_follow_ups_pass_when_everything_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    await bench.execute(Enqueue("q", [new(1)]))
    (token,) = await bench.lease()
    bench.disk_is_full = True
    monkeypatch.setattr(limits, "TASKS_LIVE_MAX", 0)
    await bench.execute(SetQuota(Quota(tasks_max=0)))
    settled = await bench.execute(Ack([AckItem(token, b"r", [EnqueuePart("next", [new(2)])])]))
    assert isinstance(settled, Settled) and settled.items[0].state is TaskState.DONE
    assert bench.replica.machine.ready_count("next") == 1


# ---------------------------------------------------------------- schedules


@asynchronous
async def test_the_leader_computes_the_first_tick_by_the_clusters_time() -> None:
    bench = Bench()
    await bench.execute(SetSchedule("s", HOURLY))
    (status,) = bench.replica.machine.schedule_list("s").schedules
    assert status.next_at_ms is not None
    assert 0 < status.next_at_ms - bench.replica.wall_ms <= limits.HOUR_MS


@asynchronous
async def test_a_first_tick_that_a_client_sends_is_not_believed() -> None:
    bench = Bench()
    await bench.execute(SetSchedule("s", HOURLY, 1))
    (status,) = bench.replica.machine.schedule_list("s").schedules
    assert status.next_at_ms is not None and status.next_at_ms > bench.replica.wall_ms


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule("q", b"p"),
        Schedule("q", b"p", cron="61 * * * *"),
        Schedule("q", b"p", cron="* * * * *", timezone="Mars/Olympus"),
        Schedule("q", b"p", cron="* * * * *", every_ms=1_000),
    ],
    ids=["nothing", "cron", "timezone", "both"],
)
def test_a_schedule_that_never_ticks_is_refused_before_the_log(schedule: Schedule) -> None:
    @asynchronous
    async def body() -> None:
        bench = Bench()
        with pytest.raises(InvalidRequest):
            await bench.execute(SetSchedule("s", schedule))
        assert bench.replica.machine.schedule_list().schedules == []

    body()


# ---------------------------------------------------------------- sizes of answers


@asynchronous
async def test_a_page_ends_before_its_answer_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEASE_REPLY_BYTES_MAX", 60_000)
    bench = Bench()
    await bench.execute(Enqueue("q", [new(number) for number in range(1, 8)]))
    tokens = await bench.lease(7)
    await bench.execute(Ack([AckItem(token, bytes(20_000)) for token in tokens]))
    seen: list[bytes] = []
    after: int | None = 0
    pages = 0
    while after is not None:
        page = await bench.execute(TasksCall(TaskFilter(), after))
        assert isinstance(page, TaskPage)
        assert sum(len(task.result or b"") for task in page.tasks) <= 60_000
        assert page.matched == len(page.tasks) >= 1 or page.next_after is None
        seen += [task.id for task in page.tasks]
        after, pages = page.next_after, pages + 1
    assert seen == [task_id(number) for number in range(1, 8)]
    assert pages > 3


@asynchronous
async def test_a_task_that_is_larger_than_a_page_is_shown_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "LEASE_REPLY_BYTES_MAX", 10)
    bench = Bench()
    await bench.execute(Enqueue("q", [new(1), new(2)]))
    (token,) = await bench.lease()
    await bench.execute(Fail([FailItem(token, "x" * 4_000)]))
    page = await bench.execute(TasksCall(TaskFilter()))
    assert isinstance(page, TaskPage) and [task.id for task in page.tasks] == [task_id(1)]
    assert page.next_after == 1


@asynchronous
async def test_a_list_that_does_not_fit_in_an_answer_comes_in_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    names = [f"n{number}" for number in range(9, -1, -1)]
    for name in names:
        bench.replica.apply([SetQueue(name, QueueChanges(paused=True))])
        bench.replica.apply([SetLimit(name, KeyLimit(concurrency=1))])
        bench.replica.apply([SetSchedule(name, Schedule("q", bytes(60), every_ms=1_000), 1)])
    monkeypatch.setattr(limits, "LEASE_REPLY_BYTES_MAX", 100)

    async def page(call: Call) -> tuple[list[str], str | None]:
        match await bench.execute(call):
            case QueueList(queues=queues, next_after=after):
                return [each.queue for each in queues], after
            case Settings(limits=found, next_after=after):
                return [each.key for each in found], after
            case ScheduleList(schedules=found, next_after=after):
                return [each.name for each in found], after
            case other:
                raise AssertionError(other)

    calls: list[tuple[Callable[[str | None], Call], list[str]]] = [
        (lambda after: QueuesCall(after=after), names),
        (lambda after: SettingsCall(after=after), sorted(names)),
        (lambda after: SchedulesCall(after=after), sorted(names)),
    ]
    for call, expected in calls:
        found, after = await page(call(None))
        pages = 1
        while after is not None:
            more, after = await page(call(after))
            found, pages = found + more, pages + 1
        assert found == expected and pages > 1


@asynchronous
async def test_a_page_has_one_item_at_least_however_large_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    for name in ("a", "b"):
        bench.replica.apply([SetQueue(name, QueueChanges(paused=True))])
    monkeypatch.setattr(limits, "LEASE_REPLY_BYTES_MAX", 1)
    page = await bench.execute(QueuesCall())
    assert isinstance(page, QueueList)
    assert ([each.queue for each in page.queues], page.next_after) == (["a"], "a")


@asynchronous
async def test_a_list_of_queues_does_not_go_on_behind_one_that_is_not_there() -> None:
    bench = Bench()
    with pytest.raises(InvalidRequest, match="no queue nowhere"):
        await bench.execute(QueuesCall(after="nowhere"))


def test_the_largest_queue_fits_in_a_reply() -> None:
    """The only item of a list that may be larger than a page."""
    key = "\N{MUSICAL SYMBOL G CLEF}" * (limits.KEY_CHARACTERS_MAX - 5)
    weights = {f"{key}{number:05}": 1_000 for number in range(limits.FAIR_WEIGHTS_MAX)}
    page = QueueList([QueueStatus("q" * 128, 1, {}, QueueSettings(fair_weights=weights))])
    assert len(codec.encode(page)) < limits.REPLY_BYTES_MAX - limits.MIB
