"""Apps against a real cluster: from enqueue to the result, and from every kind of program."""

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.integration.worker import apps
from tests.integration.worker.command import WorkerCommand
from tests.support.asyncs import asynchronous
from tests.support.clusters import ENVIRONMENT

from raftq.cli.local_cluster import LocalCluster
from raftq.client import AsyncClient, Client, TaskState
from raftq.worker import App
from raftq.worker.connections import Connections
from raftq.worker.errors import ResultTimeout, TaskFailed

PROGRAM = Path(apps.__file__)
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes")) as running:
        yield running


def start(mode: str, cluster: LocalCluster) -> subprocess.Popen[str]:
    """Start a program in which any warning is an error."""
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", str(PROGRAM), mode],
        env=ENVIRONMENT | {"RAFTQ_ADDRESSES": cluster.addresses, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def worker(
    cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> Generator[WorkerCommand]:
    """`raftq worker` at work on the App of the programs."""
    folder = tmp_path_factory.mktemp("worker")
    shutil.copy(PROGRAM, folder / "apps.py")
    command = WorkerCommand(folder, cluster.addresses)
    command.start_and_wait("apps:app")
    yield command
    command.send(signal.SIGTERM)
    assert command.wait() == 0
    assert "Warning" not in command.log


@pytest.fixture
def app(cluster: LocalCluster, worker: WorkerCommand) -> Generator[App]:
    """The App of the programs, here."""
    app = apps.app
    app.access = Connections(
        lambda: Client(cluster.addresses), lambda: AsyncClient(cluster.addresses)
    )
    yield app
    app.close()


def test_results_come_back_typed_from_threads_and_from_the_loop(app: App) -> None:
    key = uuid4()
    job = apps.send.enqueue("a@example.org", key=key)
    assert job.result("30s") == ("a@example.org", key, 1)
    jobs = app.enqueue_many([apps.add.draft(each, 1) for each in range(50)])
    assert app.gather(jobs, "30s") == list(range(1, 51))
    assert {job.id for job in app.as_completed(jobs)} == {job.id for job in jobs}
    assert app.job(job.id).status().state is TaskState.DONE


@asynchronous
async def test_results_come_back_in_async_code(app: App) -> None:
    jobs = await app.aenqueue_many([apps.add.draft(each, 1) for each in range(50)])
    assert await app.agather(jobs, "30s") == list(range(1, 51))
    one = await apps.add.options(delay="200ms").aenqueue(1, 2)
    assert [await job.aresult() async for job in app.as_completed([one], "30s")] == [3]
    await app.aclose()


def test_what_the_last_attempt_raised_comes_back(app: App) -> None:
    job = apps.send.enqueue("full", key=uuid4())
    with pytest.raises(TaskFailed) as failed:
        job.result("30s")
    error = failed.value
    assert (error.state, len(error.reasons)) == (TaskState.DEAD, 2)
    assert (error.remote_type, error.remote_message) == ("apps.MailboxFull", "attempt 2")
    assert 'raise MailboxFull(f"attempt' in error.remote_traceback
    assert "raftq/worker" not in error.remote_traceback, "only the task's own calls are shown"
    with pytest.raises(ResultTimeout):
        apps.add.options(delay="1h").enqueue(1, 2).result("50ms")


@pytest.mark.parametrize(
    ("mode", "count"),
    [("blocking", 1), ("threads", 8), ("loops", 4), ("tornado", 1), ("fork", 8), ("close", 4)],
)
def test_every_kind_of_program_enqueues_and_ends_without_a_warning(
    cluster: LocalCluster, mode: str, count: int
) -> None:
    said, warned = start(mode, cluster).communicate(timeout=60)
    assert not warned
    ids = [UUID(line) for line in said.split()]
    assert len(set(ids)) == len(ids) == count
    with Client(cluster.addresses) as client:
        for task_id in ids:
            assert client.task(task_id).attempts_max == 5


def test_a_result_is_waited_for_while_the_leader_is_killed(cluster: LocalCluster, app: App) -> None:
    async def wait() -> list[int]:
        jobs = await app.aenqueue_many([apps.add.draft(each, 0) for each in range(200)])
        waiting = asyncio.create_task(app.agather(jobs, "60s"))
        leader = await asyncio.to_thread(cluster.wait_leader)
        leader.kill()
        results = await waiting
        await asyncio.to_thread(leader.start)
        return results

    assert asyncio.run(wait()) == list(range(200))
    cluster.wait_ready(60)
