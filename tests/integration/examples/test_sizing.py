"""The program behind docs/operating/sizing.md prints every figure of its table."""

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[3] / "docs" / "examples" / "sizing.py"
FIGURES = 12


def test_sizing_measures_memory_disk_cpu_and_descriptors() -> None:
    command = [sys.executable, str(PROGRAM), "8000"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert finished.returncode == 0, finished.stderr
    found = dict(re.findall(r"^(\w.*?) {2,}([0-9.,]+) ?\w*$", finished.stdout, re.MULTILINE))
    figures = {what: float(value.replace(",", "")) for what, value in found.items()}
    assert len(figures) >= FIGURES, finished.stdout
    assert 256 < figures["disk of a waiting task, leader"] < 1_000
    assert figures["file descriptors of a connection"] == 1.0
    assert figures["memory of an idle node"] > 10
