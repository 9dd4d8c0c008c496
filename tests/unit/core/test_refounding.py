"""A state that becomes the beginning of another cluster: nothing that was granted before counts."""

import pytest
from tests.support.machines import Driver, task_id
from tests.unit.core.test_dump import varied

from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.protocol.commands import FoundCluster
from raftq.protocol.control import SetQueue
from raftq.protocol.fields import TaskState
from raftq.protocol.options import QueueChanges, Rate
from raftq.protocol.replies import Founded

NEW = "00000000000000000000000000000007"


def refounded(driver: Driver, cluster_id: str = NEW) -> Driver:
    """Return a driver whose machine begins another cluster with the state of the first."""
    machine = Machine.load(driver.machine.dump())
    machine.refound(cluster_id)
    machine.check_invariants()
    loaded = Machine.load(machine.dump())
    assert loaded.content_hash() == machine.content_hash()
    return Driver(loaded)


def test_the_state_hash_stays_and_the_cluster_is_another() -> None:
    old = varied()
    new = Machine.load(old.machine.dump())
    new.refound(NEW)
    assert new.state_hash == old.machine.state_hash
    assert (old.machine.cluster_id, new.cluster_id) == ("c1", NEW)
    assert (new.lease_now_ms, new.wall_now_ms) == (
        old.machine.lease_now_ms,
        old.machine.wall_now_ms,
    )


@pytest.mark.parametrize("is_loaded", [False, True])
def test_a_worker_of_the_old_cluster_changes_nothing(is_loaded: bool) -> None:
    new = varied()
    new.machine.refound(NEW)
    if is_loaded:
        new = Driver(Machine.load(new.machine.dump()))
    before = new.hashes()
    for token in range(1, 20):
        for settle in (new.ack, new.fail, new.requeue, new.extend):
            assert settle(token).error_code == "lease_lost", (settle, token)
    assert new.hashes() == before


def test_held_tasks_are_ready_again_first_and_burn_no_attempt() -> None:
    driver = Driver()
    driver.enqueue(1, 2, 3, 4)
    driver.lease(3)
    new = refounded(driver)
    assert [new.state(number) for number in (1, 2, 3, 4)] == [TaskState.READY] * 4
    leases = new.lease(4)
    assert [int.from_bytes(lease.task_id, "big") for lease in leases] == [1, 2, 3, 4]
    assert [lease.attempt for lease in leases] == [1, 1, 1, 1]
    assert new.machine.queue("q").counts["leased"] == 4
    new.pass_lease_ms(limits.LEASE_MS_MAX)
    assert new.machine.queue("q").counts["ready"] == 4, "the new leases run out as any"


def test_tokens_go_on_far_beyond_those_of_the_old_cluster() -> None:
    driver = Driver()
    driver.enqueue(1, 2)
    (held,) = driver.lease()
    (token,) = (lease.token for lease in refounded(driver).lease())
    assert token - held.token > limits.TOKENS_SKIPPED_BY_RESTORE
    twice = refounded(refounded(driver), f"{8:032x}").lease()[0].token
    assert twice - token > limits.TOKENS_SKIPPED_BY_RESTORE


def test_two_clusters_of_one_backup_grant_different_tokens() -> None:
    driver = Driver()
    driver.enqueue(*range(1, 30))
    one = {lease.token for lease in refounded(driver, f"{2**100 + 5:032x}").lease(29)}
    two = {lease.token for lease in refounded(driver, f"{2**100 + 10**6:032x}").lease(29)}
    assert len(one) == len(two) == 29 and not one & two


def test_who_waits_for_a_held_task_is_told_when_its_queue_has_a_token() -> None:
    driver = Driver()
    driver.one(SetQueue("q", QueueChanges(rate=Rate(1, 60_000))))
    driver.enqueue(1)
    driver.lease()
    new = refounded(driver)
    assert new.machine.ready_count("q") == 0, "its token was used in the old cluster"
    assert new.pass_wall_ms(59_999).ready == []
    assert new.pass_wall_ms(1).ready == ["q"]
    assert new.lease_numbers() == [1]


def test_three_hundred_restores_stay_exact_in_json() -> None:
    assert 300 * limits.TOKENS_SKIPPED_BY_RESTORE * 3 // 2 < 2**53


def test_a_request_of_the_old_cluster_is_a_new_one() -> None:
    driver = Driver()
    driver.enqueue(1, 2)
    old = driver.request("r").leases
    new = refounded(driver).request("r")
    assert not new.is_repeat and new.leases[0].token > old[0].token


def test_the_new_cluster_is_not_founded_again() -> None:
    new = refounded(varied())
    assert new.one(FoundCluster("other")) == Founded(NEW)


@pytest.mark.parametrize("number", [10, 20, 24, 30, 40])
def test_what_is_known_of_a_task_stays(number: int) -> None:
    old, new = varied(), refounded(varied())
    before, after = old.machine.task(task_id(number)), new.machine.task(task_id(number))
    assert before is not None and after is not None
    assert (before.queue, before.priority, before.errors, before.failures, before.crashes) == (
        after.queue,
        after.priority,
        after.errors,
        after.failures,
        after.crashes,
    )
