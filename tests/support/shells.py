"""`raftq` against one cluster, as a person or a script uses it."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from typing import Any
from uuid import uuid4

from tests.support.clusters import ENVIRONMENT, Ended, raftq_inside

from raftq.cli.local_cluster import LocalCluster


class Shell:
    """`raftq` with the cluster's addresses in the environment."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self.queue = f"q-{uuid4().hex}"

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Ended:
        return raftq_inside(*arguments, stdin=stdin, RAFTQ_ADDRESSES=self.cluster.addresses)

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Return the JSON that a command prints."""
        ended = self(*arguments, "--json")
        assert (ended.code, ended.err) == (code, "")
        assert ended.out.count("\n") == 1, "one line"
        found: dict[str, Any] = json.loads(ended.out)
        return found

    def words(self, *arguments: str, code: int = 0) -> str:
        """Return what a command prints for a person."""
        ended = self(*arguments)
        assert ended.code == code, ended.err
        return ended.out

    def refused(self, *arguments: str, code: int) -> str:
        """Return what a command says when it ends with this code and prints nothing."""
        ended = self(*arguments)
        assert (ended.code, ended.out) == (code, "")
        return ended.err

    def enqueue(self, *options: str, payload: str = "x") -> str:
        """Enqueue a task and return its id."""
        return self.words("enqueue", self.queue, payload, *options).strip()

    def leased(self) -> dict[str, Any]:
        """Lease a task of the queue."""
        (lease,) = self.json("lease", self.queue)["leases"]
        found: dict[str, Any] = lease
        return found

    def die(self) -> str:
        """Enqueue a task, let it fail until it is dead, and return its id."""
        task_id = self.enqueue("--attempts-max", "1")
        assert self.words("fail", str(self.leased()["token"]), "no luck") == "dead\n"
        return task_id

    def state(self, task_id: str) -> str:
        """Return a task's state."""
        return str(self.json("status", task_id)["state"])


class Terminal:
    """`raftq` in a terminal of its own. Use it in `with`."""

    def __init__(
        self, *arguments: str, columns: int = 80, lines: int = 24, **environment: str
    ) -> None:
        self._primary, secondary = pty.openpty()
        termios.tcsetwinsize(secondary, (lines, columns))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "raftq.cli.main", *arguments],
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            env={**ENVIRONMENT, "TERM": "xterm", **environment},
            start_new_session=True,
        )
        os.close(secondary)
        self.output = ""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._primary)

    def expect(self, text: str, seconds: float = 30.0) -> str:
        """Read until a text is shown that was not read before; return what was read.

        Raises:
            TimeoutError: It was not shown in time.
        """
        deadline = time.monotonic() + seconds
        found = ""
        while text not in found:
            ready, _, _ = select.select([self._primary], [], [], deadline - time.monotonic())
            if not ready:
                raise TimeoutError(f"{text!r} was not shown: {found!r}")
            piece = self._read()
            if not piece:
                raise AssertionError(f"{text!r} was not shown before the end: {found!r}")
            found += piece
        return found

    def _read(self) -> str:
        try:
            piece = os.read(self._primary, 65_536).decode(errors="replace")
        except OSError:  # The other end is closed.
            piece = ""
        self.output += piece
        return piece

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._primary, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def wait(self, seconds: float = 30.0) -> int:
        """Read to the end, and return the exit code.

        Raises:
            TimeoutError: It does not end.
        """
        deadline = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([self._primary], [], [], deadline - time.monotonic())
            if not ready:
                raise TimeoutError(f"it goes on: {self.output!r}")
            if not self._read():
                return self.process.wait()
