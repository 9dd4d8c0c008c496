"""The README's way from an empty folder to a producer, a worker and a schedule.

Everything comes from the built wheel, in a virtual environment of its own.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest
from tests.integration.cli.test_dev import free_base_port
from tests.support.clusters import ENVIRONMENT

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
EXAMPLE_ADDRESSES = "127.0.0.1:7601,127.0.0.1:7602,127.0.0.1:7603"
TASKS, PRODUCER = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
WAIT_SECONDS = 60.0
PLAIN = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONPATH"}


class _Schedule(msgspec.Struct):
    runs: int


class _Listed(msgspec.Struct):
    schedules: list[_Schedule]


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment in which the wheel is installed, and nothing of the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*wheel, "--wheel-dir", folder, ROOT], check=True, cwd=folder)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    (built,) = folder.glob("*.whl")
    pip = folder / "venv" / "bin" / "pip"
    subprocess.run([pip, "install", "--quiet", "--disable-pip-version-check", built], check=True)
    return folder / "venv" / "bin"


@pytest.fixture(scope="module")
def addresses(bin_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Of the nodes that `raftq dev` starts."""
    command: list[str | Path] = [
        bin_folder / "raftq",
        "dev",
        "--json",
        "--base-port",
        str(free_base_port()),
    ]
    temporary = PLAIN | {"TMPDIR": str(tmp_path_factory.mktemp("dev"))}
    with subprocess.Popen(command, env=temporary, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            yield json.loads(running.stdout.readline())["addresses"]
        finally:
            running.terminate()


@pytest.mark.timeout(300)
def test_a_new_user_gets_a_producer_a_worker_and_a_schedule_to_work(
    bin_folder: Path, addresses: str, tmp_path: Path
) -> None:
    assert EXAMPLE_ADDRESSES in TASKS and "raftq worker mail:app" in README
    (tmp_path / "mail.py").write_text(TASKS.replace(EXAMPLE_ADDRESSES, addresses))
    (tmp_path / "producer.py").write_text(PRODUCER)
    raftq, python = bin_folder / "raftq", bin_folder / "python"
    told = PLAIN | {"RAFTQ_ADDRESSES": addresses}
    worker = subprocess.Popen([raftq, "worker", "mail:app"], cwd=tmp_path, env=PLAIN)
    try:
        said = subprocess.run(
            [python, "producer.py"],
            cwd=tmp_path,
            env=PLAIN,
            capture_output=True,
            text=True,
            check=True,
            timeout=WAIT_SECONDS,
        )
        assert said.stdout.splitlines() == re.findall(r"^print.*# (.*)$", PRODUCER, re.MULTILINE)
        deadline = time.monotonic() + WAIT_SECONDS
        while not _runs([raftq, "schedule", "list", "--json"], told):
            assert time.monotonic() < deadline, "the schedule enqueues nothing"
            time.sleep(0.2)
    finally:
        worker.terminate()
        assert worker.wait(WAIT_SECONDS) == 0


def _runs(command: list[str | Path], environment: dict[str, str]) -> int:
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    listed = msgspec.json.decode(shown.stdout, type=_Listed)
    return sum(each.runs for each in listed.schedules)
