"""The documents are true as far as a program can tell."""

import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from raftq.cli.local_cluster import LocalCluster

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(
        part.startswith(".") or part == "node_modules" for part in path.relative_to(ROOT).parts
    )
)
LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")
EXAMPLE_ADDRESSES = "127.0.0.1:7601,127.0.0.1:7602,127.0.0.1:7603"
WAIT_SECONDS = 30.0


def blocks(document: Path, language: str) -> list[str]:
    """Return the fenced code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(document: Path) -> None:
    targets = [each for each in LINK.findall(document.read_text()) if "://" not in each]
    missing = [each for each in targets if not (document.parent / each).exists()]
    assert not missing, f"{document} links to files that do not exist: {missing}"


def test_every_make_target_of_the_readme_exists() -> None:
    wanted = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "README.md").read_text()))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert wanted and wanted <= targets


def test_every_path_in_a_docstring_or_comment_exists() -> None:
    named: dict[str, str] = {}
    for folder in ("cluster", "storage", "client"):
        for path in (ROOT / folder).rglob("*.py"):
            for found in re.findall(r"\b(?:docs|tests)/[\w./-]+\.(?:md|py)", path.read_text()):
                named[found] = str(path)
    missing = {found: where for found, where in named.items() if not (ROOT / found).exists()}
    assert named and not missing


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


def test_the_producer_and_the_worker_of_the_readme_work(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    tasks, producer = blocks(ROOT / "README.md", "python")
    assert EXAMPLE_ADDRESSES in tasks
    (tmp_path / "mail.py").write_text(tasks.replace(EXAMPLE_ADDRESSES, cluster.addresses))
    (tmp_path / "producer.py").write_text(producer)
    promised = re.findall(r"^print.*# (.*)$", producer, re.MULTILINE)
    raftq = str(Path(sys.executable).with_name("raftq"))
    running = subprocess.Popen([raftq, "worker", "mail:app"], cwd=tmp_path)
    try:
        said = subprocess.run(
            [sys.executable, "producer.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=2 * WAIT_SECONDS,
        ).stdout
        assert said.splitlines() == promised
    finally:
        running.terminate()
        assert running.wait(WAIT_SECONDS) == 0
