"""The commands of docs/operating/backup.md and lost-majority.md do what the pages say."""

import re
import shlex
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.support.clusters import ENVIRONMENT
from tests.support.nodes import state_hash
from tests.support.old_and_new import content

from raftq.cli.local_cluster import LocalCluster
from raftq.client import Client

OPERATING = Path(__file__).parents[3] / "docs" / "operating"


@pytest.fixture
def cluster(tmp_path: Path) -> Generator[LocalCluster]:
    """A cluster whose folders are where the pages have them, with some tasks."""
    with LocalCluster(tmp_path / "data") as started:
        with Client(started.addresses) as client:
            for number in range(5):
                client.enqueue("mail", b"%d" % number)
        yield started


def commands(page: str) -> list[list[str]]:
    """Return the commands that a page marks as a shell's."""
    text = (OPERATING / page).read_text()
    blocks = re.findall(r"^( *)```sh\n(.*?)^ *```$", text, re.M | re.S)
    lines = [line.strip() for _, block in blocks for line in block.splitlines()]
    assert all(line.startswith("raftq ") for line in lines), lines
    return [shlex.split(line)[1:] for line in lines]


def run(words: list[str], folder: Path, cluster: LocalCluster) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "raftq.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=folder,
        env=ENVIRONMENT | {"RAFTQ_ADDRESSES": cluster.addresses},
    )
    assert ended.returncode == 0, (words, ended.stderr)
    return ended.stdout


def test_the_commands_of_the_page_on_backups_work(cluster: LocalCluster, tmp_path: Path) -> None:
    agreed = state_hash(cluster)
    told = [(words, run(words, tmp_path, cluster)) for words in commands("backup.md")]
    assert [words[0] for words, _ in told].count("restore") == 2
    for words, out in told:
        assert agreed in out, words
    assert (tmp_path / "restored" / "n3" / "identity").exists()


def test_the_cron_line_of_the_page_names_a_file_by_the_hour() -> None:
    (line,) = re.findall(
        r"^```cron\n(.*?)^```$", (OPERATING / "backup.md").read_text(), re.M | re.S
    )
    minute, *stars = line.split()[:5]
    assert minute.isdecimal() and stars == ["*"] * 4
    command = line.split(None, 5)[5].replace("\\%", "%")
    echoed = command.replace("cd /var/backups/raftq && raftq", "printf '%s\\n'")
    shown = subprocess.run(["sh", "-c", echoed], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"\d\dT\d\d\.backup", shown.split()[1])
    assert "%" not in line.replace("\\%", ""), "cron would cut the line there"


def test_the_commands_of_the_page_on_lost_majorities_work(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    agreed = state_hash(cluster)
    cluster.kill_all()
    told = [(words, run(words, tmp_path, cluster)) for words in commands("lost-majority.md")]
    assert [words[0] for words, _ in told] == ["recover", "recover", "backup", "restore"]
    for words, out in told:
        assert agreed in out, words
    assert content(tmp_path / "survivor.backup")[0].state_hash == agreed
