"""Waits for results, and control calls, while leaders die and nodes lose touch."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.nodes import Answer, call, follower_of, new_queue, wait_until

from raftq.cli.local_cluster import LocalCluster, NodeProcess


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[LocalCluster]:
    """Three nodes of this test alone."""
    with LocalCluster(tmp_path) as cluster:
        yield cluster
        for node in cluster.nodes:
            if node.is_running:
                node.send(signal.SIGCONT)


class Waiting:
    """A wait for a result, on a thread of its own."""

    def __init__(self, node: NodeProcess, task_id: str, query: str) -> None:
        path = f"/v1/tasks/{task_id}/result?{query}"
        self.answers: list[Answer] = []
        self._thread = threading.Thread(
            target=lambda: self.answers.append(call(node, "GET", path, timeout=60.0))
        )
        before = results_waiting(node)
        self._thread.start()
        wait_until(lambda: results_waiting(node) > before, "the call that waits")

    def answer(self) -> Answer:
        self._thread.join(30.0)
        assert not self._thread.is_alive(), "the wait was not answered"
        return self.answers[0]


def results_waiting(node: NodeProcess) -> float:
    page = call(node, "GET", "/metrics").body.decode().splitlines()
    return float(next(x for x in page if x.startswith("raftq_results_waiting")).split()[1])


def enqueue(node: NodeProcess, queue: str) -> str:
    answer = call(node, "POST", f"/v1/queues/{queue}/tasks", {"tasks": [{"payload": "x"}]})
    assert answer.status == 201, answer.body
    id_: str = answer.json["tasks"][0]["id"]
    return id_


def finish(node: NodeProcess, queue: str, result: str) -> None:
    body = {"worker": "w", "wait_ms": 10_000}
    leased: list[dict[str, Any]] = call(node, "POST", f"/v1/queues/{queue}/leases", body).json[
        "leases"
    ]
    acked = call(node, "POST", f"/v1/leases/{leased[0]['token']}/ack", {"result": result})
    assert acked.status == 200, acked.body


def test_a_wait_on_a_follower_outlives_its_leader(fragile: LocalCluster) -> None:
    leader, follower = fragile.wait_leader(), follower_of(fragile)
    queue = new_queue()
    id_ = enqueue(follower, queue)
    waiting = Waiting(follower, id_, "wait_ms=40000")
    leader.kill()
    finish(follower, queue, "after the failover")
    told = waiting.answer().json
    assert (told["state"], told["result"]) == ("done", "after the failover")


def test_a_wait_on_a_leader_that_hands_over_goes_on(fragile: LocalCluster) -> None:
    leader = fragile.wait_leader()
    queue = new_queue()
    id_ = enqueue(leader, queue)
    waiting = Waiting(leader, id_, "wait_ms=40000")
    assert call(leader, "POST", "/v1/cluster/transfer-leader", {}).status == 200
    successor = fragile.wait_leader()
    assert successor is not leader
    finish(successor, queue, "by another leader")
    assert waiting.answer().json["result"] == "by another leader"


def test_a_stopping_node_answers_waits_with_the_present_state(fragile: LocalCluster) -> None:
    node = follower_of(fragile)
    id_ = enqueue(node, new_queue())
    waiting = Waiting(node, id_, "wait_ms=40000")
    node.send(signal.SIGTERM)
    answer = waiting.answer()
    assert (answer.status, answer.json["state"]) == (200, "ready")
    assert answer.headers["connection"] == "close"


def test_a_node_that_lost_touch_tells_nothing_old_as_new(fragile: LocalCluster) -> None:
    node = follower_of(fragile)
    others = [each for each in fragile.nodes if each is not node]
    id_ = enqueue(node, new_queue())
    waiting = Waiting(node, id_, "wait_ms=1500&timeout_ms=1000")
    for other in others:
        other.kill()
    waiting.answer().problem(503, "no_leader")
    stale = call(node, "GET", f"/v1/tasks/{id_}?consistency=stale")
    assert stale.json["state"] == "ready"

    def lag_ms() -> int:
        answer = call(node, "GET", f"/v1/tasks/{id_}?consistency=stale").json
        assert isinstance(answer["lag_ms"], int)
        return answer["lag_ms"]

    before = lag_ms()
    assert before >= 1_000, "nobody was heard for that long at least"
    wait_until(lambda: lag_ms() > before, "a growing lag")


def test_control_calls_on_a_follower_outlive_its_leader(fragile: LocalCluster) -> None:
    leader, follower = fragile.wait_leader(), follower_of(fragile)
    queue = new_queue()
    ids = [enqueue(follower, queue) for _ in range(3)]
    leader.kill()
    calls: list[tuple[str, str, object]] = [
        ("POST", f"/v1/tasks/{ids[0]}/cancel", {}),
        ("PATCH", f"/v1/tasks/{ids[1]}", {"delay_ms": 60_000}),
        ("PATCH", f"/v1/queues/{queue}/settings", {"paused": True}),
        ("PUT", "/v1/limits/k", {"concurrency": 1}),
        ("PUT", "/v1/schedules/s", {"queue": queue, "every_ms": 3_600_000}),
        ("POST", f"/v1/queues/{queue}/purge", {}),
        ("GET", "/v1/limits", None),
    ]
    for method, path, body in calls:
        answer = call(follower, method, path, body)
        assert answer.status == 200, (path, answer.body)
    counts = call(follower, "GET", f"/v1/queues/{queue}").json["counts"]
    assert counts["cancelled"] == 3
