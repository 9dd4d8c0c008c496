"""Real clusters of node processes for tests, and programs of the command line."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper

from raftq.cli.commands import run

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("RAFTQ_")}
ENVIRONMENT["XDG_CONFIG_HOME"] = os.devnull  # Nobody's own raftq/config.toml is read.


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


def raftq_inside(*arguments: str, stdin: bytes = b"", **environment: str) -> Ended:
    """Run `raftq` in this process, which is much faster than in one of its own."""
    before = dict(os.environ), sys.stdin, sys.stdout, sys.stderr
    streams = [TextIOWrapper(BytesIO(each), encoding="utf-8") for each in (stdin, b"", b"")]
    try:
        for key in before[0].keys() - ENVIRONMENT.keys():
            del os.environ[key]
        os.environ.update(environment)
        sys.stdin, sys.stdout, sys.stderr = streams
        try:
            run(arguments)
            code: object = 0
        except SystemExit as end:
            code = end.code or 0
    finally:
        _, sys.stdin, sys.stdout, sys.stderr = before
        os.environ.clear()
        os.environ.update(before[0])
    assert isinstance(code, int)
    return Ended(code, _written(streams[1]), _written(streams[2]))


def _written(stream: TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


def start_raftq(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start `raftq`; the caller ends it."""
    return subprocess.Popen(
        [sys.executable, "-m", "raftq.cli.main", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | environment,
        # A run in the background of a shell ignores SIGINT, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
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
