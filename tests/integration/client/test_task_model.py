"""The calls of the task model against three real nodes, on any of them."""

import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.support.clusters import wait_until

from raftq.cli.local_cluster import LocalCluster
from raftq.client import (
    Client,
    Conflict,
    Consistency,
    ForgottenTask,
    InvalidRequest,
    KeyTaken,
    LeasedTask,
    QueueFull,
    RateLimited,
    TaskCancelled,
    TaskState,
    UnknownSchedule,
    UnknownTask,
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes")) as running:
        yield running


@pytest.fixture(scope="module")
def client(cluster: LocalCluster) -> Generator[Client]:
    with Client(cluster.addresses) as opened:
        yield opened


def lease(client: Client, queue: str) -> LeasedTask:
    (found,) = client.lease(queue, worker="w", wait="10s")
    return found


def test_tasks_of_several_queues_are_enqueued_all_or_none(client: Client) -> None:
    first = client.new_task(b"1")
    second = client.new_task(b"2", depends_on=[first.id])
    made = client.enqueue_parts({"parts-a": [first], "parts-b": [second, b"3"]})
    assert [each.state for each in made] == [TaskState.READY, TaskState.BLOCKED, TaskState.READY]
    refused = client.new_task(b"4", depends_on=[bytes(16)])
    with pytest.raises(UnknownTask):
        client.enqueue_parts([("parts-a", [b"5"]), ("parts-b", [refused])])
    assert client.queue("parts-a").enqueued == 1


def test_a_unique_key_is_one_live_tasks(client: Client) -> None:
    first = client.enqueue("unique", b"1", unique_key="k")
    with pytest.raises(KeyTaken):
        client.enqueue("unique-other", b"2", unique_key="k")
    there = client.enqueue("unique", b"3", unique_key="k", on_conflict="existing")
    assert (there.id, there.created) == (first.id, False)
    again = client.enqueue("unique", b"1", unique_key="k", id=UUID(bytes=first.id))
    assert (again.id, again.created) == (first.id, False), "a repetition is no conflict"


def test_a_cancelled_run_is_refused_and_its_lease_ends_when_it_is_given_back(
    client: Client,
) -> None:
    task = client.enqueue("cancelled", b"x", limit_key="cancel-limit")
    taken = lease(client, "cancelled")
    assert client.cancel(task.id) is TaskState.CANCELLED
    assert client.cancel(task.id) is TaskState.CANCELLED, "repeating it is harmless"
    with pytest.raises(TaskCancelled):
        client.extend(taken.token, "30s")
    with pytest.raises(TaskCancelled):
        client.ack(taken.token, b"late")
    assert client.task(task.id).result is None
    assert [each.leased for each in client.limits() if each.key == "cancel-limit"] in ([], [0])
    done = client.enqueue("cancelled", b"y")
    client.ack(lease(client, "cancelled").token)
    with pytest.raises(Conflict):
        client.cancel(done.id)


def test_an_ack_and_its_follow_ups_are_one(client: Client) -> None:
    client.enqueue("before", b"x")
    held = lease(client, "before")
    client.enqueue("after", b"x", unique_key="follow", delay="1h")
    follower = client.new_task(b"next", unique_key="follow")
    with pytest.raises(KeyTaken):
        client.ack(held.token, b"r", follow_ups={"after": [follower]})
    assert client.task(held.task_id).state is TaskState.LEASED, "nothing changed"
    assert client.ack(held.token, b"r", follow_ups={"after": [b"free"]}) is TaskState.DONE
    assert client.queue("after").counts["ready"] == 1


def test_a_failure_may_be_final_late_or_a_crash(client: Client) -> None:
    ids = [client.enqueue("fails", bytes([each])).id for each in range(3)]
    final, late, crash = (lease(client, "fails") for _ in range(3))
    assert client.fail(final.token, "no", is_final=True) is TaskState.DEAD
    assert client.fail(late.token, "busy", delay="1h") is TaskState.SCHEDULED
    client.fail(crash.token, "gone", is_crash=True)
    status = client.task(ids[2])
    assert (status.crashes, status.failures, status.history[0].error) == (1, 0, "gone")


def test_waiting_tasks_can_be_edited(client: Client) -> None:
    task = client.enqueue("edited", b"x", not_before=datetime.now(UTC) + timedelta(days=400))
    assert task.state is TaskState.SCHEDULED
    assert client.edit(task.id, priority=0, delay=0) is TaskState.READY
    assert client.task(task.id).priority == 0
    lease(client, "edited")
    with pytest.raises(Conflict):
        client.edit(task.id, priority=1)


def test_sweeps_do_what_their_dry_runs_count(client: Client) -> None:
    for _ in range(3):
        client.enqueue_many("swept", [b"x"] * 1_000)
    assert client.cancel_where(queue="swept", priority=9, dry_run=True) == 0
    assert client.move("moved", queue="swept", dry_run=True) == 3_000
    assert client.move("moved", queue="swept") == 3_000
    assert client.purge("moved", dry_run=True) == 3_000
    assert client.purge("moved") == 3_000
    assert client.purge("moved") == 0
    listed = [each.state for each in client.tasks(queue="moved")]
    assert listed == [TaskState.CANCELLED] * 3_000


def test_dead_tasks_begin_anew_or_are_given_up(client: Client) -> None:
    for word in (b"a", b"b"):
        client.enqueue("dead", word, attempts_max=1)
        client.fail(lease(client, "dead").token, f"error of {word.decode()}")
    assert client.redrive(queue="dead", error_contains="of a") == 1
    assert lease(client, "dead").payload == b"a"
    assert client.discard(queue="dead") == 1
    assert [each.state for each in client.tasks(queue="dead")] == [
        TaskState.LEASED,
        TaskState.CANCELLED,
    ]


def test_a_paused_queue_gives_nothing_out(client: Client) -> None:
    client.enqueue("paused", b"x")
    assert client.pause("paused")
    assert client.lease("paused", worker="w") == []
    assert client.why(next(iter(client.tasks(queue="paused"))).id).reasons[0].rule == "paused"
    assert client.resume("paused")
    lease(client, "paused")


def test_a_full_queue_is_waited_for_until_the_deadline(client: Client) -> None:
    client.set_queue("full", tasks_max=1)
    client.enqueue("full", b"x")
    began = time.monotonic()
    with pytest.raises(QueueFull) as full:
        client.enqueue("full", b"y", timeout=1.5)
    assert full.value.facts["retry_after_ms"] and time.monotonic() - began < 5
    client.set_queue("slow", enqueue_rate="1/10m")
    client.enqueue("slow", b"x")
    with pytest.raises(RateLimited):
        client.enqueue("slow", b"y", timeout=1)
    client.set_queue("slow", enqueue_rate=None)
    assert client.enqueue("slow", b"y").created


def test_a_schedule_fires_until_it_is_paused(client: Client) -> None:
    assert client.set_schedule("every", "ticks", b"x", every="1s", expires="1m")
    assert not client.set_schedule("every", "ticks", b"x", every="1s", expires="1m")
    assert lease(client, "ticks").payload == b"x"
    assert client.pause_schedule("every") and client.schedule("every").schedule.paused
    assert client.delete_schedule("every") and not client.delete_schedule("every")
    with pytest.raises(UnknownSchedule):
        client.schedule("every")
    with pytest.raises(InvalidRequest, match="time zone"):
        client.set_schedule("wrong", "q", b"x", cron="* * * * *", timezone="Mars/Olympus")


def test_an_outcome_is_forgotten_after_its_time_and_that_is_no_unknown_task(
    client: Client,
) -> None:
    task = client.enqueue("short", b"x", result_ttl="1s")
    client.ack(lease(client, "short").token, b"r")
    assert client.task(task.id).result == b"r"

    def is_forgotten() -> bool:
        try:
            client.task(task.id)
        except ForgottenTask:
            return True
        return False

    wait_until(is_forgotten, 60)
    with pytest.raises(UnknownTask) as unknown:
        client.task(bytes(16))
    assert type(unknown.value) is UnknownTask


def test_any_node_shows_a_client_at_least_what_it_wrote(
    client: Client, cluster: LocalCluster
) -> None:
    for _ in range(20):
        task = client.enqueue("own-writes", b"x")
        index = client.last_index
        for node in cluster.nodes:
            with Client(node.native) as other:
                found = other.task(task.id, consistency=Consistency.STALE, min_index=index)
                assert found.state is TaskState.READY and found.applied_index >= index
                assert found.lag_ms is not None


def test_a_result_is_waited_for_on_a_node(client: Client) -> None:
    task = client.enqueue("waited", b"x")
    status = client.result(task.id, wait="200ms")
    assert status.state is TaskState.READY
    client.ack(lease(client, "waited").token, b"r")
    assert client.result(task.id, wait="30s").result == b"r"
