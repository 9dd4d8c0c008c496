"""docs/howto/tasks.md: its programs run and print what they say, and its tables are complete."""

import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.integration.worker.command import WorkerCommand
from tests.support.clusters import ENVIRONMENT

from raftq.cli.local_cluster import LocalCluster
from raftq.protocol import limits
from raftq.worker.options import CALL_OPTIONS, TASK_OPTIONS, Policy

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "howto" / "tasks.md").read_text()
SHOP, *PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes"), size=1) as running:
        yield running


@pytest.fixture(scope="module")
def folder(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """A folder with the page's App, and a worker at work on it."""
    made = tmp_path_factory.mktemp("shop")
    (made / "shop.py").write_text(SHOP)
    worker = WorkerCommand(made, cluster.addresses)
    try:
        worker.start_and_wait("shop:app")
        yield made
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
    finally:
        worker.end()


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_each_program_prints_what_it_says(cluster: LocalCluster, folder: Path, number: int) -> None:
    program = PROGRAMS[number]
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        cwd=folder,
        env=ENVIRONMENT | {"RAFTQ_ADDRESSES": cluster.addresses},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == re.findall(r"^ *print\(.*\)  # (.*)$", program, re.M)


def test_the_programs_are_formatted_and_typed(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    for number, program in enumerate(PROGRAMS):
        (tmp_path / f"program{number}.py").write_text(program)
    style = str(ROOT / "pyproject.toml")
    for tool in (["mypy", "--strict"], ["ruff", "format", "--check", "--config", style]):
        ended = subprocess.run(
            [sys.executable, "-m", *tool, "."], cwd=tmp_path, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_table_has_every_option_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (yes)? ?\| (yes)? ?\| (.*) \|$", PAGE, re.M)
    assert {name for name, declared, _, _ in rows if declared} == TASK_OPTIONS
    assert {name for name, _, called, _ in rows if called} == CALL_OPTIONS
    words = {name: text for name, _, _, text in rows}
    default = Policy()
    assert words["queue"] == f"`{default.queue}`, unless given"
    assert f"to {limits.PRIORITY_MAX}, {default.priority} unless given" in words["priority"]
    assert default.attempts_max == 0, "the queue's"
    assert words["attempts_max"].endswith(f"which is {limits.ATTEMPTS_MAX_DEFAULT}")


def test_the_limits_of_the_page_are_the_real_ones() -> None:
    assert f"arguments of a call may have {limits.PAYLOAD_BYTES_MAX // limits.MIB} MiB" in PAGE
    assert f"A result may have {limits.RESULT_BYTES_MAX // limits.MIB} MiB" in PAGE
    assert "kept for an hour unless" in PAGE and limits.RESULT_RETENTION_MS == limits.HOUR_MS
