"""Worker processes on different nodes of a real cluster."""

import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.support.clusters import ENVIRONMENT, wait_until

from raftq.cli.local_cluster import LocalCluster
from raftq.client import Client, TaskState

PROGRAM = Path(__file__).with_name("program.py")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes")) as running:
        yield running


class Workers:
    """Worker programs of one queue, ended with the test."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self.cluster = cluster
        self.queue = f"q-{uuid4().hex}"
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, addresses: str) -> subprocess.Popen[bytes]:
        """Start a worker that knows these addresses."""
        path = self.folder / f"{len(self.processes)}.txt"
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), addresses, self.queue, str(path)], env=ENVIRONMENT
        )
        self.processes.append(process)
        return process

    def runs(self) -> list[str]:
        """Return a line for each run that was begun."""
        return [
            line for path in sorted(self.folder.iterdir()) for line in path.read_text().splitlines()
        ]

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def workers(cluster: LocalCluster, tmp_path: Path) -> Generator[Workers]:
    made = Workers(cluster, tmp_path)
    yield made
    made.end()


def test_workers_on_different_nodes_do_all_tasks_while_the_leader_is_killed(
    cluster: LocalCluster, workers: Workers
) -> None:
    with Client(cluster.addresses, timeout=40) as client:
        payloads = [b"%d" % number for number in range(600)]
        tasks = client.enqueue_many(workers.queue, payloads)
        for node in cluster.nodes:
            others = [each.native for each in cluster.nodes if each is not node]
            workers.start(",".join([node.native, *others]))
        wait_until(lambda: client.queue(workers.queue).counts.get("done", 0) > 100)
        leader = cluster.wait_leader()
        leader.kill()
        wait_until(lambda: client.queue(workers.queue).counts.get("done", 0) == 600, 60)
        assert all(process.poll() is None for process in workers.processes), "none was restarted"
        for task, payload in zip(tasks, payloads, strict=True):
            status = client.task(task.id)
            assert (status.state, status.result) == (TaskState.DONE, payload)
            assert (status.failures, status.crashes) == (0, 0), "no attempt was burnt"
        leader.start()
        cluster.wait_ready(60)
    for process in workers.processes:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(30) for process in workers.processes] == [0, 0, 0]


@pytest.mark.parametrize("number", range(3))
def test_sigterm_gives_the_lease_of_a_long_task_back_and_burns_no_attempt(
    cluster: LocalCluster, workers: Workers, number: int
) -> None:
    process = workers.start(cluster.nodes[number].native)
    with Client(cluster.addresses) as client:
        client.enqueue(workers.queue, b"sleep")
        wait_until(workers.runs)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        (lease,) = client.lease(workers.queue, worker="heir", wait=20)
        assert (lease.attempt, time.monotonic() - began < 10) == (1, True)
        assert process.wait(30) == 0
        assert client.requeue(lease.token) is TaskState.READY


@pytest.mark.parametrize("number", range(3))
def test_sigterm_to_a_polling_worker_strands_no_task(
    cluster: LocalCluster, workers: Workers, number: int
) -> None:
    process = workers.start(cluster.nodes[number].native)
    with Client(cluster.addresses) as client:
        client.enqueue(workers.queue, b"first")
        wait_until(lambda: client.queue(workers.queue).counts.get("done", 0) == 1)
        process.send_signal(signal.SIGTERM)
        task = client.enqueue(workers.queue, b"second")
        assert process.wait(30) == 0
        state = client.task(task.id).state
        assert state in (TaskState.READY, TaskState.DONE), "and not leased by nobody"


def test_a_killed_workers_task_is_run_by_another(cluster: LocalCluster, workers: Workers) -> None:
    process = workers.start(cluster.addresses)
    with Client(cluster.addresses) as client:
        task = client.enqueue(workers.queue, b"sleep")
        wait_until(workers.runs)
        process.kill()
        (lease,) = client.lease(workers.queue, worker="heir", wait=60)
        assert (lease.task_id, lease.attempt) == (task.id, 2)
        assert client.task(task.id).crashes == 1
