"""Runs of pytest with raftq's plugin, also where an older installation does not register it."""

import os
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

PLUGIN = "raftq.testing.pytest_plugin"
_IS_REGISTERED = any(each.value == PLUGIN for each in entry_points(group="pytest11"))
ARGUMENTS = () if _IS_REGISTERED else ("-p", PLUGIN)


def start_pytest(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start pytest in a folder; the caller ends it."""
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *ARGUMENTS, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A run in the background of a shell ignores SIGINT, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
