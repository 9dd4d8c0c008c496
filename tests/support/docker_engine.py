"""A Docker engine in a network namespace of its own: it cannot reach out, and leaves nothing.

Owns the namespace, the daemon and their folder. The host's engine, firewall and images are never
touched.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final
from uuid import uuid4

_PROGRAMS: Final = (
    "dockerd", "docker", "docker-compose", "mmdebstrap", "ip", "nsenter", "setpriv",
)  # fmt: skip
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1


class CannotRun(Exception):
    """No engine can run on this machine; the text says why."""


class DockerEngine:
    """A running engine. Use it in `with`.

    Args:
        folder: A new folder for images and containers; removed at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._namespace = f"raftq-{uuid4().hex[:8]}"
        self._log = folder / "dockerd.log"
        self._daemon: subprocess.Popen[bytes] | None = None
        self.environment: Final = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAFTQ_")},
            "DOCKER_HOST": f"unix://{folder / 'docker.sock'}",
            # The legacy builder needs nothing beside the engine.
            "DOCKER_BUILDKIT": "0",
            "COMPOSE_DOCKER_CLI_BUILD": "0",
        }

    def __enter__(self) -> "DockerEngine":
        """Start the engine.

        Raises:
            CannotRun: Something that it needs is missing here.
        """
        missing = [program for program in _PROGRAMS if shutil.which(program) is None]
        if missing:
            raise CannotRun(f"not installed: {', '.join(missing)} (tests/install-tools.sh)")
        if os.geteuid() != 0:
            raise CannotRun("a Docker engine and a network namespace need root")
        self._folder.mkdir(parents=True)
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop()

    def inside(self, *command: str) -> list[str]:
        """Return a command that runs in the engine's network, where published ports are."""
        return ["nsenter", f"--net=/var/run/netns/{self._namespace}", *command]

    def docker(self, *arguments: str, timeout: float = 60.0) -> str:
        """Run a docker command and return its output without white space around."""
        return self.run(["docker", *arguments], timeout=timeout)

    def run(self, command: list[str], cwd: Path | None = None, timeout: float = 60.0) -> str:
        """Run a command that talks to the engine, and return its output."""
        done = subprocess.run(
            command, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-3_000:]}{done.stderr[-3_000:]}"
        return done.stdout.strip()

    def _start(self) -> None:
        for command in (
            ["ip", "netns", "add", self._namespace],
            self.inside("ip", "link", "set", "lo", "up"),
            self.inside("sysctl", "-qw", "net.ipv4.ip_forward=1"),
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise CannotRun(f"{' '.join(command)}: {done.stderr.strip()}")
        options = {
            "--data-root": "data",
            "--exec-root": "exec",
            "--pidfile": "dockerd.pid",
        }
        arguments = [f"{name}={self._folder / path}" for name, path in options.items()]
        daemon = self.inside("dockerd", *arguments, f"--host={self.environment['DOCKER_HOST']}")
        with self._log.open("wb") as log:
            self._daemon = subprocess.Popen(
                # If the tests are killed, their engine stops its containers and ends, too.
                ["setpriv", "--pdeathsig", "TERM", *daemon],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_it_answers(self._daemon)

    def _wait_until_it_answers(self, daemon: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while subprocess.run(
            ["docker", "info"], env=self.environment, capture_output=True
        ).returncode:
            if daemon.poll() is not None or time.monotonic() > deadline:
                words = self._log.read_text(errors="replace").strip().splitlines()[-3:]
                raise CannotRun(f"dockerd does not run here: {' | '.join(words)}")
            time.sleep(_POLL_SECONDS)

    def _stop(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            try:
                self._daemon.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
        for mount in self.mounts():
            subprocess.run(["umount", "--lazy", mount], capture_output=True)
        if Path("/var/run/netns", self._namespace).exists():
            subprocess.run(["ip", "netns", "del", self._namespace], capture_output=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def mounts(self) -> list[str]:
        """Return the mounts below the engine's folder, innermost first."""
        table = Path("/proc/self/mountinfo").read_text().splitlines()
        points = [line.split()[4] for line in table]
        return [each for each in reversed(points) if each.startswith(f"{self._folder}/")]

    def leftovers(self) -> list[str]:
        """Return what is still there after the end."""
        found = [f"mount {each}" for each in self.mounts()]
        found += [f"namespace {self._namespace}"] * Path("/var/run/netns", self._namespace).exists()
        return found + [f"folder {self._folder}"] * self._folder.exists() + self._processes()

    def _processes(self) -> list[str]:
        """Return processes whose command line names the engine's folder."""
        found: list[str] = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self._folder) in command and int(path.parent.name) != os.getpid():
                found.append(f"process {path.parent.name}: {command}")
        return found
