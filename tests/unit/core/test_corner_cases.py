"""Corners that the slow model found; each is a rule of docs/concepts in a rare place."""

from uuid import UUID

import pytest
from tests.support.machines import entry, task_id
from tests.support.play import ALL, Play

from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.protocol.commands import Enqueue, Fail, FailItem
from raftq.protocol.control import (
    Cancel,
    Confirm,
    Edit,
    FireSchedule,
    SetLimit,
    SetQueue,
    SetSchedule,
    Sweep,
)
from raftq.protocol.fields import (
    BackoffKind,
    OnConflict,
    OnParentFailure,
    Overlap,
    SweepAction,
    TaskState,
)
from raftq.protocol.options import Backoff, KeyLimit, NewTask, QueueChanges, Schedule, TaskOptions
from raftq.protocol.replies import Done, Enqueued, EnqueuedTask, Rejected, Settled, SettledTask

EXISTING = OnConflict.EXISTING


def settled(play: Play, command: Cancel | Confirm | Edit) -> SettledTask:
    reply = play.one(command)
    assert isinstance(reply, Settled)
    return reply.items[0]


def test_confirming_a_task_that_expired_is_a_conflict() -> None:
    play = Play()
    options = TaskOptions(confirm_within_ms=100)
    play.apply(Enqueue("a", [NewTask(task_id(1), b"", options=options)]))
    play.apply(wall_ms=100)
    expected = SettledTask(TaskState.EXPIRED, "conflict")
    assert settled(play, Confirm([task_id(1)])) == expected


def test_a_task_that_has_the_key_of_an_earlier_one_is_told_that_ones_state() -> None:
    play = Play()
    tasks = [
        NewTask(task_id(1), b"", delay_ms=5, options=TaskOptions(unique_key="k")),
        NewTask(task_id(2), b"", options=TaskOptions(unique_key="k", on_conflict=EXISTING)),
    ]
    told = play.one(Enqueue("a", tasks))
    assert isinstance(told, Enqueued)
    assert told.tasks == [
        EnqueuedTask(task_id(1), TaskState.SCHEDULED, True),
        EnqueuedTask(task_id(1), TaskState.SCHEDULED, False),
    ]


def test_two_tasks_that_have_the_key_of_a_leased_one_are_both_told_that_it_is_leased() -> None:
    play = Play()
    play.apply(Enqueue("a", [NewTask(task_id(1), b"", options=TaskOptions(unique_key="k"))]))
    play.lease("a")
    options = TaskOptions(unique_key="k", on_conflict=EXISTING)
    told = play.one(Enqueue("a", [NewTask(task_id(each), b"", options=options) for each in (2, 3)]))
    assert isinstance(told, Enqueued)
    assert told.tasks == [EnqueuedTask(task_id(1), TaskState.LEASED, False)] * 2


def test_a_task_that_died_in_its_check_still_waits_for_its_parents_when_it_is_confirmed() -> None:
    play = Play()
    options = TaskOptions(
        depends_on=[task_id(1)],
        on_parent_failure=OnParentFailure.WAIT,
        confirm_within_ms=100,
        check_queue="check",
    )
    play.apply(Enqueue("a", [NewTask(task_id(1), b""), NewTask(task_id(2), b"", options=options)]))
    play.apply(wall_ms=100)
    (check,) = play.lease("check")
    play.apply(Fail([FailItem(check.token, "x", is_final=True)]))
    play.apply(Sweep(SweepAction.REDRIVE, ALL))
    play.apply(Confirm([task_id(2)]))
    assert play.state(task_id(2)) is TaskState.BLOCKED
    play.ack(play.lease("a")[0])
    assert play.state(task_id(2)) is TaskState.READY


def test_removing_a_limit_that_is_not_set_changes_nothing_however_many_are_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "LIMITS_MAX", 1)
    play = Play()
    play.apply(SetLimit("a", KeyLimit(concurrency=1)))
    assert play.one(SetLimit("b", KeyLimit())) == Done(False, 2)


@pytest.mark.parametrize("priority", [None, 5])
def test_an_edit_that_changes_nothing_keeps_a_tasks_place(priority: int | None) -> None:
    play = Play()
    play.apply(Enqueue("a", [NewTask(task_id(each), b"") for each in (1, 2)]))
    (lease,) = play.lease("a")
    play.apply(Fail([FailItem(lease.token, "x")]))
    before = play.machine.state_hash
    edited = settled(play, Edit(task_id(1), priority=priority))
    assert edited == SettledTask(TaskState.READY)
    assert play.machine.state_hash == before
    assert [each.task_id for each in play.lease("a", count=2)] == [task_id(2), task_id(1)]


def test_a_run_that_was_cancelled_counts_as_an_attempt_for_ever() -> None:
    play = Play()
    play.apply(Enqueue("a", [NewTask(task_id(1), b"")]))
    (lease,) = play.lease("a")
    play.apply(Cancel([task_id(1)]))
    attempts: list[int] = []
    for _ in range(2):
        status = play.machine.task(task_id(1))
        assert status is not None
        attempts.append(status.attempts)
        play.ack(lease)
    assert attempts == [1, 1]


def test_every_beginning_of_an_entry_is_refused() -> None:
    machine = Machine()
    whole = entry(Cancel([task_id(1)]))
    for length in range(len(whole)):
        applied = machine.apply(whole[:length], 1)
        assert applied.rejected is not None and not applied.replies


def test_a_worker_is_told_again_that_its_task_was_cancelled_after_a_snapshot_too() -> None:
    play = Play()
    play.apply(Enqueue("a", [NewTask(task_id(1), b"")]))
    (lease,) = play.lease("a")
    play.apply(Cancel([task_id(1)]))
    cancelled = SettledTask(TaskState.CANCELLED, "cancelled")
    assert [play.ack(lease), play.ack(lease)] == [cancelled, cancelled]
    play.machine = Machine.load(play.machine.dump())
    assert play.ack(lease) == cancelled


def test_a_parent_whose_children_are_gone_comes_through_a_snapshot() -> None:
    play = Play()
    child = NewTask(task_id(2), b"", options=TaskOptions(depends_on=[task_id(1)]))
    play.apply(Enqueue("a", [NewTask(task_id(1), b""), child, NewTask(task_id(3), b"")]))
    play.apply(Cancel([task_id(2)]))
    dumped = list(play.machine.dump())
    assert list(Machine.load(dumped).dump()) == dumped


# ---------------------------------------------------------------- edits of what is being checked


def being_checked() -> Play:
    """Return a play in which task 1 of queue a, and another one, are in the check queue."""
    play = Play()
    options = TaskOptions(confirm_within_ms=100, check_queue="check")
    play.apply(Enqueue("a", [NewTask(task_id(each), b"", options=options) for each in (1, 2)]))
    play.apply(wall_ms=100)
    return play


@pytest.mark.parametrize("is_delay", [True, False], ids=["delay", "instant"])
def test_a_start_that_is_edited_while_a_task_is_checked_holds_from_its_confirm_on(
    is_delay: bool,
) -> None:
    play = being_checked()
    at_ms = play.wall_at_ms + 5_000
    before = play.machine.state_hash
    change = (5_000, None) if is_delay else (None, at_ms)
    assert settled(play, Edit(task_id(1), *change)) == SettledTask(TaskState.READY)
    assert play.machine.state_hash != before
    play.machine = Machine.load(play.machine.dump())
    assert [each.task_id for each in play.lease("check", count=2)] == [task_id(1), task_id(2)]
    assert settled(play, Confirm([task_id(1)])) == SettledTask(TaskState.SCHEDULED)
    status = play.machine.task(task_id(1))
    assert status is not None and status.not_before_at_ms == at_ms
    play.apply(wall_ms=5_000)
    assert [each.task_id for each in play.lease("a")] == [task_id(1)]


def test_a_priority_that_is_edited_while_a_task_is_checked_leaves_its_start_alone() -> None:
    play = being_checked()
    assert settled(play, Edit(task_id(2), priority=0)) == SettledTask(TaskState.READY)
    assert [each.task_id for each in play.lease("check")] == [task_id(2)]
    assert settled(play, Confirm([task_id(2)])) == SettledTask(TaskState.READY)


# ---------------------------------------------------------------- crashes


def test_a_task_pauses_after_each_crash_that_is_reported_as_after_a_failure() -> None:
    play = Play()
    backoff = Backoff(base_ms=1_000, kind=BackoffKind.EXPONENTIAL, jitter_percent=0)
    play.apply(SetQueue("a", QueueChanges(backoff=backoff)))
    play.apply(Enqueue("a", [NewTask(task_id(1), b"")]))
    for pause_ms in (1_000, 2_000, 4_000):
        (lease,) = play.lease("a")
        play.apply(Fail([FailItem(lease.token, "killed", is_crash=True)]))
        play.apply(wall_ms=pause_ms - 1)
        assert play.state(task_id(1)) is TaskState.SCHEDULED
        play.apply(wall_ms=1)
        assert play.state(task_id(1)) is TaskState.READY
    status = play.machine.task(task_id(1))
    assert status is not None and (status.crashes, status.failures) == (3, 0)


# ---------------------------------------------------------------- schedules that replace


def replacing(options: TaskOptions) -> tuple[Play, FireSchedule]:
    """Return a play in which a run of a schedule waits, and the tick that would replace it."""
    play = Play()
    schedule = Schedule("a", b"", every_ms=1_000, overlap=Overlap.REPLACE, options=options)
    play.apply(SetSchedule("s", schedule, play.wall_at_ms))
    ticks = [play.wall_at_ms + each for each in (0, 1_000, 2_000)]
    first, second = (
        FireSchedule(
            "s", 1, ticks[each], ticks[each + 1], NewTask(task_id(each), b"", options=options)
        )
        for each in (0, 1)
    )
    play.apply(first)
    return play, second


def test_a_schedule_keeps_its_earlier_run_if_the_next_one_is_refused() -> None:
    play, tick = replacing(TaskOptions(unique_key="k", unique_ms=60_000))
    assert isinstance(play.one(tick), Done)
    assert play.state(task_id(0)) is TaskState.READY and play.machine.task(task_id(1)) is None
    (status,) = play.machine.schedule_list().schedules
    assert (status.runs, status.skipped) == (1, 1)


@pytest.mark.parametrize("is_leased", [False, True])
def test_a_schedule_replaces_its_earlier_run_that_has_the_key_of_the_next_one(
    is_leased: bool,
) -> None:
    play, tick = replacing(TaskOptions(unique_key="k"))
    if is_leased:
        play.lease("a")
    play.apply(tick)
    assert play.state(task_id(0)) is TaskState.CANCELLED
    assert play.state(task_id(1)) is TaskState.READY
    (status,) = play.machine.schedule_list().schedules
    assert (status.runs, status.skipped) == (2, 0)


# ---------------------------------------------------------------- ids in texts


def test_texts_name_tasks_as_people_see_them_everywhere() -> None:
    play = Play()
    shown = str(UUID(bytes=task_id(1)))
    ordered, child = TaskOptions(order_key="k"), TaskOptions(depends_on=[task_id(1)])
    play.apply(
        Enqueue("a", [NewTask(task_id(each), b"", options=ordered) for each in (1, 2)]),
        Enqueue("a", [NewTask(task_id(3), b"", options=child)]),
    )
    facts = {
        2: {"key": "k", "held_by": shown, "before": 1},
        3: {"parents": [shown], "waits_for": 1},
    }
    for number, expected in facts.items():
        why = play.machine.why(task_id(number))
        assert why is not None and shown in why.reasons[0].text
        assert why.reasons[0].facts == expected
    refused = play.one(Enqueue("b", [NewTask(task_id(1), b"")]))
    assert isinstance(refused, Rejected) and shown in refused.message
