"""Each method sends the call that it promises, and turns the answer into a value or an error."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import pytest
from tests.support.fake_node import FakeCluster, Received, Script, run, success, task_status

from raftq.client import AsyncClient, Client
from raftq.protocol import limits
from raftq.protocol.calls import (
    Call,
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
    Fail,
    FailItem,
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
    Conflict,
    ForgottenTask,
    InternalError,
    InvalidRequest,
    KeyTaken,
    LeaseLost,
    QueueFull,
    RaftqError,
    RateLimited,
    TaskCancelled,
    UnknownSchedule,
    UnknownTask,
)
from raftq.protocol.fields import Consistency, SweepAction, TaskState
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
from raftq.protocol.replies import Done, Enqueued, EnqueuedTask, Reply, Settled, SettledTask, Swept
from raftq.protocol.statuses import (
    LimitStatus,
    QueueList,
    QueueStatus,
    ScheduleList,
    ScheduleStatus,
    Settings,
    TaskPage,
)

ID = UUID(int=5)
FIXED = NewTask(ID.bytes, b"x")
Use = Callable[[AsyncClient], Awaitable[object]]
STATES = TaskState


def talk(*uses: Use, answers: Sequence[Script] = ()) -> tuple[list[object], list[Call]]:
    """Return what uses of a client return or raise, and the calls that the node got."""

    async def main() -> tuple[list[object], list[Call]]:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            node = cluster["n1"]
            node.script.extend(answers)
            found: list[object] = []
            for use in uses:
                try:
                    found.append(await use(client))
                except RaftqError as error:
                    found.append(error)
            return found, node.calls

    return run(main)


def test_an_enqueue_over_several_queues_is_one_call_in_the_order_of_its_parts() -> None:
    def use(client: AsyncClient) -> Awaitable[object]:
        return client.enqueue_parts([("a", [FIXED]), ("none", []), ("b", [b"y"])])

    (made,), (call,) = talk(use)
    assert isinstance(call, EnqueueParts)
    assert [(part.queue, [task.payload for task in part.tasks]) for part in call.parts] == [
        ("a", [b"x"]),
        ("b", [b"y"]),
    ]
    ids = (ID.bytes, call.parts[1].tasks[0].id)
    assert made == [EnqueuedTask(each, STATES.READY, True) for each in ids]
    assert talk(lambda client: client.enqueue_parts({})) == ([[]], [])


def test_a_prepared_task_says_how_long_it_waits_and_who_checks() -> None:
    _, calls = talk(
        lambda c: c.prepare("q", b"x", id=ID, confirm_within="5m", check_queue="c", priority=1),
        lambda c: c.prepare("q", b"x", id=ID, confirm_within=60),
        lambda c: c.confirm(ID),
    )
    both = TaskOptions(confirm_within_ms=300_000, check_queue="c")
    assert calls == [
        Enqueue("q", [NewTask(ID.bytes, b"x", 1, options=both)]),
        Enqueue("q", [NewTask(ID.bytes, b"x", options=TaskOptions(confirm_within_ms=60_000))]),
        Confirm([ID.bytes]),
    ]


def test_settling_carries_follow_ups_delay_finality_crash_and_progress() -> None:
    _, calls = talk(
        lambda c: c.ack(1, b"r", follow_ups={"next": [FIXED]}),
        lambda c: c.fail(2, "no", delay="1m", is_final=True, is_crash=True),
        lambda c: c.extend(3, "30s", progress=b"half"),
    )
    assert calls == [
        Ack([AckItem(1, b"r", [EnqueuePart("next", [FIXED])])]),
        Fail([FailItem(2, "no", 60_000, True, True)]),
        Extend([ExtendItem(3, 30_000, b"half")]),
    ]


def test_control_sends_what_it_says() -> None:
    found, calls = talk(
        lambda c: c.cancel(ID),
        lambda c: c.edit(ID, delay=0, priority=9),
        lambda c: c.set_queue("q", concurrency=2),
        lambda c: c.pause("q"),
        lambda c: c.resume("q"),
        lambda c: c.set_limit("k", concurrency=1, rate="5/s"),
        lambda c: c.set_quota(tasks_max=10),
        lambda c: c.set_schedule("s", "q", b"x", cron="0 9 * * *", jitter="1m", unique_key="u"),
        lambda c: c.delete_schedule("s"),
        answers=[success] * 8 + [Done(False)],
    )
    assert found == [STATES.CANCELLED, STATES.SCHEDULED, *[True] * 6, False]
    options = TaskOptions(unique_key="u")
    schedule = Schedule("q", b"x", "0 9 * * *", jitter_ms=60_000, options=options)
    assert calls == [
        Cancel([ID.bytes]),
        Edit(ID.bytes, 0, None, 9),
        SetQueue("q", QueueChanges(concurrency=2)),
        SetQueue("q", QueueChanges(paused=True)),
        SetQueue("q", QueueChanges(paused=False)),
        SetLimit("k", KeyLimit(1, Rate(5, 1_000))),
        SetQuota(Quota(10)),
        SetSchedule("s", schedule),
        DeleteSchedule("s"),
    ]


def test_the_tasks_of_a_schedule_have_no_times_of_their_own() -> None:
    (found,), calls = talk(lambda c: c.set_schedule("s", "q", b"x", every="1m", delay="1s"))
    assert isinstance(found, InvalidRequest) and calls == []


def test_a_paused_schedule_keeps_all_else() -> None:
    schedule = Schedule("q", b"x", every_ms=60_000)
    status = ScheduleStatus("s", schedule, 3, 7, None, None, 0, 0)
    (found,), calls = talk(
        lambda c: c.pause_schedule("s"), answers=[ScheduleList([status]), success]
    )
    assert found is True
    paused = Schedule("q", b"x", every_ms=60_000, paused=True)
    assert calls == [SchedulesCall("s"), SetSchedule("s", paused)]


def test_reads_send_what_they_say() -> None:
    _, calls = talk(
        lambda c: c.task(ID, consistency=Consistency.STALE, min_index=4),
        lambda c: c.result(ID, min_index=5),
        lambda c: c.why(ID),
        lambda c: c.queues(),
        lambda c: c.quota(),
        lambda c: c.limits(),
        lambda c: c.schedules(),
        lambda c: c.tasks_page(after=3, count_max=7, queue="q"),
        answers=[success] * 3 + [QueueList([QueueStatus("q", 0, {})])]
        + [Settings(Quota(3), [LimitStatus("k", KeyLimit(1), 0, 0)])] * 2,
    )  # fmt: skip
    assert calls == [
        TaskCall(ID.bytes, Consistency.STALE, 4),
        ResultCall(ID.bytes, 0, Consistency.LINEARIZABLE, 5),
        WhyCall(ID.bytes),
        QueuesCall(),
        SettingsCall(),
        SettingsCall(),
        SchedulesCall(),
        TasksCall(TaskFilter("q"), 3, 7),
    ]


REFUSALS: list[tuple[Use, Script, type[RaftqError]]] = [
        (lambda c: c.ack(1), Settled([SettledTask(None, "lease_lost")]), LeaseLost),
        (lambda c: c.extend(1, 1), Settled([SettledTask(STATES.CANCELLED, "cancelled")]),
         TaskCancelled),
        (lambda c: c.ack(1), Settled([SettledTask(STATES.LEASED, "key_taken")]), KeyTaken),
        (lambda c: c.cancel(ID), Settled([SettledTask(STATES.DONE, "conflict")]), Conflict),
        (lambda c: c.cancel(ID), Settled([SettledTask(None, "unknown_task")]), UnknownTask),
        (lambda c: c.confirm(ID), Settled([SettledTask(None, "forgotten_task")]), ForgottenTask),
        (lambda c: c.enqueue("q", b"x"), KeyTaken("k"), KeyTaken),
        (lambda c: c.task(ID), ForgottenTask("gone"), ForgottenTask),
        (lambda c: c.schedule("s"), ScheduleList([]), UnknownSchedule),
        (lambda c: c.enqueue_parts({"q": [b"x"]}), Enqueued([]), InternalError),
        (lambda c: c.cancel(ID), Settled([]), InternalError),
        (lambda c: c.edit(ID), Settled([]), InternalError),
]  # fmt: skip


@pytest.mark.parametrize(("use", "answer", "kind"), REFUSALS)
def test_a_refusal_is_an_error_of_its_own_type(
    use: Use, answer: Script, kind: type[RaftqError]
) -> None:
    (found,), _ = talk(use, answers=[answer])
    assert type(found) is kind


def test_more_ids_than_a_call_takes_are_cut_into_several() -> None:
    ids = [UUID(int=number) for number in range(limits.TASKS_PER_CONTROL_MAX + 1)]
    found, calls = talk(lambda c: c.cancel_many(ids), lambda c: c.confirm_many(ids))
    assert found == [
        [SettledTask(STATES.CANCELLED)] * len(ids),
        [SettledTask(STATES.READY)] * len(ids),
    ]
    assert [type(call) for call in calls] == [Cancel, Cancel, Confirm, Confirm]
    sent = [each for call in calls if isinstance(call, Cancel | Confirm) for each in call.ids]
    assert sent == [each.bytes for each in ids] * 2


# ---------------------------------------------------------------- sweeps


def test_a_sweep_goes_on_until_nothing_is_left_and_never_past_where_it_began() -> None:
    (found,), calls = talk(
        lambda c: c.cancel_where(queue="q"),
        answers=[Swept(1_000, 40, 90), Swept(0, 70, 90), Swept(3, None, 90)],
    )
    assert found == 1_003
    chosen = TaskFilter("q")
    assert calls == [
        Sweep(SweepAction.CANCEL, chosen),
        Sweep(SweepAction.CANCEL, chosen, 40, 90),
        Sweep(SweepAction.CANCEL, chosen, 70, 90),
    ]


WAITING = [STATES.SCHEDULED, STATES.BLOCKED, STATES.READY]
SWEEPS: list[tuple[Use, Sweep]] = [
    (lambda c: c.redrive(), Sweep(SweepAction.REDRIVE, TaskFilter())),
    (lambda c: c.discard(priority=1), Sweep(SweepAction.DISCARD, TaskFilter(priority=1))),
    (lambda c: c.move("b", queue="a"), Sweep(SweepAction.MOVE, TaskFilter("a"), to_queue="b")),
    (lambda c: c.purge("a"), Sweep(SweepAction.CANCEL, TaskFilter("a", WAITING))),
]


@pytest.mark.parametrize(("use", "sweep"), SWEEPS)
def test_each_sweep_has_its_action(use: Use, sweep: Sweep) -> None:
    _, calls = talk(use)
    assert calls == [sweep]


def test_a_dry_run_counts_what_would_change_and_changes_nothing() -> None:
    (found, none), calls = talk(
        lambda c: c.redrive(dry_run=True, queue="q"),
        lambda c: c.redrive(dry_run=True, states="ready"),
        answers=[TaskPage([], 7, 50), TaskPage([], 2, None)],
    )
    assert (found, none) == (9, 0)
    chosen = TaskFilter("q", [STATES.DEAD])
    assert calls == [TasksCall(chosen, 0, 0), TasksCall(chosen, 50, 0)]


NEEDING_A_FILTER: list[Use] = [
    lambda c: c.cancel_where(),
    lambda c: c.discard(),
    lambda c: c.move("b"),
]


@pytest.mark.parametrize("use", NEEDING_A_FILTER)
def test_what_takes_tasks_away_must_say_which(use: Use) -> None:
    (found,), calls = talk(use)
    assert isinstance(found, InvalidRequest) and calls == []


# ---------------------------------------------------------------- lists, waits, indexes


def listing(received: Received) -> TaskPage:
    assert isinstance(received.call, TasksCall)
    after = received.call.after
    page = [task_status(bytes([number]) * 16) for number in range(after, after + 2)]
    return TaskPage(page, 2, after + 2 if after < 4 else None)


def test_a_list_is_read_page_by_page_in_both_clients() -> None:
    async def use(client: AsyncClient) -> list[int]:
        return [status.id[0] async for status in client.tasks(queue="q")]

    (found,), calls = talk(use, answers=[listing] * 3)
    assert found == list(range(6)) and len(calls) == 3

    async def main() -> None:
        async with FakeCluster(1) as cluster:
            cluster["n1"].script.extend([listing] * 3)

            def read() -> list[int]:
                with Client(cluster.addresses) as client:
                    return [status.id[0] for status in client.tasks(queue="q")]

            assert await asyncio.to_thread(read) == list(range(6))

    run(main)


def test_a_wait_for_a_result_is_a_wait_of_the_node_beyond_the_timeout() -> None:
    async def late(received: Received) -> Reply:
        assert isinstance(received.call, ResultCall) and 2_000 < received.call.wait_ms <= 3_000
        assert received.timeout_ms <= 1_000
        await asyncio.sleep(1.2)
        return task_status(received.call.task_id, STATES.DONE, b"r")

    (found,), calls = talk(lambda c: c.result(ID, wait=3, timeout=1), answers=[late])
    assert getattr(found, "result", None) == b"r" and len(calls) == 1


def test_a_longer_wait_than_a_node_allows_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAIT_MS_MAX", 100)

    async def not_yet(received: Received) -> Reply:
        assert isinstance(received.call, ResultCall)
        await asyncio.sleep(received.call.wait_ms / 1_000)
        return task_status(received.call.task_id)

    (found,), calls = talk(lambda c: c.result(ID, wait=0.25), answers=[not_yet] * 9)
    assert getattr(found, "state", None) is STATES.READY
    waits = [call.wait_ms for call in calls if isinstance(call, ResultCall)]
    assert len(waits) == len(calls) >= 3 and all(wait <= 100 for wait in waits)


def test_the_client_knows_the_newest_index_that_it_was_told() -> None:
    made = EnqueuedTask(ID.bytes, STATES.READY, True)
    seen: list[int] = []

    async def use(client: AsyncClient) -> None:
        for call in (
            client.enqueue("q", b"x"),
            client.ack(1),
            client.cancel_where(queue="q"),
            client.set_queue("q"),
        ):
            await call
            seen.append(client.last_index)

    _, _ = talk(
        use,
        answers=[
            Enqueued([made], 5),
            Settled([SettledTask(STATES.DONE)], 7),
            Swept(0, None, 1, 6),
            Done(True, 9),
        ],
    )
    assert seen == [5, 7, 7, 9], "an older index never replaces a newer one"


def test_a_stale_read_is_answered_by_any_node_and_others_by_the_leader() -> None:
    async def main() -> dict[str, list[Consistency]]:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            await client.cluster()
            for consistency in Consistency:
                for _ in range(20):
                    await client.task(ID, consistency=consistency)
            return {
                node.id: [each.consistency for each in node.calls if isinstance(each, TaskCall)]
                for node in cluster.nodes
            }

    found = run(main)
    assert all(Consistency.STALE in asked for asked in found.values())
    assert [node for node in found if Consistency.LINEARIZABLE in found[node]] == ["n1"]


def test_a_full_queue_is_tried_again_when_it_says_until_it_takes_the_task() -> None:
    (found,), calls = talk(
        lambda c: c.enqueue("q", b"x", id=ID),
        answers=[QueueFull("full", retry_after_ms=50), RateLimited("fast", retry_after_ms=20)],
    )
    assert isinstance(found, EnqueuedTask) and len(calls) == 3


def test_calls_that_shared_a_request_over_a_rate_all_wait_before_they_are_tried_again() -> None:
    async def main() -> list[Received]:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            cluster["n1"].script.append(RateLimited("too fast", retry_after_ms=200))
            await asyncio.gather(*(client.enqueue("q", bytes([n])) for n in range(50)))
            return cluster["n1"].received

    first, *others = run(main)
    assert isinstance(first.call, Enqueue) and len(first.call.tasks) == 50
    assert others and all(each.at - first.at >= 0.2 for each in others)
