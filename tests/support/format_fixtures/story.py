"""A story in which every kind of task, key, limit and schedule has its part.

Whoever adds something to the formats adds it here, before the fixture of the new format is written.
"""

from collections.abc import Sequence

from tests.support.format_fixtures.writing import Tell, payload, task_id

from raftq.protocol import limits
from raftq.protocol.commands import (
    Ack,
    AckItem,
    Command,
    Enqueue,
    Extend,
    ExtendItem,
    Fail,
    FailItem,
    Lease,
    Requeue,
    RequeueItem,
)
from raftq.protocol.control import (
    Cancel,
    Confirm,
    FireSchedule,
    SetLimit,
    SetQueue,
    SetQuota,
    SetSchedule,
    Sweep,
)
from raftq.protocol.fields import BackoffKind, OnConflict, OnParentFailure, Overlap, SweepAction
from raftq.protocol.options import (
    Backoff,
    KeyLimit,
    NewTask,
    QueueChanges,
    Quota,
    Rate,
    Schedule,
    TaskFilter,
    TaskOptions,
)
from raftq.protocol.replies import Done, Leased, Rejected

HOUR_MS = 3_600_000
TICK_AT_MS = 2_000_000_000_000
"""Of the schedules: far away, so that only the story fires them."""
LEASE_MS = limits.LEASE_MS_MAX // 2


async def _do(tell: Tell, *commands: Command) -> None:
    for command in commands:
        reply = await tell(command)
        assert not isinstance(reply, Rejected), (command, reply)


def _new(number: int, options: TaskOptions | None = None, *, priority: int = 5) -> NewTask:
    return NewTask(task_id(number), payload(number), priority, options=options)


async def _lease(tell: Tell, queue: str, count: int, request: str) -> list[int]:
    """Lease tasks and return their tokens."""
    reply = await tell(Lease([queue], count, LEASE_MS, "worker@host", request))
    assert isinstance(reply, Leased) and len(reply.leases) == count, (queue, reply)
    return [lease.token for lease in reply.leases]


async def before_the_snapshot(tell: Tell) -> None:
    """What the snapshot holds."""
    await _plain(tell)
    await _keys(tell)
    await _families(tell)
    await _settings(tell)


async def after_the_snapshot(tell: Tell) -> None:
    """What the journal holds: more tasks, and moves of tasks of the snapshot."""
    await _do(tell, Enqueue("plain", _plain_tasks(range(10, 13))))
    ready, given_back = await _lease(tell, "plain", 2, "behind-the-snapshot")
    await _do(
        tell,
        Ack([AckItem(ready, b"late")]),
        Requeue([RequeueItem(given_back, HOUR_MS)]),
        Enqueue("later", [NewTask(task_id(13), payload(13), not_before_at_ms=TICK_AT_MS)]),
        Confirm([task_id(45)]),
        Cancel([task_id(44)]),
        Sweep(SweepAction.MOVE, TaskFilter(queue="later"), tasks_max=1, to_queue="moved"),
    )


def _plain_tasks(numbers: Sequence[int]) -> list[NewTask]:
    return [_new(number) for number in numbers]


async def _plain(tell: Tell) -> None:
    """Plain tasks: done, failed, given back, leased, dead, ready and scheduled."""
    await _do(tell, Enqueue("plain", _plain_tasks(range(1, 8))))
    done, failed, given_back, leased = await _lease(tell, "plain", 4, "first")
    await _do(
        tell,
        Ack([AckItem(done, b"result")]),
        Fail([FailItem(failed, "broken")]),
        Requeue([RequeueItem(given_back)]),
        Extend([ExtendItem(leased, 2 * LEASE_MS, b"half")]),
        Enqueue("plain", [NewTask(task_id(8), payload(8), 0, attempts_max=1)]),
    )
    (dying,) = await _lease(tell, "plain", 1, "dying")
    await _do(
        tell,
        Fail([FailItem(dying, "beyond repair")]),
        Enqueue("later", [NewTask(task_id(9), payload(9), 3, HOUR_MS)]),
    )


async def _keys(tell: Tell) -> None:
    """Unique, order, limit and fair keys: those who have them, and those who wait."""
    backoff = Backoff(5_000, BackoffKind.LINEAR, HOUR_MS, 10)
    in_order = TaskOptions(order_key="account 7", backoff=backoff, crashes_max=2)
    limited = TaskOptions(limit_key="printer")
    await _do(
        tell,
        SetLimit("printer", KeyLimit(concurrency=1)),
        SetLimit("mail", KeyLimit(rate=Rate(10, 60_000, 5))),
        Enqueue("ordered", [_new(number, in_order) for number in (20, 21, 22)]),
        Enqueue("limited", [_new(number, limited) for number in (23, 24, 25)]),
        Enqueue("limited", [_new(26, TaskOptions(limit_key="mail"), priority=9)]),
        Enqueue("fair", [_new(27, TaskOptions(fair_key="a")), _new(28, TaskOptions(fair_key="b"))]),
        Enqueue("fair", [_new(29, TaskOptions(fair_key="a")), _new(30)]),
        Enqueue("unique", [_new(31, TaskOptions(unique_key="daily"))]),
        Enqueue("unique", [_new(32, TaskOptions(unique_key="hour", unique_ms=HOUR_MS))]),
    )
    await _lease(tell, "fair", 1, "fair")
    await _lease(tell, "ordered", 1, "ordered")
    await _lease(tell, "limited", 2, "limited")  # One of `printer` and one of `mail`; two park.
    replacing = TaskOptions(unique_key="daily", on_conflict=OnConflict.REPLACE)
    await _do(tell, Enqueue("unique", [_new(33, replacing)]))


async def _families(tell: Tell) -> None:
    """Parents and children, prepared tasks, and every end."""
    children = TaskOptions(depends_on=[task_id(40), task_id(41)])
    waiting = TaskOptions(depends_on=[task_id(8)], on_parent_failure=OnParentFailure.WAIT)
    prepared = TaskOptions(confirm_within_ms=HOUR_MS, check_queue="checks")
    await _do(
        tell,
        Enqueue("family", [_new(40), _new(41), _new(42, children), _new(43, waiting)]),
        Enqueue("prepared", [_new(44, prepared), _new(45, prepared)]),
        Enqueue("ends", [_new(46, TaskOptions(expires_after_ms=1))]),
        Enqueue("ends", [_new(47, TaskOptions(expires_after_ms=HOUR_MS)), _new(48), _new(49)]),
        Enqueue("checked", [_new(50, TaskOptions(confirm_within_ms=1, check_queue="checks"))]),
    )
    (parent,) = await _lease(tell, "family", 1, "parent")
    _, done = await _lease(tell, "ends", 2, "ends")  # The first one is cancelled below.
    await _do(
        tell,
        Ack([AckItem(parent, b"for the child")]),
        Ack([AckItem(done)]),
        Cancel([task_id(47)]),
        Enqueue("gone", [_new(51, TaskOptions(result_ttl_ms=1))]),
        Enqueue("gone", [_new(52, TaskOptions(result_ttl_ms=HOUR_MS // 2))]),
    )
    tokens = await _lease(tell, "gone", 2, "gone")
    await _do(tell, Ack([AckItem(token, b"x") for token in tokens]))


async def _settings(tell: Tell) -> None:
    """Settings of queues, the quota, and schedules."""
    settings = QueueChanges(
        paused=True,
        concurrency=3,
        rate=Rate(5, 1_000, 2),
        attempts_max=7,
        tasks_max=1_000,
        enqueue_rate=Rate(100, 1_000, 50),
        fair_weights={"a": 3},
    )
    nightly = Schedule(
        "nightly", payload(60), cron="5 4 * * *", timezone="Europe/Vienna", overlap=Overlap.SKIP
    )
    often = Schedule("often", payload(61), every_ms=60_000, jitter_ms=500, paused=True)
    await _do(
        tell,
        SetQueue("set", settings),
        Enqueue("set", [_new(53)]),
        SetQueue("fair", QueueChanges(fair_weights={"a": 3})),
        SetQuota(Quota(tasks_max=1_000_000, enqueue_rate=Rate(1_000, 1_000, 500))),
        SetSchedule("often", often, TICK_AT_MS),
    )
    reply = await tell(SetSchedule("nightly", nightly, TICK_AT_MS))
    assert isinstance(reply, Done) and reply.is_changed
    fire = FireSchedule("nightly", reply.index, TICK_AT_MS, TICK_AT_MS + 60_000, _new(60))
    await _do(tell, fire)
