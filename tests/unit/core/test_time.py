"""What the two clocks do: leases run out, delays end, nothing goes back."""

import pytest
from tests.support.machines import LEASE_MS, START_AT_MS, Driver, entry, task_id

from raftq.protocol import limits
from raftq.protocol.commands import (
    Ack,
    AckItem,
    Extend,
    ExtendItem,
    Fail,
    FailItem,
    Requeue,
    RequeueItem,
)
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import Settled


@pytest.fixture
def driver() -> Driver:
    return Driver()


def test_a_lease_holds_until_its_last_millisecond(driver: Driver) -> None:
    driver.enqueue(1)
    driver.lease()
    driver.pass_lease_ms(LEASE_MS - 1)
    assert driver.state(1) is TaskState.LEASED
    driver.pass_lease_ms(1)
    assert driver.state(1) is TaskState.READY


def test_wall_time_takes_no_lease_away(driver: Driver) -> None:
    driver.enqueue(1)
    driver.lease()
    driver.pass_wall_ms(100 * limits.DAY_MS)
    assert driver.state(1) is TaskState.LEASED


def test_lease_time_ends_no_delay(driver: Driver) -> None:
    driver.enqueue(1, delay_ms=1_000)
    driver.pass_lease_ms(10 * limits.MINUTE_MS)
    assert driver.state(1) is TaskState.SCHEDULED


def test_time_passes_before_the_commands_of_its_entry(driver: Driver) -> None:
    driver.enqueue(1)
    token = driver.lease()[0].token
    applied = driver.apply(Extend([ExtendItem(token, LEASE_MS)]), lease_ms=LEASE_MS)
    (reply,) = applied.replies
    assert isinstance(reply, Settled) and reply.items[0].error_code == "lease_lost"


def test_a_crash_is_counted_and_its_worker_named(driver: Driver) -> None:
    driver.enqueue(1)
    driver.request("r", worker="host-7")
    driver.pass_lease_ms(LEASE_MS)
    status = driver.machine.task(task_id(1))
    assert status is not None
    assert (status.crashes, status.failures) == (1, 0)
    assert len(status.errors) == 1 and "host-7" in status.errors[0]


def test_too_many_crashes_make_a_task_dead_whatever_attempts_are_left(driver: Driver) -> None:
    driver.enqueue(1, attempts_max=limits.ATTEMPTS_MAX_LIMIT)
    for crash in range(limits.CRASHES_MAX):
        assert len(driver.lease()) == 1, f"given out after {crash} crashes"
        driver.pass_lease_ms(LEASE_MS)
    assert driver.state(1) is TaskState.DEAD
    assert driver.lease() == []


def test_crashes_burn_no_failures(driver: Driver) -> None:
    driver.enqueue(1, attempts_max=2)
    for _ in range(limits.CRASHES_MAX - 1):
        driver.lease()
        driver.pass_lease_ms(LEASE_MS)
    assert driver.fail(driver.lease()[0].token).state is TaskState.READY


def test_an_extended_lease_outlives_its_first_deadline(driver: Driver) -> None:
    driver.enqueue(1, 2)
    first, second = driver.lease(2)
    driver.extend(first.token, 3 * LEASE_MS)
    driver.pass_lease_ms(LEASE_MS)
    assert driver.state(1) is TaskState.LEASED and driver.state(2) is TaskState.READY
    assert driver.ack(first.token).state is TaskState.DONE
    assert driver.ack(second.token).error_code == "lease_lost"


def test_the_next_lease_deadline_is_the_earliest_one(driver: Driver) -> None:
    assert driver.machine.next_lease_deadline_ms() is None
    driver.enqueue(1, 2)
    (late,) = driver.lease(1, lease_ms=5_000)
    (early,) = driver.lease(1, lease_ms=1_000)
    assert driver.machine.next_lease_deadline_ms() == 1_000
    driver.ack(early.token)
    assert driver.machine.next_lease_deadline_ms() == 5_000
    driver.extend(late.token, 9_000)
    assert driver.machine.next_lease_deadline_ms() == 9_000
    driver.ack(late.token)
    assert driver.machine.next_lease_deadline_ms() is None


def test_a_delayed_task_is_never_early(driver: Driver) -> None:
    driver.enqueue(1, delay_ms=1_000)
    driver.pass_wall_ms(999)
    assert driver.state(1) is TaskState.SCHEDULED and driver.lease() == []
    driver.pass_wall_ms(1)
    assert driver.lease_numbers() == [1]


def test_a_clock_that_is_set_back_makes_no_task_early(driver: Driver) -> None:
    driver.pass_wall_ms(10_000)
    driver.pass_wall_ms(-9_000)
    assert driver.machine.wall_now_ms == START_AT_MS + 10_000
    driver.enqueue(1, delay_ms=1_000)
    driver.pass_wall_ms(9_999)
    assert driver.state(1) is TaskState.SCHEDULED
    driver.pass_wall_ms(1)
    assert driver.state(1) is TaskState.READY


def test_the_next_wall_instant_is_a_start_or_a_forgetting(driver: Driver) -> None:
    assert driver.machine.next_wall_due_at_ms() is None
    driver.run(1)
    assert driver.machine.next_wall_due_at_ms() == START_AT_MS + limits.RESULT_RETENTION_MS
    driver.enqueue(2, delay_ms=7)
    assert driver.machine.next_wall_due_at_ms() == START_AT_MS + 7


def test_an_entry_tells_which_queues_gained_ready_tasks(driver: Driver) -> None:
    driver.enqueue(1, queue="b", delay_ms=10)
    driver.enqueue(2, queue="a", delay_ms=20)
    assert driver.pass_wall_ms(20).ready == ["b", "a"]
    assert driver.pass_wall_ms(20).ready == []


def test_an_entry_tells_which_tasks_are_over(driver: Driver) -> None:
    driver.enqueue(1, 2, 3, attempts_max=1)
    tokens = [lease.token for lease in driver.lease(3)]
    applied = driver.apply(
        Ack([AckItem(tokens[1])]),
        Fail([FailItem(tokens[0], "x")]),
        Requeue([RequeueItem(tokens[2])]),
    )
    assert applied.finished == [task_id(2), task_id(1)]
    assert driver.apply().finished == []


def test_an_empty_entry_without_due_tasks_leaves_the_state_hash(driver: Driver) -> None:
    driver.enqueue(1)
    driver.lease()
    before = driver.machine.state_hash
    driver.machine.apply(entry(lease_ms=1, wall_at_ms=START_AT_MS + 1))
    assert driver.machine.state_hash == before
