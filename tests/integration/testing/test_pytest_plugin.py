"""The pytest plugin as its users meet it: runs of pytest in folders of their own."""

import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from tests.support.clusters import wait_until
from tests.support.plugin import PLUGIN, start_pytest

ROOT = Path(__file__).parents[3]
APP = """
from raftq.worker import App

app = App()

@app.task
def double(number: int) -> int:
    return 2 * number
"""
USES_APP = """
from work import double

def test_one(raftq_app):
    job = double.enqueue(2)
    raftq_app.run_pending()
    assert job.result() == 4

def test_two(raftq_app):
    assert raftq_app.enqueued() == []
"""
USES_CLUSTER = """
import pathlib, time
from raftq.client import Client

def test_cluster(raftq_cluster):
    with Client(raftq_cluster.addresses) as client:
        client.enqueue("q", b"")
        assert len(client.cluster().nodes) == 3
    raftq_cluster.nodes[0].kill()
    raftq_cluster.nodes[0].start()
    pids = [str(node.process.pid) for node in raftq_cluster.nodes]
    pathlib.Path("told.part").write_text(" ".join([str(raftq_cluster.folder), *pids]))
    pathlib.Path("told.part").rename("told")

def test_the_same_cluster(raftq_cluster):
    with Client(raftq_cluster.addresses) as client:
        assert client.queue("q").counts["ready"] == 1
"""
USES_CLUSTER_FOR_LONG = (
    USES_CLUSTER
    + """
    time.sleep(100)
"""
)
SECONDS = 60.0


def outcome(folder: Path, **files: str) -> tuple[int, str]:
    """Run pytest on these files and return its exit code and what it said."""
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    running = start_pytest(folder, "-W", "error", "-q")
    said, _ = running.communicate(timeout=SECONDS)
    return running.returncode, said


# ------------------------------------------------------------ raftq_app


def test_the_app_is_named_in_the_settings(tmp_path: Path) -> None:
    settings = "[pytest]\nraftq_app = work:app\n"
    code, said = outcome(tmp_path, work__py=APP, test_it__py=USES_APP, pytest__ini=settings)
    assert (code, "2 passed" in said) == (0, True), said


@pytest.mark.parametrize("value", ["'work:app'", "__import__('work').app"])
def test_the_app_is_given_by_a_fixture(tmp_path: Path, value: str) -> None:
    conftest = f"import pytest\n@pytest.fixture\ndef raftq_app_path():\n    return {value}\n"
    code, said = outcome(tmp_path, work__py=APP, test_it__py=USES_APP, conftest__py=conftest)
    assert (code, "2 passed" in said) == (0, True), said


def test_a_test_begins_when_a_fixture_says(tmp_path: Path) -> None:
    test = """
from datetime import UTC, datetime
import pytest
import work

@pytest.fixture
def raftq_app_path():
    return work.app

@pytest.fixture
def raftq_start():
    return datetime(2030, 1, 1, tzinfo=UTC)

def test_it(raftq_app):
    assert raftq_app.clock.now == datetime(2030, 1, 1, tzinfo=UTC)
"""
    code, said = outcome(tmp_path, work__py=APP, test_it__py=test)
    assert code == 0, said


def test_without_a_name_the_error_says_how_to_give_one(tmp_path: Path) -> None:
    code, said = outcome(tmp_path, work__py=APP, test_it__py=USES_APP)
    assert code == 1 and "set `raftq_app = MODULE:NAME`" in said, said


def test_a_wrong_name_suggests_the_right_one(tmp_path: Path) -> None:
    settings = "[pytest]\nraftq_app = work:ap\n"
    code, said = outcome(tmp_path, work__py=APP, test_it__py=USES_APP, pytest__ini=settings)
    assert code == 1 and "did you mean 'app'" in said, said


def test_a_run_that_does_not_use_raftq_does_not_load_it(tmp_path: Path) -> None:
    test = """
import sys
def test_it():
    loaded = {each for each in sys.modules if each.split(".")[0] == "raftq"}
    assert loaded <= {"raftq", "raftq.testing", "raftq.testing.pytest_plugin"}
    assert "msgspec" not in sys.modules and "tornado" not in sys.modules
"""
    code, said = outcome(tmp_path, test_it__py=test)
    assert code == 0, said


def test_pytest_finds_the_plugin_by_itself() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"raftq": PLUGIN}
    assert import_module(PLUGIN).raftq_app


def test_raftq_testing_can_be_imported_without_pytest(tmp_path: Path) -> None:
    (tmp_path / "pytest.py").write_text("raise ImportError('there is no pytest')")
    program = "import raftq.testing as t; from raftq.testing import *; print(Testing.__name__)"
    said = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "Testing\n"


# ------------------------------------------------------------ raftq_cluster


class Nodes:
    """What a run of pytest told about its nodes."""

    def __init__(self, told: str) -> None:
        folder, *pids = told.split()
        self.folder = Path(folder)
        self.pids = [int(each) for each in pids]

    def are_gone(self) -> bool:
        """Whether nothing is left of them."""
        return not self.folder.exists() and not any(map(is_alive, self.pids))


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def running_with_nodes(folder: Path, test: str) -> Generator[tuple["subprocess.Popen[str]", Nodes]]:
    """Start pytest and wait until its nodes run."""
    (folder / "test_it.py").write_text(test)
    running = start_pytest(folder, "-q")
    try:
        told = folder / "told"
        wait_until(lambda: told.exists() or running.poll() is not None)
        assert told.exists(), running.communicate()[0]
        yield running, Nodes(told.read_text())
    finally:
        running.kill()
        running.communicate()


def test_the_cluster_is_started_once_and_gone_at_the_end(tmp_path: Path) -> None:
    with running_with_nodes(tmp_path, USES_CLUSTER) as (running, nodes):
        said, _ = running.communicate(timeout=SECONDS)
        assert running.returncode == 0 and "2 passed" in said, said
        assert len(nodes.pids) == 3 and nodes.are_gone()


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_cluster_is_gone_however_the_session_ends(
    tmp_path: Path, signal_number: signal.Signals
) -> None:
    with running_with_nodes(tmp_path, USES_CLUSTER_FOR_LONG) as (running, nodes):
        assert all(map(is_alive, nodes.pids))
        running.send_signal(signal_number)
        said, _ = running.communicate(timeout=SECONDS)
        assert running.returncode == (2 if signal_number is signal.SIGINT else -signal_number), said
        wait_until(nodes.are_gone)
