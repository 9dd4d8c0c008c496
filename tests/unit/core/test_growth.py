"""Memory follows live tasks: sizes after many cycles, never times."""

import pytest
from tests.support.machines import LEASE_MS, Driver, task_id

from raftq.core.id_table import RECORDS_PER_BUCKET
from raftq.core.rows import ROW_BYTES, ROWS_PER_CHUNK
from raftq.core.state import State
from raftq.core.task import Task
from raftq.core.timers import Timers
from raftq.protocol import limits
from raftq.protocol.commands import Ack, AckItem, Enqueue, Extend, ExtendItem, Lease
from raftq.protocol.options import NewTask

GARBAGE_MAX = 1_002
"""Obsolete timer entries that a nearly empty machine may hold."""


def _state(driver: Driver) -> State:
    return driver.machine._state  # pyright: ignore[reportPrivateUsage]


def _heap_size(timers: Timers[Task]) -> int:
    return len(timers._heap)  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
def driver() -> Driver:
    driver = Driver()
    driver.checks_invariants = False
    return driver


def test_a_hundred_thousand_cycles_leave_nothing_but_their_outcomes(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RESULTS_KEPT_MAX", 1_000)
    monkeypatch.setattr(limits, "RETRY_MEMORY_MS", 0)
    size = 100
    for cycle in range(1_000):
        start = cycle * size + 1
        driver.apply(
            Enqueue("q", [NewTask(task_id(start + offset), b"x") for offset in range(size)]),
            Lease(["q"], size, LEASE_MS, f"w{cycle % 7}", f"r{cycle}"),
            Ack([AckItem(start + offset) for offset in range(size)]),
            lease_ms=1,
        )
    driver.apply()
    driver.machine.check_invariants()
    state = _state(driver)
    assert driver.machine.queue("q").counts["done"] == 100_000
    assert len(state.tasks) == len(state.outcomes) == len(state.by_token) == 1_000
    assert len(state.tasks.objects) == 1_000 and len(state.tasks.rows) == 0
    assert state.tasks.rows.chunk_bytes <= ROWS_PER_CHUNK * ROW_BYTES
    assert state.tasks.ids.buckets <= 1_000 * 4 // RECORDS_PER_BUCKET + 1
    assert _heap_size(state.leases) <= GARBAGE_MAX
    assert driver.machine.live_tasks == driver.machine.live_payload_bytes == 0
    kept = 7 * limits.LEASE_REQUESTS_KEPT_PER_WORKER
    assert (state.requests.requests_kept, state.requests.tokens_kept) == (kept, kept * size)


def test_extending_for_a_day_leaves_one_timer_for_each_lease(driver: Driver) -> None:
    driver.enqueue(1, 2, 3)
    tokens = [lease.token for lease in driver.lease(3)]
    for _ in range(20_000):
        driver.apply(Extend([ExtendItem(token, LEASE_MS) for token in tokens]), lease_ms=4_000)
    assert _heap_size(_state(driver).leases) <= GARBAGE_MAX + 6
    assert driver.machine.queue("q").counts["leased"] == 3


def test_moving_a_deadline_to_and_fro_leaves_one_timer(driver: Driver) -> None:
    driver.enqueue(1)
    (lease,) = driver.lease()
    items = [ExtendItem(lease.token, LEASE_MS + 1_000 * (turn % 2)) for turn in range(10_000)]
    for _ in range(3):
        driver.apply(Extend(items))
    assert _heap_size(_state(driver).leases) <= GARBAGE_MAX
    driver.pass_lease_ms(2 * LEASE_MS)
    driver.machine.check_invariants()
    status = driver.machine.task(task_id(1))
    assert status is not None and status.crashes == 1


def test_giving_back_for_ever_leaves_one_token_for_each_task(driver: Driver) -> None:
    driver.enqueue(1, 2)
    for turn in range(20_000):
        driver.requeue(driver.lease()[0].token, delay_ms=turn % 2)
        driver.wall_at_ms += 1
    state = _state(driver)
    assert len(state.by_token) == 2
    assert _heap_size(state.leases) <= GARBAGE_MAX and len(state.scheduled) <= 2
    assert state.requests.requests_kept == limits.LEASE_REQUESTS_KEPT_PER_WORKER


def test_ever_new_workers_leave_a_bounded_memory(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LEASE_REQUESTS_KEPT_MAX", 500)
    driver.enqueue(1)
    for turn in range(5_000):
        (lease,) = driver.request("r", worker=f"w{turn}").leases
        driver.requeue(lease.token)
    requests = _state(driver).requests
    assert requests.requests_kept == requests.tokens_kept == len(list(requests)) == 500


def test_idle_time_leaves_nothing(driver: Driver) -> None:
    before = driver.machine.state_hash
    for _ in range(10_000):
        driver.apply(lease_ms=1_000)
        driver.request("r")
    assert driver.machine.state_hash == before
    assert list(_state(driver).requests) == []


def test_an_entry_of_seventy_thousand_tasks_for_one_queue_loses_none(driver: Driver) -> None:
    size = 1_000
    commands = [
        Enqueue("q", [NewTask(task_id(start + each), b"") for each in range(size)])
        for start in range(1, 70_000, size)
    ]
    driver.apply(*commands)
    driver.machine.check_invariants()
    assert driver.machine.ready_count("q") == 70_000
