"""How long a leader may rest before an entry must bring the time."""

from math import inf

import pytest
from tests.support.machines import Driver

from raftq.consensus.falling_due import due_seconds, time_is_due
from raftq.consensus.leader_clock import GRACE_MS, LeaderClock


class Time:
    """A leader's clock with its sources, moved by hand."""

    def __init__(self, driver: Driver) -> None:
        self.seconds = 50.0
        self.wall_ms = driver.machine.wall_now_ms
        self.clock = LeaderClock(lambda: self.seconds, lambda: self.wall_ms, lambda: 1, lambda: 1)
        self.clock.start()

    def wait(self, milliseconds: int) -> None:
        for _ in range(milliseconds // 10):
            self.seconds += 0.01
            self.wall_ms += 10
            self.clock.look()


@pytest.fixture
def driver() -> Driver:
    return Driver()


@pytest.fixture
def time(driver: Driver) -> Time:
    return Time(driver)


def test_where_nothing_waits_for_time_nothing_falls_due(driver: Driver, time: Time) -> None:
    driver.enqueue(1)
    assert due_seconds(driver.machine, time.clock) == inf


def test_a_lease_falls_due_at_its_deadline(driver: Driver, time: Time) -> None:
    driver.enqueue(1)
    driver.lease(lease_ms=5_000)
    assert due_seconds(driver.machine, time.clock) == 5.0
    time.wait(int(GRACE_MS) + 4_000)
    assert due_seconds(driver.machine, time.clock) == pytest.approx(1.0, abs=0.002)
    assert not time_is_due(driver.machine, time.clock)
    time.wait(1_010)
    assert due_seconds(driver.machine, time.clock) <= 0
    assert time_is_due(driver.machine, time.clock)


def test_a_delayed_task_falls_due_at_its_start(driver: Driver, time: Time) -> None:
    driver.enqueue(1)
    driver.lease(lease_ms=60_000)
    driver.enqueue(2, delay_ms=700)
    assert due_seconds(driver.machine, time.clock) == pytest.approx(0.7)
    time.wait(300)
    assert due_seconds(driver.machine, time.clock) == pytest.approx(0.4)
