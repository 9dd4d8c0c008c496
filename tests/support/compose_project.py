"""The project of deploy/compose.yaml on an engine: built, started, watched."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from tests.support.docker_engine import DockerEngine
from tests.support.nodes import wait_until

ROOT: Final = Path(__file__).parents[2]
NODES: Final = ("n1", "n2", "n3")
BASE: Final = "raftq-base:bookworm"
_CACHE: Final = ROOT / "build" / "compose-test"
_COPIED: Final = ("cluster", "storage", "client", "deploy", "docs/examples")
_BUILD_SECONDS: Final = 600.0
_WAIT_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.25
_HOST_ADDRESSES: Final = "127.0.0.1:7601,127.0.0.1:7602,127.0.0.1:7603"


def patiently(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition that a process must be started for, without keeping a core busy."""
    wait_until(condition, what, _WAIT_SECONDS, _PAUSE_SECONDS)


def fetch_base() -> Path:
    """Return a base image's file system; made once, and kept until `make clean`."""
    base = _CACHE / "base.tar"
    if not base.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = base.with_suffix(".part.tar")
        _script("make-base.sh", str(unfinished))
        unfinished.rename(base)
    return base


def fetch_wheels() -> Path:
    """Return a folder with what the build takes from PyPI; fetched again when the list changed."""
    wheels = _CACHE / "wheels"
    stamp = _CACHE / "pyproject.toml"
    wanted = (ROOT / "pyproject.toml").read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(wheels, ignore_errors=True)
        wheels.mkdir(parents=True)
        _script("fetch-wheels.sh", str(wheels))
        stamp.write_text(wanted)
    return wheels


def _script(name: str, *arguments: str) -> None:
    pip = str(Path(sys.executable).with_name("pip"))
    subprocess.run(
        [str(ROOT / "deploy" / "offline" / name), *arguments],
        check=True,
        env={**os.environ, "PIP": pip},
        timeout=_BUILD_SECONDS,
    )


class ComposeProject:
    """A copy of the repository's deployment files, on an engine.

    Args:
        engine: A running engine.
        folder: Where the copy goes.
    """

    def __init__(self, engine: DockerEngine, folder: Path) -> None:
        self.engine = engine
        self._folder = folder
        engine.environment.update(
            RAFTQ_BASE=BASE, PIP_NO_INDEX="1", PIP_FIND_LINKS="/offline", COMPOSE_ANSI="never"
        )

    def build(self) -> None:
        """Import the base and build the image."""
        ignored = shutil.ignore_patterns("__pycache__", "wheels")
        for path in _COPIED:
            shutil.copytree(ROOT / path, self._folder / path, ignore=ignored)
        for name in ("pyproject.toml", "README.md", ".dockerignore"):
            shutil.copy(ROOT / name, self._folder / name)
        shutil.copytree(fetch_wheels(), self._folder / "deploy" / "offline" / "wheels")
        self.engine.docker("import", str(fetch_base()), BASE, timeout=_BUILD_SECONDS)
        self.compose("build", timeout=_BUILD_SECONDS)
        self.compose("run", "--rm", "secrets")

    @property
    def secrets(self) -> Path:
        """The folder that the documented step fills."""
        return self._folder / "deploy" / "secrets"

    def compose(self, *arguments: str, timeout: float = 120.0) -> str:
        """Run docker-compose and return its output."""
        return self.engine.run(["docker-compose", *arguments], self._folder / "deploy", timeout)

    def container(self, service: str) -> str:
        """Return a service's container id."""
        return self.compose("ps", "--quiet", service)

    def inspect(self, service: str, template: str) -> str:
        """Return a fact about a service's container."""
        return self.engine.docker("inspect", "--format", template, self.container(service))

    def is_healthy(self, service: str) -> bool:
        """Tell what the health check says; False also while it has said nothing yet."""
        return self.inspect(service, "{{.State.Health.Status}}") == "healthy"

    def wait_healthy(self) -> None:
        """Wait until every node is healthy; what they logged last is printed if one is not."""
        try:
            for node in NODES:
                patiently(partial(self.is_healthy, node), f"{node} healthy")
        except AssertionError:
            print(self.compose("logs", "--tail=20"))
            raise

    def raftq(self, *arguments: str) -> dict[str, Any]:
        """Run the command line outside the containers, at the published ports."""
        done = self.try_raftq(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return cast("dict[str, Any]", json.loads(done.stdout))

    def try_raftq(
        self, *arguments: str, token: str = "operator.token", ca: str = "ca.crt"
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line outside with these files of the secrets; empty: without."""
        command = [str(Path(sys.executable).with_name("raftq")), *arguments]
        command += ["--address", _HOST_ADDRESSES, "--json"]
        environment = dict(self.engine.environment)
        if token:
            environment["RAFTQ_TOKEN_FILE"] = str(self.secrets / token)
        if ca:
            environment["RAFTQ_TLS_CA"] = str(self.secrets / ca)
        return subprocess.run(
            self.engine.inside(*command), env=environment, capture_output=True, text=True,
            timeout=60.0,
        )  # fmt: skip

    def leader(self) -> str:
        """Return the node that leads; it is an error if there is none for long."""
        leader = None

        def is_there() -> bool:
            nonlocal leader
            leader = self.leader_now()
            return leader is not None

        patiently(is_there, "a leader")
        return str(leader)

    def leader_now(self) -> str | None:
        """Return the node that leads at the moment, as one that answers sees it."""
        done = self.try_raftq("cluster", "status")
        return json.loads(done.stdout)["leader"] if done.stdout else None

    def kill(self, service: str) -> None:
        """SIGKILL to a container's first process.

        `docker kill` would count as a wish to stop, after which no restart policy acts.
        """
        pid = self.inspect(service, "{{.State.Pid}}")
        subprocess.run(["kill", "-KILL", pid], check=True)
