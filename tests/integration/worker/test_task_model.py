"""The whole task model through an App, its worker and a real node."""

import shutil
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.worker import model_app
from tests.integration.worker.command import WorkerCommand
from tests.support.clusters import wait_until

from raftq.cli.local_cluster import LocalCluster
from raftq.client import AsyncClient, Client, TaskState
from raftq.worker import App
from raftq.worker.connections import Connections
from raftq.worker.errors import TaskFailed
from raftq.worker.job import Job


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes"), size=1) as running:
        yield running


@pytest.fixture(scope="module")
def worker(
    cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> Generator[WorkerCommand]:
    folder = tmp_path_factory.mktemp("worker")
    shutil.copy(Path(model_app.__file__), folder / "model_app.py")
    command = WorkerCommand(folder, cluster.addresses)
    command.start_and_wait("model_app:app", "--lease", "1s")
    yield command
    command.send(signal.SIGTERM)
    assert command.wait() == 0
    assert "Warning" not in command.log


@pytest.fixture(autouse=True)
def app(cluster: LocalCluster, worker: WorkerCommand) -> Generator[App]:
    app = model_app.app
    app.access = Connections(
        lambda: Client(cluster.addresses), lambda: AsyncClient(cluster.addresses)
    )
    yield app
    app.close()


def failed(job: Job[Any]) -> TaskFailed:
    with pytest.raises(TaskFailed) as error:
        job.result("30s")
    return error.value


def test_a_chain_hands_results_from_step_to_step(app: App) -> None:
    chain = app.chain(model_app.number.s(1), model_app.add.s(10), model_app.add.s(100))
    assert chain.enqueue().result("30s") == 111


@pytest.mark.parametrize("task", [model_app.total, model_app.total_elsewhere])
def test_a_join_fires_once_with_the_results_in_order(
    app: App, worker: WorkerCommand, task: Any
) -> None:
    members = [app.chain(model_app.number.s(each), model_app.add.s(1)) for each in range(20)]
    job = app.group(members).join(task.s()).enqueue()
    assert job.result("60s") == sum(range(1, 21))
    assert job.status().attempts == 1
    if task is model_app.total_elsewhere:
        wait_until(lambda: worker.marks("summed 210"))
        assert job.progress() == {"members": 20}


def test_a_task_finds_the_results_of_its_parents(app: App) -> None:
    parents = [model_app.number.enqueue(each) for each in (3, 4)]
    job = model_app.look_back.options(depends_on=parents).enqueue()
    assert job.result("30s") == [6, 8]


def test_when_a_step_fails_those_after_it_are_cancelled(app: App) -> None:
    job = app.chain(model_app.give_up.s(), model_app.note.s("never").without_results()).enqueue()
    assert failed(job).state is TaskState.CANCELLED


@pytest.mark.parametrize("task", [model_app.hold, model_app.hold_thread, model_app.hold_process])
def test_a_cancelled_run_is_ended_wherever_it_runs(worker: WorkerCommand, task: Any) -> None:
    word = task.name
    job = task.options(limit_key=word).enqueue(word)
    wait_until(lambda: worker.marks(f"{word} began"))
    with Client(worker.addresses) as client:

        def slots() -> int:
            return sum(each.leased for each in client.limits() if each.key == word)

        assert slots() == 1
        assert job.cancel() is TaskState.CANCELLED
        assert slots() == 1, "while the worker may still run it, its place is taken"
        wait_until(lambda: slots() == 0)
    if task is not model_app.hold_process:
        assert worker.marks(f"{word} cancelled")
    assert failed(job).state is TaskState.CANCELLED


def test_a_child_process_that_dies_is_a_crash_with_its_reason() -> None:
    error = failed(model_app.die.enqueue())
    status = model_app.app.job(error.task_id).status()
    assert (status.crashes, status.failures) == (2, 0)
    assert "SIGKILL" in error.reasons[-1] and status.history[-1].end == "crashed"


def test_a_task_says_itself_whether_and_when_it_is_tried_again() -> None:
    error = failed(model_app.give_up.enqueue())
    assert (error.state, len(error.reasons)) == (TaskState.DEAD, 1)
    assert error.remote_message == "no such user"
    job = model_app.later.enqueue()
    assert job.result("30s") == 2
    (attempt,) = job.status().history
    finished = job.status().finished_at_ms
    assert finished is not None and finished - attempt.ended_at_ms >= 500


def test_progress_is_seen_while_it_runs_and_follow_ups_come_with_the_result(
    app: App, worker: WorkerCommand
) -> None:
    job = model_app.greet.enqueue("ada")
    wait_until(lambda: job.progress() == "half")
    assert job.status().state is TaskState.LEASED
    follower = app.job(job.result("30s"))
    follower.result("30s")
    assert worker.marks("hello ada")


def test_a_prepared_task_runs_when_it_is_confirmed_or_when_its_check_says_so(
    worker: WorkerCommand,
) -> None:
    confirmed = model_app.pay.enqueue("confirmed")
    assert confirmed.status().state is TaskState.BLOCKED
    confirmed.confirm()
    assert confirmed.result("30s") == "paid confirmed"
    committed, forgotten = model_app.pay.enqueue("committed 7"), model_app.pay.enqueue("lost 8")
    assert committed.result("30s") == "paid committed 7"
    assert failed(forgotten).state is TaskState.CANCELLED
    assert sorted(worker.marks("checked")) == ["checked committed 7", "checked lost 8"]


def test_the_worker_told_the_cluster_of_the_schedule_and_it_fires(
    app: App, worker: WorkerCommand
) -> None:
    (told,) = worker.events("worker_ready")
    assert (told["schedules"], told["schedules_changed"]) == (1, ["ticking"])
    assert app.sync_schedules() == []
    wait_until(lambda: len(worker.marks("tick")) >= 2)


def test_a_schedule_that_the_cluster_refuses_ends_the_worker(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    (tmp_path / "wrong.py").write_text(
        "from raftq.worker import App\n\napp = App()\n\n"
        "@app.schedule('61 * * * *')\n@app.task\ndef work() -> None: ...\n"
    )
    command = WorkerCommand(tmp_path, cluster.addresses)
    command.start("wrong:app")
    assert command.wait() == 2
    assert "schedule 'work'" in command.log and "61 * * * *" in command.log
