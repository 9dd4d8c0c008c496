"""`raftq worker` as a process of a test: its log, its processes, what its tasks did."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from tests.support.clusters import ENVIRONMENT, wait_until

JOBS = Path(__file__).with_name("jobs.py")
_PR_SET_CHILD_SUBREAPER = 36


class WorkerCommand:
    """A worker on the App of `jobs.py`, in a folder of its own."""

    def __init__(self, folder: Path, addresses: str) -> None:
        self.folder = folder
        self.addresses = addresses
        self.process: subprocess.Popen[bytes] | None = None
        shutil.copy(JOBS, folder / "jobs.py")

    def start(self, *arguments: str, as_reaper: bool = False) -> None:
        """Start the command."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "raftq.cli.main", "worker", *(arguments or ("jobs:app",))],
                cwd=self.folder,
                env=ENVIRONMENT | {"RAFTQ_ADDRESSES": self.addresses},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_become_reaper if as_reaper else _hear_interrupts,
            )

    def start_and_wait(self, *arguments: str, as_reaper: bool = False) -> None:
        """Start the command and wait until its first process works."""
        self.start(*arguments, as_reaper=as_reaper)
        wait_until(lambda: self.events("worker_ready"))

    @property
    def log(self) -> str:
        """What it has logged and printed."""
        return (self.folder / "log").read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of the log with an event."""
        lines = [line for line in self.log.splitlines() if line.startswith("{")]
        found = [cast("dict[str, Any]", json.loads(line)) for line in lines if line.endswith("}")]
        return [each for each in found if each["event"] == name]

    def marks(self, word: str = "") -> list[str]:
        """Return what tasks have noted, the pid after each word."""
        path = self.folder / "marks"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(word)]

    def open_gate(self) -> None:
        """Let the tasks that hold end."""
        (self.folder / "gate").touch()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the parent."""
        assert self.process is not None
        self.process.send_signal(number)

    def send_to_all(self, number: signal.Signals) -> None:
        """Send a signal to every process, as systemd does."""
        for pid in self.pids():
            os.kill(pid, number)

    def wait(self, seconds: float = 30.0) -> int:
        """Wait for the end and return the exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def pids(self) -> list[int]:
        """Return the parent and everything below it."""
        assert self.process is not None
        found = [self.process.pid]
        for pid in found:
            found += children_of(pid)
        return found

    def worker_pids(self) -> list[int]:
        """Return the worker processes."""
        assert self.process is not None
        return children_of(self.process.pid)

    def end(self) -> None:
        """Kill whatever is left."""
        if self.process is None or self.process.poll() is not None:
            return
        for pid in reversed(self.pids()):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()


def children_of(pid: int) -> list[int]:
    """Return a process's children, or none if it has ended."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def exists(pid: int) -> bool:
    """Return whether there is such a process; a dead one that nobody has reaped is one."""
    return Path(f"/proc/{pid}").exists()


def is_running(pid: int) -> bool:
    """Return whether a process lives."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _hear_interrupts() -> None:
    # A run in the background of a shell ignores SIGINT, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _become_reaper() -> None:
    """Inherit orphans, as process 1 of a container does."""
    _hear_interrupts()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
