"""docs/examples/mailing: one small application in the surroundings in which people use Apps."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.integration.worker.command import WorkerCommand
from tests.support.clusters import ENVIRONMENT
from tests.support.plugin import start_pytest

from raftq.cli.local_cluster import LocalCluster

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "examples" / "mailing"
SURROUNDINGS = Path(__file__).with_name("surroundings.py")
NOTEBOOK = FOLDER / "notebook.ipynb"
STRICT = (sys.executable, "-X", "dev", "-W", "error")
"""Warnings end a program, also those of sockets that nobody has closed."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the examples."""
    made = tmp_path_factory.mktemp("examples") / "mailing"
    shutil.copytree(FOLDER, made, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3"))
    return made


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes"), size=1) as running:
        yield running


def run(folder: Path, *command: str, addresses: str = "127.0.0.1:1") -> str:
    """Run a program of the examples to its end, and return what it says."""
    ended = subprocess.run(
        [*STRICT, *command],
        cwd=folder,
        env=ENVIRONMENT | {"RAFTQ_ADDRESSES": addresses, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    return ended.stdout


def worker(folder: Path, cluster: LocalCluster, target: str) -> Generator[None]:
    """Run a worker, which must end as well as it began."""
    command = WorkerCommand(folder, cluster.addresses)
    try:
        command.start_and_wait(target)
        yield
        command.send(signal.SIGTERM)
        assert command.wait() == 0
        assert not [line for line in command.log.splitlines() if '"level": "error"' in line]
    finally:
        command.end()


@pytest.fixture(scope="module")
def mail_worker(folder: Path, cluster: LocalCluster) -> Generator[None]:
    yield from worker(folder, cluster, "mailing:app")


@pytest.fixture
def django_worker(folder: Path, cluster: LocalCluster) -> Generator[None]:
    run(folder, "manage.py", "migrate", "--run-syncdb", "--verbosity=0")
    yield from worker(folder, cluster, "mailsite.worker:app")


def test_the_tests_of_the_examples_pass_without_a_cluster(folder: Path) -> None:
    running = start_pytest(folder, "-W", "error", "-q")
    said, _ = running.communicate(timeout=90)
    assert running.returncode == 0, said
    assert "8 passed" in said


def test_the_tests_of_the_django_site_pass_without_a_cluster(folder: Path) -> None:
    ended = subprocess.run(
        [*STRICT, "manage.py", "test", "mailsite"],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Ran 4 tests" in ended.stderr


@pytest.mark.usefixtures("mail_worker")
@pytest.mark.parametrize(("mode", "mails"), [("fastapi", 2), ("flask", 4)])
def test_a_server_enqueues_and_tells_the_result(
    folder: Path, cluster: LocalCluster, mode: str, mails: int
) -> None:
    said = run(folder, str(SURROUNDINGS), mode, addresses=cluster.addresses)
    assert said.splitlines() == ["Hello to a@example.org"] * mails


@pytest.mark.usefixtures("django_worker")
def test_django_enqueues_when_it_has_committed(folder: Path, cluster: LocalCluster) -> None:
    said = run(folder, str(SURROUNDINGS), "django", addresses=cluster.addresses)
    assert said.splitlines() == ["confirmed", "1 enqueued", "confirmed"]


@pytest.mark.usefixtures("mail_worker")
def test_a_script_closes_nothing_and_ends(folder: Path, cluster: LocalCluster) -> None:
    said = run(folder, "script.py", addresses=cluster.addresses)
    assert said.splitlines() == ["50 of 100", "100 of 100", "5050 words"]


@pytest.mark.usefixtures("mail_worker")
def test_the_cells_of_the_notebook_give_what_it_shows(folder: Path, cluster: LocalCluster) -> None:
    shown = [
        text
        for cell in json.loads(NOTEBOOK.read_text())["cells"]
        for output in cell.get("outputs", [])
        for text in output["data"]["text/plain"]
    ]
    said = run(folder, str(SURROUNDINGS), "notebook", addresses=cluster.addresses)
    assert said.splitlines() == shown and len(shown) == 4
