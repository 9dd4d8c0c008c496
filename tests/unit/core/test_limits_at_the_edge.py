"""Bounds that the machine judges itself: the last that passes, the first that does not."""

import pytest
from tests.support.machines import task_id
from tests.support.play import ALL, Play

from raftq.protocol import limits
from raftq.protocol.commands import Ack, AckItem, Enqueue, EnqueuePart, EnqueueParts, Fail, FailItem
from raftq.protocol.control import Edit, SetLimit, SetQueue, SetSchedule, Sweep
from raftq.protocol.fields import SweepAction, TaskState
from raftq.protocol.options import KeyLimit, NewTask, QueueChanges, Schedule, TaskOptions
from raftq.protocol.replies import CommandReply, Done, Enqueued, Rejected, Settled, Swept


def new(number: int, **options: object) -> NewTask:
    """Return a task; without options it is a plain one."""
    if not options:
        return NewTask(task_id(number), b"")
    return NewTask(task_id(number), b"", options=TaskOptions(**options))  # type: ignore[arg-type]  # Any of its fields.


def assert_refused(reply: CommandReply, code: str = "invalid_request") -> None:
    assert isinstance(reply, Rejected) and reply.code == code, reply


def test_an_ack_enqueues_as_many_follow_ups_as_the_limit_says() -> None:
    play = Play()
    play.apply(Enqueue("a", [new(0)]))
    (lease,) = play.lease("a")
    follow_ups = [new(each) for each in range(1, limits.FOLLOW_UPS_MAX + 2)]
    before = play.machine.state_hash
    one_too_many = [EnqueuePart("a", follow_ups[:-1]), EnqueuePart("b", follow_ups[-1:])]
    (reply,) = play.apply(Ack([AckItem(lease.token, None, one_too_many)]))
    assert isinstance(reply, Settled) and reply.items[0].error_code == "invalid_request"
    assert play.machine.state_hash == before
    (reply,) = play.apply(Ack([AckItem(lease.token, None, one_too_many[:1])]))
    assert isinstance(reply, Settled) and reply.items[0].state is TaskState.DONE
    assert play.machine.queue("a").enqueued == 1 + limits.FOLLOW_UPS_MAX


def test_a_task_has_as_many_unfinished_children_as_the_limit_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "CHILDREN_MAX", 5)
    play = Play()
    play.apply(Enqueue("a", [new(0)]))
    most = limits.CHILDREN_MAX
    children = [new(each, depends_on=[task_id(0)]) for each in range(1, most + 2)]
    assert_refused(play.one(EnqueueParts([EnqueuePart("a", children)])))
    assert isinstance(play.one(Enqueue("a", children[:-1])), Enqueued)
    assert_refused(play.one(Enqueue("a", children[-1:])))
    (lease,) = play.lease("a")
    play.ack(lease)
    play.ack(play.lease("a")[0])
    assert isinstance(play.one(Enqueue("a", children[-1:])), Enqueued)


def test_a_task_waits_for_as_many_parents_as_the_limit_says() -> None:
    play = Play()
    parents = [new(each) for each in range(limits.PARENTS_MAX)]
    child = new(5_000, depends_on=[each.id for each in parents])
    play.apply(Enqueue("a", [*parents, child]))
    leases = play.lease("a", count=1_000)
    for lease in leases[:-1]:
        play.ack(lease)
    assert play.state(child.id) is TaskState.BLOCKED
    play.ack(leases[-1])
    assert play.state(child.id) is TaskState.READY


@pytest.mark.parametrize("parents", [[1, 1], [2]])
def test_a_task_that_names_a_parent_twice_or_itself_is_refused(parents: list[int]) -> None:
    play = Play()
    play.apply(Enqueue("a", [new(1)]))
    child = new(2, depends_on=[task_id(each) for each in parents])
    assert_refused(play.one(Enqueue("a", [child])))


def test_the_history_holds_the_newest_attempts_only() -> None:
    play = Play()
    play.apply(Enqueue("a", [NewTask(task_id(1), b"", attempts_max=1_000)]))
    for number in range(limits.ERRORS_KEPT_PER_TASK + 3):
        (lease,) = play.lease("a")
        play.apply(Fail([FailItem(lease.token, f"error {number}")]))
    status = play.machine.task(task_id(1))
    assert status is not None and len(status.history) == limits.ERRORS_KEPT_PER_TASK
    assert [each.number for each in status.history] == [*range(4, 4 + len(status.history))]
    assert status.errors == [f"error {each.number - 1}" for each in status.history]


def test_so_many_limit_keys_can_be_set_and_one_that_is_removed_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "LIMITS_MAX", 2)
    play, cap = Play(), KeyLimit(concurrency=1)
    assert [play.one(SetLimit(key, cap)) for key in "ab"] == [Done(True, 1), Done(True, 2)]
    assert_refused(play.one(SetLimit("c", cap)))
    assert play.one(SetLimit("a", KeyLimit(concurrency=2))) == Done(True, 4)
    assert play.one(SetLimit("a", KeyLimit())) == Done(True, 5)
    assert play.one(SetLimit("c", cap)) == Done(True, 6)


def test_so_many_schedules_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SCHEDULES_MAX", 1)
    play = Play()
    first = Schedule("a", b"", every_ms=1_000)
    assert play.one(SetSchedule("s1", first, 1)) == Done(True, 1)
    assert_refused(play.one(SetSchedule("s2", first, 1)))
    assert play.one(SetSchedule("s1", Schedule("b", b"", every_ms=1_000), 1)) == Done(True, 3)


def test_the_payload_of_a_schedule_is_bounded() -> None:
    most = limits.SCHEDULE_PAYLOAD_BYTES_MAX
    play = Play()
    assert_refused(play.one(SetSchedule("s", Schedule("a", bytes(most + 1), every_ms=1_000), 1)))
    reply = play.one(SetSchedule("s", Schedule("a", bytes(most), every_ms=1_000), 1))
    assert reply == Done(True, 2)


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule("a", b""),
        Schedule("a", b"", cron="* * * * *", every_ms=1_000),
        Schedule("a", b"", every_ms=1_000, options=TaskOptions(depends_on=[task_id(1)])),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(schedule: Schedule) -> None:
    assert_refused(Play().one(SetSchedule("s", schedule, 1)))


@pytest.mark.parametrize(
    "options", [TaskOptions(check_queue="b"), TaskOptions(unique_ms=5)], ids=["check", "unique"]
)
def test_options_that_make_no_sense_are_refused(options: TaskOptions) -> None:
    play = Play()
    assert_refused(play.one(Enqueue("a", [NewTask(task_id(1), b"", options=options)])))


def test_a_start_may_be_as_far_away_as_the_longest_delay() -> None:
    play = Play()
    last_at_ms = play.wall_at_ms + limits.DELAY_MS_MAX
    play.apply()
    for number, options in ((1, None), (3, TaskOptions(order_key="k"))):
        fine = NewTask(task_id(number), b"", not_before_at_ms=last_at_ms, options=options)
        far = NewTask(task_id(number + 1), b"", not_before_at_ms=last_at_ms + 1, options=options)
        assert_refused(play.one(Enqueue("a", [far])))
        assert isinstance(play.one(Enqueue("a", [fine])), Enqueued)
        assert play.state(fine.id) is TaskState.SCHEDULED


def test_an_edit_with_two_instants_is_refused() -> None:
    play = Play()
    play.apply(Enqueue("a", [new(1)]))
    before = play.machine.state_hash
    assert_refused(play.one(Edit(task_id(1), delay_ms=1, not_before_at_ms=1)))
    assert play.machine.state_hash == before


def test_queues_that_are_only_named_count_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check queue comes into being later, a target of a move or a setting now: none is a way
    around the bound."""
    monkeypatch.setattr(limits, "QUEUES_MAX", 2)
    play = Play()
    play.apply(Enqueue("a", [new(1)]))
    prepared = TaskOptions(confirm_within_ms=1, check_queue="check")
    assert isinstance(
        play.one(Enqueue("a", [NewTask(task_id(2), b"", options=prepared)])), Enqueued
    )
    other = TaskOptions(confirm_within_ms=1, check_queue="other")
    assert_refused(play.one(Enqueue("a", [NewTask(task_id(3), b"", options=other)])))
    assert_refused(play.one(SetQueue("b", QueueChanges(paused=True))))
    assert_refused(play.one(Sweep(SweepAction.MOVE, ALL, to_queue="b")))
    assert_refused(play.one(EnqueueParts([EnqueuePart("a", [new(4)]), EnqueuePart("b", [new(5)])])))
    assert play.machine.task(task_id(4)) is None
    play.apply(wall_ms=1)
    assert play.machine.queues() == ["a", "check"]


def test_a_sweep_looks_at_and_changes_so_many_and_says_where_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "TASKS_LOOKED_AT_MAX", 4)
    play = Play()
    play.apply(Enqueue("a", [NewTask(task_id(each), b"", each % 2) for each in range(10)]))
    odd = type(ALL)(priority=1)
    swept = play.one(Sweep(SweepAction.CANCEL, odd))
    assert swept == Swept(2, 4, 10, 2)
    swept = play.one(Sweep(SweepAction.CANCEL, odd, after=4, until=10, tasks_max=1))
    assert swept == Swept(1, 6, 10, 3)
    swept = play.one(Sweep(SweepAction.CANCEL, odd, after=6, until=10))
    assert isinstance(swept, Swept) and swept.tasks == 2
    if swept.next_after is not None:
        after = swept.next_after
        assert play.one(Sweep(SweepAction.CANCEL, odd, after, 10)) == Swept(0, None, 10, 5)
    assert play.machine.queue("a").counts["cancelled"] == 5


def test_a_sweep_leaves_those_alone_that_came_after_it_began() -> None:
    play = Play()
    play.apply(Enqueue("a", [new(each) for each in range(3)]))
    begun = play.one(Sweep(SweepAction.CANCEL, ALL, tasks_max=1))
    assert isinstance(begun, Swept) and begun.next_after is not None
    play.apply(Enqueue("a", [new(9)]))
    play.apply(Sweep(SweepAction.CANCEL, ALL, begun.next_after, begun.until))
    assert play.state(task_id(9)) is TaskState.READY
    assert play.machine.queue("a").counts["cancelled"] == 3


def test_a_page_of_tasks_says_where_the_next_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TASKS_LOOKED_AT_MAX", 4)
    play = Play()
    play.apply(Enqueue("a", [new(each) for each in range(10)]))
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        page = play.machine.tasks_page(ALL, after, 3)
        assert len(page.tasks) <= 3
        seen += [each.sequence for each in page.tasks]
        after = page.next_after
    assert seen == [*range(1, 11)]
    counted = play.machine.tasks_page(ALL, 0, 0)
    assert (counted.tasks, counted.matched, counted.next_after) == ([], 4, 4)


def test_a_lease_call_that_parks_much_leaves_the_rest_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "PARKED_PER_COMMAND_MAX", 3)
    play = Play()
    play.apply(SetLimit("k", KeyLimit(concurrency=1)))
    play.apply(
        Enqueue("a", [new(each, limit_key="k") for each in range(7)]), Enqueue("a", [new(9)])
    )
    granted = [lease.task_id for _ in range(4) for lease in play.lease("a", count=5)]
    assert granted == [task_id(0), task_id(9)]
    assert play.machine.queue("a").counts["blocked"] == 6
