"""A clean stop fails no call; a kill loses nothing that was acknowledged."""

import signal
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.load import HttpCaller, NativeCaller
from tests.support.nodes import call, follower_of, new_queue, wait_until

from raftq.cli.local_cluster import LocalCluster, NodeProcess

Caller = HttpCaller | NativeCaller
WARM = 20
"""Calls of each caller before and after the stop."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("stopping")) as cluster:
        yield cluster


@contextmanager
def load(cluster: LocalCluster, queue: str) -> Generator[list[Caller]]:
    """Call over both protocols at every node; stop and check at the end."""
    callers: list[Caller] = [HttpCaller(cluster, node, queue) for node in cluster.nodes]
    callers += [NativeCaller(cluster, node, queue) for node in cluster.nodes]
    pollers = [HttpCaller(cluster, node, queue, is_polling=True) for node in cluster.nodes]
    for caller in [*callers, *pollers]:
        caller.start()
    try:
        progress(callers)
        yield callers
        progress(callers)
    finally:
        for caller in [*callers, *pollers]:
            caller.is_stopped.set()
        body = {"tasks": [{"payload": "x"}] * len(pollers)}
        call(cluster.wait_leader(), "POST", f"/v1/queues/{queue}-empty/tasks", body)
        for caller in [*callers, *pollers]:
            caller.join(30.0)
            assert not caller.is_alive()
    failures = [text for caller in [*callers, *pollers] for text in caller.heard.failures]
    assert failures == []


def progress(callers: list[Caller]) -> None:
    """Wait until each caller has made further calls."""
    goals = [len(caller.heard.enqueued) + WARM for caller in callers]

    def reached() -> bool:
        return all(
            len(caller.heard.enqueued) >= goal or caller.heard.failures
            for caller, goal in zip(callers, goals, strict=True)
        )

    wait_until(reached, "callers that get on")


def check_enqueued(cluster: LocalCluster, queue: str, callers: list[Caller]) -> None:
    """Every acknowledged task is there, once."""
    acknowledged = {id_ for caller in callers for id_ in caller.heard.enqueued}
    counts = call(cluster.wait_leader(), "GET", f"/v1/queues/{queue}").json
    assert counts["counts"]["ready"] == counts["enqueued"] == len(acknowledged)


def restart(cluster: LocalCluster, node: NodeProcess) -> None:
    node.start()
    cluster.wait_ready()


def test_sigterm_to_the_leader_hands_over_and_fails_no_call(cluster: LocalCluster) -> None:
    for _ in range(2):
        queue = new_queue()
        leader = cluster.wait_leader()
        with load(cluster, queue) as callers:
            begun_at = time.monotonic()
            assert leader.stop() == 0, leader.last_words()
            assert time.monotonic() - begun_at < 5.0
            assert cluster.wait_leader() is not leader
        check_enqueued(cluster, queue, callers)
        restart(cluster, leader)


def test_sigterm_to_a_follower_fails_no_call(cluster: LocalCluster) -> None:
    queue = new_queue()
    leader, follower = cluster.wait_leader(), follower_of(cluster)
    with load(cluster, queue) as callers:
        assert follower.stop() == 0, follower.last_words()
        assert cluster.wait_leader() is leader
    check_enqueued(cluster, queue, callers)
    restart(cluster, follower)


def test_sigint_stops_a_node_too(cluster: LocalCluster) -> None:
    follower = follower_of(cluster)
    follower.send(signal.SIGINT)
    assert follower.process is not None
    assert follower.process.wait(10.0) == 0
    restart(cluster, follower)


def test_sigkill_of_all_nodes_loses_nothing_acknowledged(cluster: LocalCluster) -> None:
    queue = new_queue()
    callers: list[Caller] = [HttpCaller(cluster, node, queue) for node in cluster.nodes]
    callers += [NativeCaller(cluster, node, queue) for node in cluster.nodes]
    for caller in callers:
        caller.start()
    progress(callers)
    cluster.kill_all()
    for caller in callers:
        caller.is_stopped.set()
    for node in cluster.nodes:
        node.start()
    cluster.wait_ready()
    for caller in callers:
        caller.join(30.0)
        assert not caller.is_alive()
    acknowledged = [id_ for caller in callers for id_ in caller.heard.enqueued]
    for number, task_id in enumerate(acknowledged):
        answer = call(cluster.nodes[number % 3], "GET", f"/v1/tasks/{task_id}")
        assert answer.status == 200 and answer.json["state"] == "ready", task_id


def test_a_node_alone_stops_cleanly(tmp_path: Path) -> None:
    with LocalCluster(tmp_path, size=1) as single:
        (node,) = single.nodes
        queue = new_queue()
        assert (
            call(node, "POST", f"/v1/queues/{queue}/tasks", {"tasks": [{"payload": "x"}]}).status
            == 201
        )
        begun_at = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - begun_at < 5.0
        node.start()
        single.wait_ready()
        assert call(node, "GET", f"/v1/queues/{queue}").json["counts"]["ready"] == 1
