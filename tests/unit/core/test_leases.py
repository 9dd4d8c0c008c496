"""Granting leases: tokens, repeated requests, bounds."""

import pytest
from tests.support.machines import LEASE_MS, Driver, task_id

from raftq.core.machine import Machine
from raftq.protocol import codec, limits
from raftq.protocol.fields import TaskState


@pytest.fixture
def driver() -> Driver:
    return Driver()


def test_a_lease_carries_the_task_and_the_first_attempt(driver: Driver) -> None:
    driver.enqueue(1, payload=b"work")
    (lease,) = driver.lease()
    assert (lease.task_id, lease.queue, lease.payload) == (task_id(1), "q", b"work")
    assert (lease.attempt, lease.lease_ms) == (1, LEASE_MS)


def test_tokens_grow_strictly_over_all_leases(driver: Driver) -> None:
    driver.enqueue(1, 2)
    driver.enqueue(3, queue="other")
    tokens = [lease.token for lease in driver.request("a", 3, queues=("q", "other")).leases]
    driver.requeue(tokens[0])
    driver.fail(tokens[1])
    driver.pass_lease_ms(LEASE_MS)
    tokens += [lease.token for lease in driver.request("b", 3, queues=("other", "q")).leases]
    assert len(tokens) == 6 and tokens == sorted(set(tokens))


def test_tokens_go_on_growing_after_a_snapshot_of_a_machine_without_leases(driver: Driver) -> None:
    driver.enqueue(1)
    token = driver.lease()[0].token
    driver.ack(token)
    driver.pass_wall_ms(limits.RESULT_RETENTION_MS)
    later = Driver(Machine.load(driver.machine.dump()))
    later.enqueue(1)
    assert later.request("later").leases[0].token > token


def test_attempts_count_failures_and_crashes_but_not_what_was_given_back(driver: Driver) -> None:
    driver.enqueue(1)
    driver.fail(driver.lease()[0].token)
    driver.lease()
    driver.pass_lease_ms(LEASE_MS)
    driver.requeue(driver.lease()[0].token)
    (lease,) = driver.lease()
    assert lease.attempt == 3
    status = driver.machine.task(task_id(1))
    assert status is not None
    assert (status.failures, status.crashes, status.attempts) == (1, 1, 3)


def test_no_more_is_granted_than_asked_for_or_ready(driver: Driver) -> None:
    driver.enqueue(1, 2, 3)
    assert len(driver.lease(2)) == 2
    assert len(driver.lease(2)) == 1
    before = driver.hashes()
    assert driver.lease(2) == []
    assert driver.hashes() == before


def test_payloads_of_one_reply_are_bounded(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEASE_REPLY_BYTES_MAX", 10)
    driver.enqueue(1, 2, 3, payload=b"12345")
    assert driver.lease_numbers(3) == [1, 2]
    assert driver.lease_numbers(3) == [3]


def test_a_payload_over_the_bound_of_a_reply_is_granted_alone(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LEASE_REPLY_BYTES_MAX", 4)
    driver.enqueue(1, 2, payload=b"12345")
    assert driver.lease_numbers(5) == [1]
    assert driver.lease_numbers(5) == [2]


def test_the_bound_of_a_reply_holds_over_several_queues(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LEASE_REPLY_BYTES_MAX", 10)
    driver.enqueue(1, 2, queue="a", payload=b"1234567")
    driver.enqueue(3, queue="b", payload=b"1234567")
    leases = driver.request("r", 5, queues=("a", "b")).leases
    assert [lease.task_id for lease in leases] == [task_id(1)]


def test_the_largest_reply_fits_a_client_s_frame() -> None:
    machine = Driver()
    machine.checks_invariants = False
    machine.enqueue(1, payload=bytes(limits.PAYLOAD_BYTES_MAX))
    machine.enqueue(2, payload=bytes(limits.LEASE_REPLY_BYTES_MAX))
    reply = machine.request("r", 1_000)
    assert len(reply.leases) == 1
    assert len(codec.encode(reply)) < limits.REPLY_BYTES_MAX


# ---------------------------------------------------------------- repeated requests


def test_a_repeated_request_returns_the_same_leases_and_changes_nothing(driver: Driver) -> None:
    driver.enqueue(1, 2, 3)
    first = driver.request("r", 2)
    before = driver.hashes()
    again = driver.request("r", 2)
    assert again.leases == first.leases and again.is_repeat and not first.is_repeat
    assert driver.hashes() == before


def test_a_repeated_request_tells_the_time_that_is_left(driver: Driver) -> None:
    driver.enqueue(1)
    driver.request("r")
    driver.pass_lease_ms(4_000)
    assert driver.request("r").leases[0].lease_ms == LEASE_MS - 4_000


def test_a_request_that_found_nothing_is_asked_anew(driver: Driver) -> None:
    assert driver.request("r").leases == []
    driver.enqueue(1)
    reply = driver.request("r")
    assert len(reply.leases) == 1 and not reply.is_repeat


def test_a_repeated_request_leaves_out_what_was_settled(driver: Driver) -> None:
    driver.enqueue(1, 2, 3, 4)
    first = driver.request("r", 4).leases
    driver.ack(first[0].token)
    driver.fail(first[1].token)
    driver.requeue(first[2].token)
    assert driver.request("r", 4).leases == [first[3]]


def test_a_repeated_request_leaves_out_leases_that_ran_out(driver: Driver) -> None:
    driver.enqueue(1, 2)
    first = driver.request("r", 2).leases
    driver.extend(first[1].token, 3 * LEASE_MS)
    driver.pass_lease_ms(LEASE_MS)
    (left,) = driver.request("r", 2).leases
    assert left.token == first[1].token


def test_a_repeated_request_never_returns_another_worker_s_lease(driver: Driver) -> None:
    driver.enqueue(1)
    driver.request("r", worker="slow")
    driver.pass_lease_ms(LEASE_MS)
    (taken,) = driver.request("r", worker="other").leases
    again = driver.request("r", worker="slow")
    assert again.leases == [] and again.is_repeat
    assert driver.ack(taken.token).state is TaskState.DONE


def test_a_repeated_request_whose_task_was_forgotten_returns_nothing(driver: Driver) -> None:
    driver.enqueue(1)
    driver.ack(driver.request("r").leases[0].token)
    driver.pass_wall_ms(limits.RESULT_RETENTION_MS)
    driver.enqueue(1)
    again = driver.request("r")
    assert again.leases == [] and again.is_repeat


def test_request_ids_belong_to_their_worker(driver: Driver) -> None:
    driver.enqueue(1, 2)
    (a,) = driver.request("r", worker="a").leases
    (b,) = driver.request("r", worker="b").leases
    assert a.task_id != b.task_id


def test_the_newest_requests_of_a_worker_are_remembered(driver: Driver) -> None:
    kept = limits.LEASE_REQUESTS_KEPT_PER_WORKER
    driver.enqueue(*range(1, kept + 2))
    for number in range(kept + 1):
        driver.request(f"r{number}")
    assert driver.request("r1").is_repeat
    assert not driver.request("r0").is_repeat


def test_a_silent_worker_s_requests_are_forgotten_after_their_time(driver: Driver) -> None:
    driver.enqueue(1)
    driver.request("r", lease_ms=limits.LEASE_MS_MAX)
    driver.pass_lease_ms(limits.WORKER_FORGOTTEN_AFTER_MS - 1)
    assert driver.request("r").is_repeat
    driver.pass_lease_ms(1)
    assert not driver.request("r").is_repeat


@pytest.mark.parametrize("limit", ["LEASE_REQUESTS_KEPT_MAX", "LEASE_TOKENS_KEPT_MAX"])
def test_requests_of_ever_new_workers_are_bounded_and_the_silent_forgotten_first(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(limits, limit, 3)
    driver.enqueue(1, 2, 3, 4, 5, 6)
    for worker in ("a", "b", "c"):
        driver.request("r", worker=worker)
    driver.request("r2", worker="a")
    repeats = {worker: driver.request("r", worker=worker).is_repeat for worker in ("a", "c")}
    assert repeats == {"a": True, "c": True}
    assert not driver.request("r", worker="b").is_repeat


def test_the_bounds_of_the_request_memory_survive_a_snapshot(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LEASE_TOKENS_KEPT_MAX", 3)
    driver.enqueue(*range(1, 9))
    driver.request("r", 3, worker="a")
    loaded = Driver(Machine.load(driver.machine.dump()))
    for each in (driver, loaded):
        each.request("r", 2, worker="b")
        assert not each.request("r", 1, worker="a").is_repeat
    assert loaded.hashes() == driver.hashes()
