"""In which order tasks are given out."""

import pytest
from tests.support.machines import LEASE_MS, Driver, task_id

from raftq.protocol.commands import Fail, FailItem, Requeue, RequeueItem


@pytest.fixture
def driver() -> Driver:
    return Driver()


def test_first_in_first_out_within_a_priority(driver: Driver) -> None:
    driver.enqueue(3, 1)
    driver.enqueue(2)
    assert driver.lease_numbers(3) == [3, 1, 2]


def test_priority_goes_before_age(driver: Driver) -> None:
    driver.enqueue(1, priority=9)
    driver.enqueue(2, priority=5)
    driver.enqueue(3, priority=0)
    assert driver.lease_numbers(3) == [3, 2, 1]


def test_queues_are_tried_in_the_order_asked_for(driver: Driver) -> None:
    driver.enqueue(1, queue="a", priority=9)
    driver.enqueue(2, queue="b", priority=0)
    leases = driver.request("r", 5, queues=("never-used", "a", "b", "a")).leases
    assert [lease.task_id for lease in leases] == [task_id(1), task_id(2)]


def test_a_failed_task_goes_to_the_back(driver: Driver) -> None:
    driver.enqueue(1, 2, 3)
    driver.fail(driver.lease()[0].token)
    assert driver.lease_numbers(3) == [2, 3, 1]


def test_a_task_given_back_goes_to_the_front(driver: Driver) -> None:
    driver.enqueue(1, 2, 3)
    driver.requeue(driver.lease()[0].token)
    assert driver.lease_numbers(3) == [1, 2, 3]


def test_a_dead_worker_s_task_goes_to_the_front(driver: Driver) -> None:
    driver.enqueue(1, 2, 3)
    driver.lease()
    driver.pass_lease_ms(LEASE_MS)
    assert driver.lease_numbers(3) == [1, 2, 3]


def test_the_tasks_of_a_dead_worker_come_back_in_their_order(driver: Driver) -> None:
    driver.enqueue(1, 2, 3, 4)
    driver.lease(3)
    driver.pass_lease_ms(LEASE_MS)
    assert driver.lease_numbers(4) == [1, 2, 3, 4]


def test_tasks_whose_leases_run_out_one_after_the_other_keep_their_order(driver: Driver) -> None:
    driver.enqueue(1, 2, 3)
    driver.lease(1, lease_ms=1_000)
    driver.lease(1, lease_ms=2_000)
    driver.pass_lease_ms(1_000)
    driver.pass_lease_ms(1_000)
    assert driver.lease_numbers(3) == [1, 2, 3]


def test_a_batch_given_back_keeps_its_order(driver: Driver) -> None:
    driver.enqueue(1, 2, 3, 4)
    tokens = [lease.token for lease in driver.lease(3)]
    driver.one(Requeue([RequeueItem(token) for token in tokens]))
    assert driver.lease_numbers(4) == [1, 2, 3, 4]


def test_a_task_that_came_back_stays_behind_higher_priorities(driver: Driver) -> None:
    driver.enqueue(1, priority=5)
    driver.requeue(driver.lease()[0].token)
    driver.enqueue(2, priority=4)
    assert driver.lease_numbers(2) == [2, 1]


def test_a_batch_of_failures_goes_to_the_back_in_the_order_of_the_reports(driver: Driver) -> None:
    driver.enqueue(1, 2, 3)
    tokens = [lease.token for lease in driver.lease(2)]
    driver.one(Fail([FailItem(token, "x") for token in reversed(tokens)]))
    assert driver.lease_numbers(3) == [3, 2, 1]


def test_scheduled_tasks_start_in_the_order_of_their_instants(driver: Driver) -> None:
    driver.enqueue(1, delay_ms=300)
    driver.enqueue(2, delay_ms=100)
    driver.enqueue(3, delay_ms=100)
    driver.pass_wall_ms(1_000)
    assert driver.lease_numbers(3) == [2, 3, 1]


def test_a_task_that_becomes_ready_later_stands_behind_those_that_wait(driver: Driver) -> None:
    driver.enqueue(1, delay_ms=100)
    driver.enqueue(2)
    driver.pass_wall_ms(100)
    assert driver.lease_numbers(2) == [2, 1]
