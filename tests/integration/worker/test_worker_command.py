"""`raftq worker` on a real cluster: deploys, deaths and hangs cost nobody else anything."""

import os
import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.worker import jobs
from tests.integration.worker.command import WorkerCommand, exists, is_running
from tests.support.clusters import wait_until

from raftq.cli.local_cluster import LocalCluster
from raftq.client import Client, EnqueuedTask, TaskState
from raftq.worker import Task

KINDS: dict[str, Task[..., Any]] = {
    "async": jobs.hold,
    "thread": jobs.hold_in_thread,
    "process": jobs.hold_in_process,
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes"), size=1) as running:
        yield running


@pytest.fixture
def client(cluster: LocalCluster) -> Generator[Client]:
    with Client(cluster.addresses) as made:
        yield made
        leases = made.lease(["default", "narrow"], worker="cleaner", count=100)
        for lease in leases:
            made.ack(lease.token)


@pytest.fixture
def worker(cluster: LocalCluster, tmp_path: Path) -> Generator[WorkerCommand]:
    made = WorkerCommand(tmp_path, cluster.addresses)
    yield made
    made.end()


def enqueue(client: Client, task: Task[..., Any], *args: object, **options: Any) -> EnqueuedTask:
    """Enqueue a task as its App would."""
    return client.enqueue(task.queue, task.payload(args, {}, {}, options.get("timeout_ms")))


def is_done(client: Client, task: EnqueuedTask) -> bool:
    return client.task(task.id).state is TaskState.DONE


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_signal_lets_runs_end_and_leases_no_more(
    worker: WorkerCommand, client: Client, kind: str
) -> None:
    task = enqueue(client, KINDS[kind], str(worker.folder))
    worker.start_and_wait("jobs:app", "-c", "1")
    wait_until(lambda: worker.marks("began"))
    worker.send(signal.SIGTERM)
    wait_until(lambda: worker.events("worker_process_drains"))
    later = enqueue(client, jobs.version)
    worker.open_gate()
    assert worker.wait() == 0
    status = client.task(task.id)
    assert (status.state, status.attempts) == (TaskState.DONE, 1)
    assert client.task(later.id).state is TaskState.READY


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_signal_gives_leases_back_at_once_and_burns_no_attempt(
    worker: WorkerCommand, client: Client, kind: str
) -> None:
    task = enqueue(client, KINDS[kind], str(worker.folder))
    worker.start_and_wait()
    wait_until(lambda: worker.marks("began"))
    worker.send(signal.SIGINT)
    wait_until(lambda: worker.events("worker_process_drains"))
    worker.send(signal.SIGINT)
    assert worker.wait(15) == 0
    status = client.task(task.id)
    assert (status.state, status.attempts) == (TaskState.READY, 0)
    assert (status.failures, status.crashes) == (0, 0)


def test_runs_that_outlast_the_drain_are_given_back(worker: WorkerCommand, client: Client) -> None:
    tasks = [enqueue(client, each, str(worker.folder)) for each in KINDS.values()]
    worker.start_and_wait("jobs:app", "--drain", "200ms")
    wait_until(lambda: len(worker.marks("began")) == 3)
    worker.send(signal.SIGTERM)
    assert worker.wait(20) == 0
    states = [(client.task(each.id).state, client.task(each.id).attempts) for each in tasks]
    assert states == [(TaskState.READY, 0)] * 3


def test_a_signal_to_every_process_is_one_signal(worker: WorkerCommand, client: Client) -> None:
    """systemd signals a whole group; the parent passes its own on all the same."""
    tasks = [enqueue(client, each, str(worker.folder)) for each in KINDS.values()]
    worker.start_and_wait("jobs:app")
    wait_until(lambda: len(worker.marks("began")) == 3)
    worker.send_to_all(signal.SIGTERM)
    wait_until(lambda: worker.events("worker_process_drains"))
    worker.open_gate()
    assert worker.wait() == 0
    assert all(client.task(each.id).attempts == 1 and is_done(client, each) for each in tasks)


def test_a_worker_whose_cluster_is_away_says_so_and_stops_when_told(tmp_path: Path) -> None:
    worker = WorkerCommand(tmp_path, "127.0.0.1:1")
    try:
        worker.start()
        wait_until(lambda: worker.events("cluster_unreachable"))
        assert "raftq dev" in worker.events("cluster_unreachable")[0]["advice"]
        worker.send(signal.SIGTERM)
        assert worker.wait(20) == 0
    finally:
        worker.end()


# ---------------------------------------------------------------- deaths


def test_a_child_process_that_dies_is_a_crash_and_its_task_comes_back_at_once(
    worker: WorkerCommand, client: Client
) -> None:
    worker.start_and_wait()
    began = time.monotonic()
    task = enqueue(client, jobs.die_once, str(worker.folder))
    wait_until(lambda: is_done(client, task))
    assert time.monotonic() - began < 20, "long before the lease would have run out"
    status = client.task(task.id)
    assert (status.attempts, status.crashes, status.failures) == (2, 1, 0)


def test_a_task_that_kills_its_process_each_time_ends_dead(
    worker: WorkerCommand, client: Client
) -> None:
    worker.start_and_wait()
    task = enqueue(client, jobs.die_always, str(worker.folder))
    healthy = enqueue(client, jobs.version)
    wait_until(lambda: client.task(task.id).state is TaskState.DEAD, 60)
    status = client.task(task.id)
    assert (status.crashes, status.failures) == (10, 0)
    wait_until(lambda: is_done(client, healthy))


def test_a_worker_process_that_is_killed_is_replaced_and_its_tasks_run_again(
    worker: WorkerCommand, client: Client
) -> None:
    task = enqueue(client, jobs.hold_in_process, str(worker.folder))
    worker.start_and_wait("jobs:app", "--lease", "1s")
    wait_until(lambda: worker.marks("began"))
    (killed,) = worker.worker_pids()
    (child,) = (int(line.split()[1]) for line in worker.marks("began"))
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: worker.events("worker_process_died"))
    wait_until(lambda: not is_running(child))
    wait_until(lambda: len(worker.marks("began")) == 2)
    worker.open_gate()
    wait_until(lambda: is_done(client, task))
    assert client.task(task.id).crashes == 1
    assert worker.worker_pids() != [killed]


def test_worker_processes_whose_parent_is_gone_drain_and_end(
    worker: WorkerCommand, client: Client
) -> None:
    tasks = [enqueue(client, each, str(worker.folder)) for each in KINDS.values()]
    worker.start_and_wait("jobs:app", "--processes", "2")
    wait_until(lambda: len(worker.marks("began")) == 3)
    below = worker.pids()[1:]
    worker.send(signal.SIGKILL)
    worker.wait()
    wait_until(lambda: worker.events("worker_process_drains"))
    worker.open_gate()
    wait_until(lambda: not any(is_running(pid) for pid in below))
    assert all(is_done(client, each) for each in tasks)


def test_orphans_are_reaped_as_process_1_must(worker: WorkerCommand, client: Client) -> None:
    worker.start_and_wait("jobs:app", as_reaper=True)
    enqueue(client, jobs.leave_an_orphan, str(worker.folder))
    wait_until(lambda: worker.marks("left-"))
    orphan = int(worker.marks("left-")[0].split()[0].removeprefix("left-"))
    wait_until(lambda: not exists(orphan))


# ---------------------------------------------------------------- hangs


def test_a_thread_that_hangs_fails_its_task_and_costs_no_other(
    worker: WorkerCommand, client: Client
) -> None:
    worker.start_and_wait()
    (before,) = worker.worker_pids()
    neighbour = enqueue(client, jobs.hold, str(worker.folder))
    wait_until(lambda: worker.marks("began"))
    task = enqueue(client, jobs.hang, timeout_ms=200)
    wait_until(lambda: worker.events("worker_gives_up"))
    assert client.task(task.id).state is TaskState.LEASED, "no second attempt runs beside it"
    worker.open_gate()
    wait_until(lambda: worker.worker_pids() not in ([before], []))
    status = client.task(task.id)
    assert status.failures >= 1 and status.crashes == 0
    assert status.errors[0].startswith("raftq.worker.TimeLimitExceeded: the run was stopped")
    assert "in hang" in status.errors[0]
    assert (is_done(client, neighbour), client.task(neighbour.id).attempts) == (True, 1)
    later = enqueue(client, jobs.version)
    wait_until(lambda: is_done(client, later))


@pytest.mark.parametrize("task", [jobs.hang_in_thread, jobs.hang_on_the_loop])
def test_code_that_hangs_keeps_no_worker_from_stopping(
    worker: WorkerCommand, client: Client, task: Task[..., Any]
) -> None:
    made = enqueue(client, task, str(worker.folder))
    worker.start_and_wait()
    wait_until(lambda: worker.marks("began"))
    worker.send(signal.SIGTERM)
    wait_until(lambda: worker.events("worker_process_drains"))
    began = time.monotonic()
    worker.send(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert time.monotonic() - began < 15
    status = client.task(made.id)
    assert (status.state, status.attempts) == (TaskState.READY, 0)


# ---------------------------------------------------------------- queues and code


def test_no_more_tasks_of_a_queue_run_than_its_limit(worker: WorkerCommand, client: Client) -> None:
    tasks = [enqueue(client, jobs.overlap, str(worker.folder)) for _ in range(20)]
    others = [enqueue(client, jobs.version) for _ in range(20)]
    worker.start_and_wait("jobs:app", "-q", "default", "-q", "narrow:2", "-c", "8")
    wait_until(lambda: all(is_done(client, each) for each in (*tasks, *others)))
    running, most = 0, 0
    for line in worker.marks():
        running += 1 if line.startswith("in") else -1
        most = max(most, running)
    assert most == 2


def test_changed_code_is_loaded_and_broken_code_is_waited_for(
    worker: WorkerCommand, client: Client
) -> None:
    worker.start_and_wait("jobs:app", "--reload")
    source = worker.folder / "jobs.py"
    text = source.read_text()
    source.write_text(text.replace('VERSION = "first"', 'VERSION = "second'))
    wait_until(lambda: worker.events("worker_waits"))
    assert "SyntaxError" in worker.log
    source.write_text(text.replace('VERSION = "first"', 'VERSION = "third"'))
    wait_until(lambda: len(worker.events("worker_ready")) == 2)
    task = enqueue(client, jobs.version)
    wait_until(lambda: is_done(client, task))
    assert jobs.version.decode_result(client.task(task.id).result) == "third"
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
