"""Reading deploy/, and running the tools that judge it."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import pytest
import yaml

from raftq.node.config import read_config
from raftq.node.settings import NodeConfig

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"


def load_yaml(path: Path) -> dict[str, Any]:
    """Return a file's only document, as docker and Kubernetes read it."""
    return cast("dict[str, Any]", yaml.safe_load(path.read_text()))


def load_manifests() -> dict[tuple[str, str], dict[str, Any]]:
    """Return (kind, name) → object of all Kubernetes manifests."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            found[(document["kind"], document["metadata"]["name"])] = document
    return found


def installed(program: str) -> str:
    """Return a Debian tool's path; skip the test with the reason if it is not there."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed (tests/install-tools.sh)")
    return path


def beside_python(program: str) -> str:
    """Return the path of a tool that comes with the dev dependencies."""
    return str(Path(sys.executable).with_name(program))


def passes(*command: str, cwd: Path = ROOT, environment: Mapping[str, str] | None = None) -> str:
    """Run a judging tool, which must have no complaint; return what it printed."""
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60.0
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def started_with(environment: Mapping[str, str], secrets: Path) -> NodeConfig:
    """Return how a node would understand an environment whose files are all there.

    It refuses unknown values, and addresses beyond this machine without credentials.
    """
    given = dict(environment)
    for name, value in environment.items():
        if value.startswith("/run/"):
            file = secrets / value.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
            given[name] = str(file)
    return read_config([], {"RAFTQ_DATA_DIR": "/var/lib/raftq/node", **given})
