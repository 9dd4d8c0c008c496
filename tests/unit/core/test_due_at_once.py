"""Many tasks for which one instant counts: each entry does a bounded part of the work."""

import pytest
from tests.support.machines import Driver, task_id

from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.protocol.commands import Enqueue, EnqueuePart, EnqueueParts
from raftq.protocol.control import Cancel, Sweep
from raftq.protocol.fields import OnParentFailure, SweepAction, TaskState
from raftq.protocol.options import NewTask, TaskFilter, TaskOptions


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setattr(limits, "DUE_PER_ENTRY_MAX", 2)
    monkeypatch.setattr(limits, "CHILDREN_PER_ENTRY_MAX", 2)
    monkeypatch.setattr(limits, "TIES_PER_ENTRY_MAX", 3)
    return Driver()


def counts(driver: Driver, state: TaskState) -> int:
    return driver.machine.queue("q").counts[state.value]


def is_due(driver: Driver) -> bool:
    at_ms = driver.machine.next_wall_due_at_ms()
    return at_ms is not None and at_ms <= driver.machine.wall_now_ms


def test_tasks_of_one_instant_start_part_by_part_in_their_order(driver: Driver) -> None:
    driver.enqueue(1, 2, 3, 4, 5, delay_ms=10)
    for ready in (2, 4, 5):
        driver.pass_wall_ms(10)
        assert counts(driver, TaskState.READY) == ready
        assert is_due(driver) == (ready < 5)
    assert driver.lease_numbers(5) == [1, 2, 3, 4, 5]


def test_tasks_expire_part_by_part_and_none_is_leased_meanwhile(driver: Driver) -> None:
    options = TaskOptions(expires_after_ms=10, order_key=None)
    driver.apply(Enqueue("q", [NewTask(task_id(n), b"", options=options) for n in range(1, 6)]))
    driver.apply(
        Enqueue("q", [NewTask(task_id(9), b"", options=TaskOptions(depends_on=[task_id(5)]))])
    )
    driver.pass_wall_ms(10)
    assert counts(driver, TaskState.EXPIRED) == 2 and is_due(driver)
    copy = Driver(Machine.load(driver.machine.dump()))
    for each in (driver, copy):
        assert each.lease(5) == []
        assert counts(each, TaskState.EXPIRED) == 5 and not is_due(each)
        assert counts(each, TaskState.CANCELLED) == 1, "the child of one that expired"
    assert driver.hashes() == copy.hashes()


def test_outcomes_are_forgotten_part_by_part(driver: Driver) -> None:
    driver.run(1, 2, 3, 4, 5)
    driver.pass_wall_ms(limits.RESULT_RETENTION_MS)
    known = [n for n in range(1, 6) if driver.machine.task(task_id(n)) is not None]
    assert known == [3, 4, 5] and is_due(driver)
    driver.pass_wall_ms(0)
    driver.pass_wall_ms(0)
    assert driver.machine.task(task_id(5)) is None and not is_due(driver)


# ---------------------------------------------------------------- parents and children


def enqueue_family(driver: Driver, parents: int, children: int, policy: OnParentFailure) -> None:
    """Enqueue tasks in the queue p, and tasks in the queue q that depend on all of them."""
    ids = [task_id(number) for number in range(parents)]
    options = TaskOptions(depends_on=ids, on_parent_failure=policy)
    born = [NewTask(task_id(100 + number), b"", options=options) for number in range(children)]
    begun = [NewTask(each, b"", attempts_max=1) for each in ids]
    driver.apply(EnqueueParts([EnqueuePart("p", begun), EnqueuePart("q", born)]))


def ties(driver: Driver) -> int:
    """Return how many children all parents have."""
    state = driver.machine._state  # pyright: ignore[reportPrivateUsage]
    tasks = state.tasks.objects.values()
    return sum(len(task.children or ()) for task in tasks)


def test_children_of_one_that_failed_are_cancelled_part_by_part(driver: Driver) -> None:
    enqueue_family(driver, 1, 5, OnParentFailure.CANCEL)
    driver.apply(Cancel([task_id(0)]))
    copy = Driver(Machine.load(driver.machine.dump()))
    driver.apply()  # As the copy's driver has.
    assert copy.hashes() == driver.hashes()
    for each in (driver, copy):
        while counts(each, TaskState.CANCELLED) < 5:
            assert is_due(each) and each.lease(5) == []
        each.pass_wall_ms(0)
        assert not is_due(each) and ties(each) == 0
    assert copy.hashes() == driver.hashes()


def test_an_entry_tells_two_children_and_no_more(driver: Driver) -> None:
    enqueue_family(driver, 1, 5, OnParentFailure.RUN)
    driver.apply(Cancel([task_id(0)]))
    for ready in (2, 4, 5):
        assert counts(driver, TaskState.READY) == ready
        driver.pass_wall_ms(0)
    assert driver.lease_numbers(5) == [100, 101, 102, 103, 104]


def test_parents_learn_part_by_part_that_a_child_is_over(driver: Driver) -> None:
    enqueue_family(driver, 7, 1, OnParentFailure.CANCEL)
    driver.apply(Cancel([task_id(100)]))
    for left in (4, 1, 0):
        assert ties(driver) == left
        assert is_due(driver) == (left > 0)
        assert Machine.load(driver.machine.dump()).content_hash() == driver.hashes()[1]
        driver.pass_wall_ms(0)


def test_a_task_is_remembered_while_its_parents_do_not_know_that_it_is_over(
    driver: Driver,
) -> None:
    enqueue_family(driver, 7, 1, OnParentFailure.CANCEL)
    driver.apply(Cancel([task_id(100)]))
    driver.pass_wall_ms(limits.RESULT_RETENTION_MS)
    assert driver.state(100) is TaskState.CANCELLED
    driver.pass_wall_ms(0)
    assert driver.state(100) is None and ties(driver) == 0 and not is_due(driver)


def test_a_child_whose_parent_is_redriven_before_it_was_told_goes_on_waiting(
    driver: Driver,
) -> None:
    enqueue_family(driver, 1, 5, OnParentFailure.CANCEL)
    (lease,) = driver.request("r", queues=("p",)).leases
    driver.fail(lease.token)
    assert counts(driver, TaskState.CANCELLED) == 2
    driver.apply(Sweep(SweepAction.REDRIVE, TaskFilter()))
    driver.pass_wall_ms(0)
    cancelled = counts(driver, TaskState.CANCELLED)
    assert cancelled in (2, 4) and counts(driver, TaskState.BLOCKED) == 5 - cancelled
    (lease,) = driver.request("again", queues=("p",)).leases
    driver.ack(lease.token)
    assert counts(driver, TaskState.READY) == 5 - cancelled and not is_due(driver)


def test_a_child_of_one_that_is_over_and_still_tells_others_waits_for_nothing(
    driver: Driver,
) -> None:
    enqueue_family(driver, 1, 5, OnParentFailure.RUN)
    driver.apply(Cancel([task_id(0)]))
    options = TaskOptions(depends_on=[task_id(0)], on_parent_failure=OnParentFailure.RUN)
    driver.apply(Enqueue("late", [NewTask(task_id(200), b"", options=options)]))
    assert driver.state(200) is TaskState.READY
    driver.pass_wall_ms(0)
    driver.pass_wall_ms(0)
    assert counts(driver, TaskState.READY) == 5 and not is_due(driver)
