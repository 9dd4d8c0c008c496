"""The pages about the task model: their programs run and print what they say, and are typed."""

import inspect
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.integration.worker.command import WorkerCommand
from tests.support.clusters import ENVIRONMENT

from raftq.cli.local_cluster import LocalCluster
from raftq.client.keywords.filters import FilterKeywords
from raftq.client.parts.configuring import QueueKeywords
from raftq.protocol import limits
from raftq.worker import App

ROOT = Path(__file__).parents[3]
HOWTO = ROOT / "docs" / "howto"
NAMES = (
    "schedules",
    "workflows",
    "limits-and-keys",
    "two-phase-enqueue",
    "cancel-and-control",
    "results",
)


class Page(NamedTuple):
    """One page: the module that it has one save, and the programs that use it."""

    name: str
    text: str
    module: str
    app: str
    programs: list[str]


def read(name: str) -> Page:
    text = (HOWTO / f"{name}.md").read_text()
    (module,) = re.findall(r"Save this as `(\w+)\.py`", text)
    app, *programs = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    return Page(name, text, module, app, programs)


PAGES = [read(name) for name in NAMES]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes"), size=1) as running:
        yield running


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_each_program_prints_what_it_says(
    cluster: LocalCluster, tmp_path: Path, page: Page
) -> None:
    (tmp_path / f"{page.module}.py").write_text(page.app)
    worker = WorkerCommand(tmp_path, cluster.addresses)
    try:
        worker.start_and_wait(f"{page.module}:app", "--lease", "3s")
        for program in page.programs:
            ended = subprocess.run(
                [sys.executable, "-X", "dev", "-W", "error", "-c", program],
                cwd=tmp_path,
                env=ENVIRONMENT | {"RAFTQ_ADDRESSES": cluster.addresses},
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert (ended.returncode, ended.stderr) == (0, ""), program
            promised = re.findall(r"^ *print\(.*\)  # (.*)$", program, re.M)
            assert promised and ended.stdout.splitlines() == promised, program
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
    finally:
        worker.end()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_the_programs_are_formatted_and_typed(tmp_path: Path, page: Page) -> None:
    (tmp_path / f"{page.module}.py").write_text(page.app)
    for number, program in enumerate(page.programs):
        (tmp_path / f"program{number}.py").write_text(program)
    style = str(ROOT / "pyproject.toml")
    for tool in (["mypy", "--strict"], ["ruff", "format", "--check", "--config", style]):
        ended = subprocess.run(
            [sys.executable, "-m", *tool, "."], cwd=tmp_path, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_what_needs_another_database_is_python(page: Page) -> None:
    for program in re.findall(r"^```py\n(.*?)^```$", page.text, re.M | re.S):
        compile(program, page.name, "exec")


def test_the_tables_have_every_option() -> None:
    pages = {page.name: page.text for page in PAGES}
    taken = {*inspect.signature(App.schedule).parameters} - {"self"}
    assert (
        set(re.findall(r"^\| `(\w+)`(?:, `\w+`)* \|", pages["schedules"], re.M)) | {"kwargs"}
        == taken
    )
    control = pages["cancel-and-control"]
    (listed,) = re.findall(r"The filter says which: (.*?); all of", control, re.S)
    assert set(re.findall(r"`(\w+)`", listed)) == FilterKeywords.__annotations__.keys()
    _, _, table = pages["limits-and-keys"].partition("| setting of a queue | meaning |")
    shown = re.findall(r"`(\w+)`", table.partition("\n\n")[0].replace("`client.", "`client_"))
    assert set(shown) == QueueKeywords.__annotations__.keys()


def test_the_limits_of_the_pages_are_the_real_ones() -> None:
    pages = {page.name: page.text for page in PAGES}
    assert f"`all`, {limits.MISSED_RUNS_MAX:,} at most" in pages["schedules"]
    assert f"waits for up to {limits.PARENTS_MAX:,} members" in pages["workflows"]
    assert f"A run may have {limits.FOLLOW_UPS_MAX:,} of them" in pages["workflows"]
    assert f"have {limits.KEY_CHARACTERS_MAX}\ncharacters at most" in pages["limits-and-keys"]
    assert limits.AGEING_MS_DEFAULT == limits.MINUTE_MS, "a minute unless set"
    assert "a week at most" in pages["two-phase-enqueue"]
    assert limits.CONFIRM_MS_MAX == 7 * limits.DAY_MS
    assert f"up to {limits.PROGRESS_BYTES_MAX // limits.KIB} KiB" in pages["results"]
    assert f"at most {limits.RESULTS_KEPT_MAX:,} and 256 MiB" in pages["results"]
    assert limits.RESULT_BYTES_KEPT_MAX == 256 * limits.MIB
    assert limits.RESULT_RETENTION_MS == limits.HOUR_MS, "an hour unless set"
    backoff = App().backoff
    assert backoff is not None
    assert (backoff.base_ms, backoff.max_ms, backoff.jitter_percent) == (1_000, 600_000, 20)
