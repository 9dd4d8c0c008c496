"""deploy/Dockerfile and the scripts around it."""

import re
from pathlib import Path

import pytest
from tests.support.deployment import DEPLOY, ROOT, beside_python, installed, load_yaml, passes

DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
FINAL_STAGE = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
SCRIPTS = sorted([*DEPLOY.rglob("*.sh"), *(ROOT / "tests").glob("*.sh")])


def test_hadolint_has_no_complaint() -> None:
    passes(beside_python("hadolint"), str(DEPLOY / "Dockerfile"))


def test_the_final_stage_downloads_nothing_and_has_no_pip() -> None:
    runs = re.findall(r"^RUN (.*)$", FINAL_STAGE, re.MULTILINE)
    assert len(runs) == 1 and runs[0].startswith("install --directory")
    assert "--without-pip /opt/raftq" in DOCKERFILE


def test_the_image_runs_as_a_number_and_stops_on_sigterm() -> None:
    assert re.search(r"^USER 10001:10001$", FINAL_STAGE, re.MULTILINE)
    assert re.search(r"^STOPSIGNAL SIGTERM$", FINAL_STAGE, re.MULTILINE)
    assert re.search(r'^VOLUME \["/var/lib/raftq"\]$', FINAL_STAGE, re.MULTILINE)
    assert 'CMD ["raftq", "node", "ready"]' in FINAL_STAGE


def test_the_default_base_is_the_one_that_compose_names() -> None:
    base = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    named = load_yaml(DEPLOY / "compose.yaml")["x-image"]["build"]["args"]["BASE"]
    assert named == f"${{RAFTQ_BASE:-{base[0]}}}"


def test_everything_that_the_build_copies_is_let_through_and_nothing_else() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    sources = {source.rstrip("/") for line in copied for source in line.split()}
    assert sources and all((ROOT / source).exists() for source in sources)
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert {source.removesuffix("/raftq") for source in sources} == let_through


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_no_complaint(script: Path) -> None:
    assert script.stat().st_mode & 0o111, "a script that cannot be run"
    passes(installed("shellcheck"), str(script))
