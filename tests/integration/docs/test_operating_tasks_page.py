"""docs/howto/operating-tasks.md: its commands work in order, and print what the page shows."""

import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from tests.support.clusters import ENVIRONMENT

from raftq.cli.commands import build
from raftq.cli.local_cluster import LocalCluster

PAGE = (Path(__file__).parents[3] / "docs" / "howto" / "operating-tasks.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", PAGE, re.M | re.S)
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_SPAN = re.compile(r"  [0-9]+(?:ms|s)(?=  |$)", re.M)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes"), size=1) as running:
        yield running


def run(script: str, cluster: LocalCluster, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{ENVIRONMENT.get('PATH', '')}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=ENVIRONMENT | {"PATH": path, "RAFTQ_ADDRESSES": cluster.addresses},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=250,
    )


def plain(text: str) -> list[str]:
    """Return lines without what differs from run to run: ids and ages."""
    text = _SPAN.sub("  AGE", _UUID.sub("ID", text))
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.mark.timeout(300)  # Fifty processes, on a machine that may be busy.
def test_the_commands_of_the_page_do_and_print_what_it_says(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    assert len(BLOCKS) >= 12
    script = "".join(f"{commands}echo '<<{at}>>'\n" for at, (commands, _) in enumerate(BLOCKS))
    ended = run(script, cluster, tmp_path)
    assert ended.returncode == 0, ended.stderr
    printed = re.split(r"<<\d+>>\n", ended.stdout)
    for (commands, promised), found in zip(BLOCKS, printed, strict=False):
        assert not promised or plain(found) == plain(promised), commands
    assert sum(bool(promised) for _, promised in BLOCKS) == 4
    assert ended.stderr == ""


def test_the_page_shows_every_command_of_tasks_queues_limits_and_quotas() -> None:
    commands = "".join(commands for commands, _ in BLOCKS)
    for name in ("task", "queue", "limit", "quota"):
        root: Any = typer.main.get_command(build(name))
        names: list[str] = list(root.commands[name].commands)
        missing = [each for each in names if f"raftq {name} {each}" not in commands]
        assert not missing or (name, missing) == ("queue", ["show"]), "`raftq queue NAME` is shown"
