"""docs/howto/workers.md: its App works, its commands start, its numbers are the real ones."""

import re
import shlex
import signal
import sys
from collections.abc import Generator
from functools import partial
from pathlib import Path

import pytest
from tests.integration.worker.command import WorkerCommand
from tests.support.clusters import wait_until

from raftq.cli.local_cluster import LocalCluster
from raftq.client import Client, TaskState
from raftq.protocol import limits
from raftq.worker.executors.watch import GRACE_SECONDS
from raftq.worker.finding import load_app
from raftq.worker.runtime import UNKNOWN_TASK_DELAY_SECONDS
from raftq.worker.supervision import link
from raftq.worker.supervision.settings import DRAIN_SECONDS_DEFAULT, Settings

PAGE = (Path(__file__).parents[3] / "docs" / "howto" / "workers.md").read_text()
(APP,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)
    for line in block.splitlines()
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes"), size=1) as running:
        yield running


def is_done(client: Client, task_id: bytes) -> bool:
    return client.task(task_id).state is TaskState.DONE


def test_every_command_starts_a_worker_that_stops_well(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    assert len(COMMANDS) == 6
    workers: list[WorkerCommand] = []
    try:
        for number, command in enumerate(COMMANDS):
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "mail.py").write_text(APP)
            words = shlex.split(command)
            assert words[:2] == ["raftq", "worker"]
            workers.append(WorkerCommand(folder, cluster.addresses))
            workers[-1].start(*words[2:])
        for worker in workers:
            wait_until(partial(worker.events, "worker_ready"))
            worker.send(signal.SIGTERM)
        assert [worker.wait() for worker in workers] == [0] * len(COMMANDS)
    finally:
        for worker in workers:
            worker.end()


def test_the_tasks_of_the_page_run(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mail_of_the_page.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    app = load_app("mail_of_the_page:app")
    worker = WorkerCommand(tmp_path, cluster.addresses)
    try:
        worker.start_and_wait("mail_of_the_page:app")
        with Client(cluster.addresses) as client:
            arguments = {"send": "a@example.org", "archive": "/tmp/x", "report": 2}
            for name, argument in arguments.items():
                task = app.tasks[name]
                made = client.enqueue(task.queue, task.payload((argument,), {}, {}))
                wait_until(partial(is_done, client, made.id))
        assert worker.events("sending")[0]["task_name"] == "send"
    finally:
        worker.end()


def test_the_numbers_of_the_page_are_the_real_ones() -> None:
    assert f"within {DRAIN_SECONDS_DEFAULT:g} s (`--drain`)" in PAGE
    assert f"{GRACE_SECONDS:g} s later SIGKILL" in PAGE
    assert f"After {GRACE_SECONDS:g} s the worker process says" in PAGE
    assert f"plus {link.EXTRA_SECONDS:g} s" in PAGE
    assert f"({limits.LEASE_MS_DEFAULT // 1_000} s): crashes" in PAGE
    assert "for ten seconds" in PAGE and UNKNOWN_TASK_DELAY_SECONDS == 10
    assert "ten crashes" in PAGE and limits.CRASHES_MAX == 10
    assert f"{Settings(target='').concurrency} at a time" in PAGE
