"""Processes with clients, as the run sees them."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from raftq.testing.chaos.client import TOKEN_VARIABLE
from raftq.testing.chaos.security import Secrets
from raftq.testing.sim.clients import Load


class ClientProcess:
    """A process with clients, started at once.

    Args:
        name: Unique in the run; the clients' names begin with it.
        folder: Where its history and its log go.
        programs: What it runs; see `raftq.testing.chaos.client`.
        load: How busy it is.
        addresses: The nodes it is told of; the first ones it finds, it learns the others.
        prefix: What starts it at its place.
        seed: Of its decisions.
        secrets: What lets it in, if the nodes ask for something.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        programs: str,
        load: Load,
        addresses: str,
        prefix: list[str],
        seed: str,
        secrets: Secrets | None,
    ) -> None:
        self.name = name
        self.history = folder / f"{name}.history"
        options = {
            "name": name,
            "addresses": addresses,
            "history": str(self.history),
            "seed": seed,
            "load": msgspec.json.encode(load).decode(),
            "programs": programs,
        }
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAFTQ_")}
        if secrets is not None:
            options["tls-ca"] = str(secrets.ca)
            environment[TOKEN_VARIABLE] = secrets.token
        command = [*prefix, sys.executable, "-m", "raftq.testing.chaos.client"]
        for option, value in options.items():
            command += [f"--{option}", value]
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        self.was_killed = False

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it lives."""
        return self._process.poll()

    @property
    def written_bytes(self) -> int:
        """How much its clients have done so far, in bytes of history."""
        return self.history.stat().st_size if self.history.exists() else 0

    def ask_to_stop(self) -> None:
        """Let the programs end in their own time."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(b"stop\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL."""
        self.was_killed = True
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """SIGSTOP."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        if self.is_running:
            os.kill(self._process.pid, signal.SIGCONT)

    def wait(self, seconds: float) -> bool:
        """Wait for the end; False if it did not come in time."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """End it whatever it does, and release its pipe."""
        if self.is_running:
            self.kill()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
