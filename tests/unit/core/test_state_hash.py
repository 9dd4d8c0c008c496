"""The state hash: equal on all replicas, different for different states."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.support.machines import Driver, task_id

from raftq.protocol.commands import Enqueue, Lease, Requeue, RequeueItem
from raftq.protocol.options import NewTask

ROOT = Path(__file__).parents[3]
STORY = """
from tests.support.machines import Driver
driver = Driver()
for number in range(1, 60):
    driver.enqueue(number, queue=f"q{number % 3}", priority=number % 10, delay_ms=number % 2)
driver.pass_wall_ms(1)
for number in range(20):
    leases = driver.request(f"r{number}", 3, queues=("q2", "q0", "q1"), worker=f"w{number % 4}")
    for position, lease in enumerate(leases.leases):
        (driver.ack, driver.fail, driver.requeue)[position](lease.token)
driver.lease(5)
driver.pass_lease_ms(10_000)
print(*driver.hashes())
"""


def test_both_hashes_do_not_depend_on_python_s_hash_seed() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", STORY],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    (only,) = printed
    assert len(only.split()) == 2


BASE = NewTask(task_id(1), b"payload", 5, 1_000, 3)


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("id", bytes([1]) + task_id(1)[1:]),
        ("id", task_id(2)),
        ("payload", b"other"),
        ("priority", 6),
        ("delay_ms", 1_001),
        ("delay_ms", 0),
        ("attempts_max", 4),
    ],
)
def test_tasks_that_differ_in_one_field_give_different_hashes(field: str, other: object) -> None:
    changed = msgspec.structs.replace(BASE, **{field: other})
    drivers = [Driver(), Driver()]
    for driver, new in zip(drivers, (BASE, changed), strict=True):
        driver.one(Enqueue("q", [new]))
    assert drivers[0].machine.state_hash != drivers[1].machine.state_hash


@pytest.mark.parametrize(
    "other",
    [
        Lease(["q"], 1, 2_000, "w", "r"),
        Lease(["q"], 1, 1_000, "x", "r"),
        Lease(["q"], 1, 1_000, "w", "s"),
    ],
)
def test_leases_that_differ_in_one_field_give_different_hashes(other: Lease) -> None:
    drivers = [Driver(), Driver()]
    for driver, lease in zip(drivers, (Lease(["q"], 1, 1_000, "w", "r"), other), strict=True):
        driver.enqueue(1)
        driver.one(lease)
    assert drivers[0].machine.state_hash != drivers[1].machine.state_hash


def test_delays_of_tasks_given_back_give_different_hashes() -> None:
    drivers = [Driver(), Driver()]
    for driver, delay_ms in zip(drivers, (10, 11), strict=True):
        driver.enqueue(1)
        driver.one(Requeue([RequeueItem(driver.lease()[0].token, delay_ms)]))
    assert drivers[0].machine.state_hash != drivers[1].machine.state_hash
