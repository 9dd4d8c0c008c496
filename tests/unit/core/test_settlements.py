"""Ending and prolonging leases: every kind of report with every kind of token."""

from collections.abc import Callable

import pytest
from tests.support.machines import LEASE_MS, Driver, task_id

from raftq.protocol import limits
from raftq.protocol.commands import Ack, AckItem, Extend, ExtendItem
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import Settled, SettledTask

LOST = SettledTask(None, "lease_lost")

Report = Callable[[Driver, int], SettledTask]

ACK: Report = lambda driver, token: driver.ack(token, b"result")  # noqa: E731
FAIL: Report = lambda driver, token: driver.fail(token)  # noqa: E731
REQUEUE: Report = lambda driver, token: driver.requeue(token)  # noqa: E731
EXTEND: Report = lambda driver, token: driver.extend(token)  # noqa: E731
REPORTS = {"ack": ACK, "fail": FAIL, "requeue": REQUEUE, "extend": EXTEND}
AFTER = {
    "ack": TaskState.DONE,
    "fail": TaskState.READY,
    "requeue": TaskState.READY,
    "extend": TaskState.LEASED,
}
every_report = pytest.mark.parametrize("report", list(REPORTS))


@pytest.fixture
def driver() -> Driver:
    return Driver()


def leased(driver: Driver) -> int:
    driver.enqueue(1)
    return driver.lease()[0].token


@every_report
def test_a_current_token_is_accepted(driver: Driver, report: str) -> None:
    token = leased(driver)
    assert REPORTS[report](driver, token) == SettledTask(AFTER[report])
    assert driver.state(1) is AFTER[report]


@every_report
@pytest.mark.parametrize("settled_by", ["ack", "fail", "requeue"])
def test_a_repeated_report_is_answered_alike_and_another_kind_is_lost(
    driver: Driver, report: str, settled_by: str
) -> None:
    token = leased(driver)
    first = REPORTS[settled_by](driver, token)
    before = driver.hashes()
    reply = REPORTS[report](driver, token)
    assert reply == (first if report == settled_by else LOST)
    assert driver.hashes() == before


@every_report
@pytest.mark.parametrize("ended_by", ["fail", "requeue", "expiry"])
def test_a_superseded_token_changes_nothing(driver: Driver, report: str, ended_by: str) -> None:
    token = leased(driver)
    if ended_by == "expiry":
        driver.pass_lease_ms(LEASE_MS)
    else:
        REPORTS[ended_by](driver, token)
    assert driver.lease()[0].token > token
    before = driver.hashes()
    assert REPORTS[report](driver, token) == LOST
    assert driver.hashes() == before


@every_report
def test_a_token_that_ran_out_changes_nothing_even_while_nobody_has_the_task(
    driver: Driver, report: str
) -> None:
    token = leased(driver)
    driver.pass_lease_ms(LEASE_MS)
    before = driver.hashes()
    assert REPORTS[report](driver, token) == LOST
    assert driver.hashes() == before


@every_report
@pytest.mark.parametrize("token", [2, 10**6, limits.TOKEN_MAX])
def test_a_token_that_was_never_granted_changes_nothing(
    driver: Driver, report: str, token: int
) -> None:
    leased(driver)
    before = driver.hashes()
    assert REPORTS[report](driver, token) == LOST
    assert driver.hashes() == before


@every_report
def test_a_token_of_a_forgotten_task_changes_nothing(driver: Driver, report: str) -> None:
    token = leased(driver)
    driver.ack(token)
    driver.pass_wall_ms(limits.RESULT_RETENTION_MS)
    before = driver.hashes()
    assert REPORTS[report](driver, token) == LOST
    assert driver.hashes() == before


@every_report
def test_an_old_token_does_not_touch_a_new_task_of_the_same_id(driver: Driver, report: str) -> None:
    token = leased(driver)
    driver.ack(token)
    driver.pass_wall_ms(limits.RESULT_RETENTION_MS)
    leased(driver)
    before = driver.hashes()
    assert REPORTS[report](driver, token) == LOST
    assert driver.hashes() == before


def test_a_repeated_ack_says_done_and_keeps_the_first_result(driver: Driver) -> None:
    token = leased(driver)
    driver.ack(token, b"first")
    assert driver.ack(token, b"second") == SettledTask(TaskState.DONE)
    status = driver.machine.task(task_id(1))
    assert status is not None and status.result == b"first"


def test_an_empty_result_is_not_no_result(driver: Driver) -> None:
    driver.run(1, result=b"")
    driver.run(2)
    with_result, without = (driver.machine.task(task_id(number)) for number in (1, 2))
    assert with_result is not None and with_result.result == b""
    assert without is not None and without.result is None


def test_a_task_that_fails_too_often_is_dead_with_its_reasons(driver: Driver) -> None:
    driver.enqueue(1, attempts_max=3)
    tokens: list[int] = []
    for number in range(3):
        tokens.append(driver.lease()[0].token)
        reply = driver.fail(tokens[-1], f"reason {number}")
        assert reply.state is (TaskState.DEAD if number == 2 else TaskState.READY)
    status = driver.machine.task(task_id(1))
    assert status is not None
    assert status.errors == ["reason 0", "reason 1", "reason 2"]
    assert driver.lease() == []
    assert driver.fail(tokens[-1]) == SettledTask(TaskState.DEAD)
    assert driver.fail(tokens[0]) == LOST


def test_a_repeated_fail_is_counted_once(driver: Driver) -> None:
    token = leased(driver)
    driver.fail(token)
    driver.fail(token)
    status = driver.machine.task(task_id(1))
    assert status is not None and status.failures == 1 and status.errors == ["broken"]


def test_a_fail_repeated_after_the_next_lease_does_not_touch_that_lease(driver: Driver) -> None:
    first = leased(driver)
    driver.fail(first)
    (second,) = driver.lease()
    assert driver.fail(first) == LOST
    assert driver.ack(second.token) == SettledTask(TaskState.DONE)


def test_giving_back_burns_no_attempt(driver: Driver) -> None:
    driver.enqueue(1, attempts_max=1)
    for _ in range(30):
        driver.requeue(driver.lease()[0].token)
    status = driver.machine.task(task_id(1))
    assert status is not None
    assert (status.state, status.failures, status.attempts) == (TaskState.READY, 0, 0)


def test_a_task_given_back_with_a_delay_waits_for_its_time(driver: Driver) -> None:
    token = leased(driver)
    assert driver.requeue(token, delay_ms=500) == SettledTask(TaskState.SCHEDULED)
    assert driver.requeue(token, delay_ms=9_000) == SettledTask(TaskState.SCHEDULED)
    driver.pass_wall_ms(499)
    assert driver.lease() == []
    driver.pass_wall_ms(1)
    assert len(driver.lease()) == 1


def test_the_newest_reasons_are_kept(driver: Driver) -> None:
    driver.enqueue(1, attempts_max=100)
    for number in range(limits.ERRORS_KEPT_PER_TASK + 3):
        driver.fail(driver.lease()[0].token, str(number))
    status = driver.machine.task(task_id(1))
    assert status is not None
    assert status.errors == [str(n) for n in range(3, limits.ERRORS_KEPT_PER_TASK + 3)]


def test_each_item_of_a_batch_is_judged_on_its_own(driver: Driver) -> None:
    driver.enqueue(1, 2)
    tokens = [lease.token for lease in driver.lease(2)]
    reply = driver.one(Ack([AckItem(tokens[0]), AckItem(99), AckItem(tokens[1])]))
    done = SettledTask(TaskState.DONE)
    assert reply == Settled([done, LOST, done])


def test_a_token_twice_in_a_batch_is_settled_once(driver: Driver) -> None:
    token = leased(driver)
    reply = driver.one(Ack([AckItem(token, b"a"), AckItem(token, b"b")]))
    assert reply == Settled([SettledTask(TaskState.DONE)] * 2)
    status = driver.machine.task(task_id(1))
    assert status is not None and status.result == b"a"


def test_extending_counts_from_now(driver: Driver) -> None:
    token = leased(driver)
    driver.pass_lease_ms(LEASE_MS - 1)
    driver.extend(token, LEASE_MS)
    driver.pass_lease_ms(LEASE_MS - 1)
    assert driver.state(1) is TaskState.LEASED
    driver.pass_lease_ms(1)
    assert driver.state(1) is TaskState.READY


def test_extending_to_the_same_deadline_changes_nothing(driver: Driver) -> None:
    token = leased(driver)
    before = driver.hashes()
    assert driver.extend(token, LEASE_MS) == SettledTask(TaskState.LEASED)
    assert driver.hashes() == before


def test_a_lease_moved_away_and_back_runs_out_once(driver: Driver) -> None:
    token = leased(driver)
    lengths_ms = [2 * LEASE_MS, LEASE_MS] * 5
    driver.one(Extend([ExtendItem(token, length_ms) for length_ms in lengths_ms]))
    driver.pass_lease_ms(LEASE_MS)
    status = driver.machine.task(task_id(1))
    assert status is not None and status.crashes == 1 and status.state is TaskState.READY
