"""Real clusters of node processes for tests, and programs of the command line."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("RAFTQ_")}


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int
    out: str
    err: str


def raftq(*arguments: str, stdin: bytes = b"", **environment: str) -> Ended:
    """Run `raftq` to its end."""
    ended = subprocess.run(
        [sys.executable, "-m", "raftq.cli.main", *arguments],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
        env=ENVIRONMENT | environment,
    )
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def start_raftq(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start `raftq`; the caller ends it."""
    return subprocess.Popen(
        [sys.executable, "-m", "raftq.cli.main", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | environment,
    )


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: It did not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not hold in time")
        time.sleep(0.02)
