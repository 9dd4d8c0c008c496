"""The documents are true as far as a program can tell."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(
        part.startswith(".") or part == "node_modules" for part in path.relative_to(ROOT).parts
    )
)
LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(document: Path) -> None:
    targets = [each for each in LINK.findall(document.read_text()) if "://" not in each]
    missing = [each for each in targets if not (document.parent / each).exists()]
    assert not missing, f"{document} links to files that do not exist: {missing}"


def test_the_index_has_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / each).resolve() for each in LINK.findall(index.read_text())}
    assert {page for page in (ROOT / "docs").rglob("*.md") if page != index} <= linked


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
