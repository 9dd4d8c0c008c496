"""Many tasks for which one instant counts: each entry does a bounded part of the work."""

import pytest
from tests.support.machines import Driver, task_id

from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.protocol.messages import Enqueue, NewTask, TaskOptions, TaskState


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setattr(limits, "DUE_PER_ENTRY_MAX", 2)
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
