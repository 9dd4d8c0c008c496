"""docs/howto/coming-from-*.md: raftq's side runs and says what it prints; the peers' compiles."""

import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.integration.worker.command import WorkerCommand
from tests.support.clusters import ENVIRONMENT

from raftq.cli.local_cluster import LocalCluster
from raftq.protocol import limits
from raftq.protocol.fields import BackoffKind
from raftq.protocol.options import Backoff
from raftq.worker.app import DEFAULT_BACKOFF
from raftq.worker.finding import load_app
from raftq.worker.options import Policy

ROOT = Path(__file__).parents[3]
PEERS = ("celery", "rq", "dramatiq")
PAGES = {peer: (ROOT / "docs" / "howto" / f"coming-from-{peer}.md").read_text() for peer in PEERS}


def programs(peer: str) -> dict[str, str]:
    """Return the programs of a page by their first lines."""
    blocks = re.findall(r"^```python\n# (.*?)\n(.*?)^```$", PAGES[peer], re.M | re.S)
    return {title.lower(): code for title, code in blocks}


SHOP, PRODUCER = programs("celery")["raftq: shop.py"], programs("celery")["raftq: producer"]


@pytest.mark.parametrize("peer", PEERS)
def test_each_page_shows_one_application_in_both(peer: str) -> None:
    shown = programs(peer)
    theirs = {f"{peer}: shop.py", f"{peer}: producer"}
    assert shown.keys() == {"raftq: shop.py", "raftq: producer"} | theirs
    assert (shown["raftq: shop.py"], shown["raftq: producer"]) == (SHOP, PRODUCER)
    for title in theirs:
        compile(shown[title], title, "exec")
    functions = set(re.findall(r"^(?:async )?def (\w+)", SHOP, re.M))
    assert set(re.findall(r"^def (\w+)", shown[f"{peer}: shop.py"], re.M)) == functions


def test_the_application_runs(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    with LocalCluster(tmp_path_factory.mktemp("nodes"), size=1) as cluster:
        worker = WorkerCommand(tmp_path, cluster.addresses)
        try:
            worker.start_and_wait("shop:app")
            producer = subprocess.run(
                [sys.executable, "-X", "dev", "-W", "error", "-c", PRODUCER],
                cwd=tmp_path,
                env=ENVIRONMENT | {"RAFTQ_ADDRESSES": cluster.addresses},
                capture_output=True,
                text=True,
                timeout=60,
            )
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0
        finally:
            worker.end()
    assert (producer.returncode, producer.stderr) == (0, "")
    printed = re.findall(r"^print\(.*\)  # (.*)$", PRODUCER, re.M)
    assert producer.stdout.splitlines() == printed and len(printed) == 2


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """The application as a module of this process."""
    (tmp_path / "shop_of_the_pages.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "shop_of_the_pages:app"
    sys.modules.pop("shop_of_the_pages")


def test_an_order_that_runs_twice_sends_one_receipt(shop: str) -> None:
    app = load_app(shop)
    with app.testing() as testing:
        app.tasks["place_order"].enqueue("a@example.org", [3, 4])
        testing.kill_worker(after_run=True)
        ran = [run.name for run in testing.run_pending()]
    assert sorted(ran) == ["place_order", "send_receipt"]


def test_the_application_is_typed(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "right.py").write_text(PRODUCER)
    (tmp_path / "wrong.py").write_text("from shop import place_order\n\nplace_order.enqueue(1)\n")
    ended = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    errors = [line for line in ended.stdout.splitlines() if ": error:" in line]
    assert errors and all(line.startswith("wrong.py:3:") for line in errors)


@pytest.mark.parametrize("peer", PEERS)
def test_the_numbers_of_the_pages_are_the_real_ones(peer: str) -> None:
    page = PAGES[peer]
    assert "five" in page or "(5 by default)" in page
    assert (Policy().attempts_max, limits.ATTEMPTS_MAX_DEFAULT) == (0, 5)
    assert "after ten" in page and limits.CRASHES_MAX == 10
    assert "an hour" in page and limits.RESULT_RETENTION_MS == limits.HOUR_MS
    assert "ne second at first, then twice as long" in page
    assert Backoff(1_000, BackoffKind.EXPONENTIAL) == DEFAULT_BACKOFF
    if peer != "celery":
        assert "30 s" in page and limits.LEASE_MS_DEFAULT == 30_000
