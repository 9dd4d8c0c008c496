"""How long finished tasks are remembered."""

import pytest
from tests.support.machines import Driver, task_id

from raftq.protocol import limits
from raftq.protocol.commands import Enqueue
from raftq.protocol.control import SetQueue
from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask, QueueChanges, TaskOptions
from raftq.protocol.replies import SettledTask


@pytest.fixture
def driver() -> Driver:
    return Driver()


def known(driver: Driver, *numbers: int) -> list[int]:
    return [number for number in numbers if driver.state(number) is not None]


def test_an_outcome_is_forgotten_at_its_age_and_not_before(driver: Driver) -> None:
    driver.run(1)
    driver.pass_wall_ms(limits.RESULT_RETENTION_MS - 1)
    assert driver.state(1) is TaskState.DONE
    driver.pass_wall_ms(1)
    assert driver.state(1) is None


def test_over_the_number_the_oldest_outcomes_are_forgotten(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RESULTS_KEPT_MAX", 2)
    driver.run(1, 2, 3, 4)
    driver.pass_wall_ms(limits.RETRY_MEMORY_MS)
    assert known(driver, 1, 2, 3, 4) == [3, 4]


def test_while_their_calls_may_be_repeated_no_number_of_others_makes_outcomes_forgotten(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RESULTS_KEPT_MAX", 2)
    driver.run(1, 2, 3, 4)
    driver.pass_wall_ms(limits.RETRY_MEMORY_MS - 1)
    assert known(driver, 1, 2, 3, 4) == [1, 2, 3, 4]
    assert [task.created for task in driver.enqueue(1).tasks] == [False]


def test_over_the_bytes_the_oldest_results_are_forgotten(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RESULT_BYTES_KEPT_MAX", 10)
    driver.run(1, 2, 3, result=b"12345")
    driver.apply()
    assert known(driver, 1, 2, 3) == [2, 3]


def test_recorded_errors_of_done_tasks_count_as_bytes_kept(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RESULT_BYTES_KEPT_MAX", 10)
    for number in (1, 2, 3):
        driver.enqueue(number)
        driver.fail(driver.lease()[0].token, "12345")
        driver.ack(driver.lease()[0].token)
    driver.apply()
    assert known(driver, 1, 2, 3) == [2, 3]


def test_forgetting_gives_the_bytes_free(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RESULT_BYTES_KEPT_MAX", 10)
    driver.run(*range(1, 20), result=b"12345")
    driver.apply()
    assert known(driver, *range(1, 20)) == [18, 19]


def test_an_ack_repeated_after_forgetting_is_lost_and_revives_nothing(driver: Driver) -> None:
    driver.enqueue(1)
    token = driver.lease()[0].token
    driver.ack(token)
    driver.pass_wall_ms(limits.RESULT_RETENTION_MS)
    assert driver.ack(token).error_code == "lease_lost"
    assert driver.state(1) is None


def test_forgotten_tasks_stay_counted(driver: Driver) -> None:
    driver.run(1, 2)
    driver.pass_wall_ms(limits.RESULT_RETENTION_MS)
    status = driver.machine.queue("q")
    assert (status.enqueued, status.counts["done"]) == (2, 2)


def test_dead_tasks_are_kept_whatever_their_age(driver: Driver) -> None:
    driver.enqueue(1, attempts_max=1)
    driver.fail(driver.lease()[0].token)
    driver.pass_wall_ms(1_000 * limits.DAY_MS)
    assert driver.state(1) is TaskState.DEAD


def test_a_finished_task_keeps_its_history(driver: Driver) -> None:
    driver.enqueue(1, priority=2, attempts_max=7)
    driver.fail(driver.lease()[0].token, "first try")
    driver.ack(driver.lease()[0].token, b"result")
    status = driver.machine.task(task_id(1))
    assert status is not None
    assert (status.state, status.result, status.errors) == (
        TaskState.DONE,
        b"result",
        ["first try"],
    )
    assert (status.priority, status.attempts, status.attempts_max, status.token) == (2, 2, 7, 2)
    assert status.finished_at_ms == driver.wall_at_ms


@pytest.mark.parametrize("is_of_queue", [False, True], ids=["task", "queue"])
def test_an_outcome_is_kept_as_long_as_calls_are_repeated_however_short_its_time_is(
    driver: Driver, is_of_queue: bool
) -> None:
    new = NewTask(task_id(1), b"payload", options=TaskOptions(result_ttl_ms=1))
    if is_of_queue:
        driver.apply(SetQueue("q", QueueChanges(result_ttl_ms=1)))
        new = NewTask(task_id(1), b"payload")
    driver.apply(Enqueue("q", [new]))
    (lease,) = driver.lease()
    driver.ack(lease.token)
    driver.pass_wall_ms(limits.RETRY_MEMORY_MS - 1)
    assert driver.ack(lease.token) == SettledTask(TaskState.DONE)
    assert [task.created for task in driver.enqueue(1).tasks] == [False]
    driver.pass_wall_ms(1)
    assert driver.state(1) is None
