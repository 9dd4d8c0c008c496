"""Payloads are elsewhere: kept, found by those who answer, and dropped."""

import pytest
from tests.support.machines import LEASE_MS, Driver, task_id

from raftq.core.applied import Granted
from raftq.core.machine import Machine
from raftq.core.payloads import PayloadsInMemory
from raftq.protocol.commands import Ack, AckItem, Enqueue, Lease
from raftq.protocol.errors import CorruptRecord
from raftq.protocol.options import NewTask
from raftq.protocol.replies import Leased


class Watched(PayloadsInMemory):
    """Counts what is asked, and returns something else if a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, bytes]] = []
        self.other: bytes | None = None

    def payload(self, sequence: int, task_id: bytes, payload_crc: int) -> bytes:
        self.asked.append((sequence, task_id))
        found = super().payload(sequence, task_id, payload_crc)
        return found if self.other is None else self.other


@pytest.fixture
def payloads() -> Watched:
    return Watched()


@pytest.fixture
def driver(payloads: Watched) -> Driver:
    return Driver(Machine(payloads))


def test_applying_reads_no_payload_and_answering_reads_those_of_its_tasks(
    driver: Driver, payloads: Watched
) -> None:
    driver.enqueue(1, 2, 3)
    (granted,) = driver.apply(Lease(["q"], 2, LEASE_MS, "w", "r")).replies
    assert isinstance(granted, Granted) and payloads.asked == []
    leased = driver.machine.answer(granted)
    assert isinstance(leased, Leased)
    assert [each.payload for each in leased.leases] == [b"payload"] * 2
    assert payloads.asked == [(1, task_id(1)), (2, task_id(2))]


def test_a_done_task_drops_its_payload_and_a_dead_one_keeps_it(
    driver: Driver, payloads: Watched
) -> None:
    driver.enqueue(1, 2, attempts_max=1)
    first, second = driver.lease(2)
    driver.ack(first.token)
    driver.fail(second.token)
    driver.apply()
    assert len(payloads) == 1 and payloads.payload(2, task_id(2), 0) == b"payload"


def test_what_one_entry_leases_and_finishes_can_still_be_answered(
    driver: Driver, payloads: Watched
) -> None:
    driver.enqueue(1)
    granted, _ = driver.apply(Lease(["q"], 1, LEASE_MS, "w", "r"), Ack([AckItem(1)])).replies
    leased = driver.machine.answer(granted)
    assert isinstance(leased, Leased) and leased.leases[0].payload == b"payload"
    driver.apply()
    assert len(payloads) == 0


def test_tasks_that_existed_already_are_kept_once(driver: Driver, payloads: Watched) -> None:
    driver.enqueue(1, 3)
    driver.enqueue(1, 2, 3, 4)
    assert len(payloads) == 4
    assert [each.task_id for each in driver.lease(4)] == [task_id(n) for n in (1, 3, 2, 4)]
    assert [sequence for sequence, _ in payloads.asked] == [1, 2, 3, 4]


@pytest.mark.parametrize("other", [b"paYload", b"", b"payload "])
def test_a_payload_that_is_not_what_was_enqueued_reaches_nobody(
    driver: Driver, payloads: Watched, other: bytes
) -> None:
    driver.enqueue(1)
    payloads.other = other
    with pytest.raises(CorruptRecord, match=task_id(1).hex()):
        driver.lease()


def test_a_loaded_machine_has_its_payloads_where_it_was_told(driver: Driver) -> None:
    driver.one(Enqueue("q", [NewTask(task_id(1), b"one"), NewTask(task_id(2), b"two")]))
    (lease,) = driver.lease()
    driver.ack(lease.token)
    payloads = PayloadsInMemory()
    loaded = Driver(Machine.load(driver.machine.dump(), payloads))
    assert len(payloads) == 1 and loaded.request("other").leases[0].payload == b"two"
