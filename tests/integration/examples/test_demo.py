"""The demo is the main job: nodes are killed in the middle and nothing is lost."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[3] / "docs" / "examples" / "demo" / "main.py"
FILES = 240


@pytest.mark.parametrize(
    ("victim", "part"), [("leader", 0.0), ("leader", 0.9), ("follower", 0.3), ("all", 0.5)]
)
def test_nothing_is_lost_or_recorded_twice_whoever_is_killed(victim: str, part: float) -> None:
    command = [
        sys.executable,
        str(DEMO),
        "--files",
        str(FILES),
        "--kill",
        victim,
        "--at",
        str(part),
    ]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=110)
    figures = re.findall(
        r"tasks (\d+), results (\d+), lost (\d+), recorded twice (\d+), failover (\d+) ms",
        finished.stdout,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert figures and figures[0][:4] == (str(FILES), str(FILES), "0", "0"), finished.stdout
