"""What callers hear when the cluster cannot serve them, and that it is true."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.support.nodes import Answer, call, new_queue, wait_until

from raftq.cli.local_cluster import LocalCluster, NodeProcess


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[LocalCluster]:
    """Three nodes of this test alone."""
    with LocalCluster(tmp_path) as cluster:
        yield cluster
        for node in cluster.nodes:
            if node.is_running:
                node.send(signal.SIGCONT)


def enqueue(node: NodeProcess, queue: str, timeout_ms: int, id_: str | None = None) -> Answer:
    task = {"id": id_ or str(uuid4()), "payload": "x"}
    body = {"tasks": [task], "timeout_ms": timeout_ms}
    return call(node, "POST", f"/v1/queues/{queue}/tasks", body)


def test_without_a_majority_calls_are_503_with_retry_after_and_nothing_happens(
    fragile: LocalCluster,
) -> None:
    queue = new_queue()
    survivor, *others = fragile.nodes
    assert enqueue(survivor, queue, 5_000).status == 201
    stale = f"/v1/queues/{queue}?consistency=stale"

    def ready() -> int:
        return int(call(survivor, "GET", stale).json["counts"]["ready"])

    wait_until(lambda: ready() == 1, "the entry on the survivor")
    for other in others:
        other.kill()
    wait_until(lambda: call(survivor, "GET", "/readyz").status == 503, "a node that is not ready")
    problem = call(survivor, "GET", "/readyz").problem(503, "not_ready")
    assert problem["detail"] and problem["node"] == survivor.id
    assert call(survivor, "GET", "/livez").status == 200
    view = call(survivor, "GET", "/v1/cluster").json
    assert view["leader"] is None
    assert {each["id"]: each["reachable"] for each in view["nodes"]} == {
        "n1": True, "n2": False, "n3": False,
    }  # fmt: skip
    refused = str(uuid4())
    begun_at = time.monotonic()
    answer = enqueue(survivor, queue, 400, refused)
    assert 0.2 < time.monotonic() - begun_at < 5.0
    assert answer.problem(503, "no_leader")["retry_after_ms"] > 0
    assert int(answer.headers["retry-after"]) >= 1
    for path in (f"/v1/tasks/{refused}", f"/v1/queues/{queue}"):
        call(survivor, "GET", f"{path}?timeout_ms=200").problem(503, "no_leader")
    assert ready() == 1
    lease = {"worker": "w", "timeout_ms": 200}
    call(survivor, "POST", f"/v1/queues/{queue}/leases", lease).problem(503, "no_leader")
    for other in others:
        other.start()
    fragile.wait_ready()
    call(survivor, "GET", f"/v1/tasks/{refused}").problem(404, "unknown_task")
    assert enqueue(survivor, queue, 10_000).status == 201


def test_an_outcome_that_is_not_known_by_the_deadline_is_504_and_safe_to_repeat(
    fragile: LocalCluster,
) -> None:
    queue, id_ = new_queue(), str(uuid4())
    leader = fragile.wait_leader()
    followers = [node for node in fragile.nodes if node is not leader]
    assert enqueue(leader, queue, 5_000).status == 201
    for follower in followers:
        follower.send(signal.SIGSTOP)
    answer = enqueue(leader, queue, 100, id_)
    answer.problem(504, "outcome_unknown")
    assert "retry-after" not in answer.headers
    for follower in followers:
        follower.send(signal.SIGCONT)
    fragile.wait_ready()
    (again,) = enqueue(fragile.nodes[0], queue, 10_000, id_).json["tasks"]
    assert again["id"] == id_
    assert call(fragile.nodes[1], "GET", f"/v1/queues/{queue}").json["enqueued"] == 2


def test_a_call_at_a_follower_outlives_the_kill_of_the_leader(fragile: LocalCluster) -> None:
    queue = new_queue()
    leader = fragile.wait_leader()
    follower = next(node for node in fragile.nodes if node is not leader)
    leader.kill()
    answer = enqueue(follower, queue, 10_000)
    assert answer.status == 201


def test_a_node_whose_peers_are_strangers_is_never_ready(tmp_path: Path) -> None:
    """Somebody listens at the peers' addresses who is no node of raftq."""
    cluster = LocalCluster(tmp_path)
    first, *others = cluster.nodes
    listeners = [socket.create_server(("127.0.0.1", cluster.ports[each.id][2])) for each in others]
    try:
        cluster.nodes[0].start()
        wait_until(lambda: call_or_none(first), "a node that answers")
        call(first, "GET", "/readyz").problem(503, "not_ready")
    finally:
        for listener in listeners:
            listener.close()
        cluster.stop()


def call_or_none(node: NodeProcess) -> bool:
    try:
        return call(node, "GET", "/livez").status == 200
    except OSError:
        return False
