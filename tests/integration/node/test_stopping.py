"""A clean stop fails no call; a kill loses nothing that was acknowledged."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.load import Caller, HttpCaller, NativeCaller, check_enqueued, load, progress
from tests.support.nodes import call, follower_of, new_queue

from raftq.cli.local_cluster import LocalCluster, NodeProcess


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("stopping")) as cluster:
        yield cluster


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


def test_a_node_that_is_told_to_stop_again_and_again_still_stops_cleanly(tmp_path: Path) -> None:
    with LocalCluster(tmp_path, size=1) as single:
        (node,) = single.nodes
        assert node.process is not None
        while node.process.poll() is None:
            node.send(signal.SIGTERM)
            time.sleep(0.001)
        assert node.process.returncode == 0
