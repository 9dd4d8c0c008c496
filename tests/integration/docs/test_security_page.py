"""docs/operating/security.md: its three commands make a cluster that may leave loopback."""

import re
import shlex
from pathlib import Path

import pytest
from tests.support.clusters import raftq_inside
from tests.support.fake_replica import FakeReplica

from raftq.node.config import read_config
from raftq.node.credentials import Keeper
from raftq.node.exposure import exposures, sends_tokens_in_the_clear
from raftq.server.metrics import Metrics

PAGE = Path(__file__).parents[3] / "docs" / "operating" / "security.md"


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    return str(found)


def test_the_three_commands_and_the_file_make_a_secured_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    certs, token, start = (shlex.split(line) for line in block("sh").splitlines())
    assert certs.pop(0) == token.pop(0) == "raftq"
    assert raftq_inside(*certs).code == 0
    made = raftq_inside(*token)
    line = next(each.split()[1] for each in made.out.splitlines() if each.startswith("line"))
    (tmp_path / "certs" / "tokens").write_text(line + "\n")
    assert start == ["raftqd", "--config", "n1.toml"]
    Path("n1.toml").write_text(block("toml").replace("/etc/raftq", str(tmp_path / "certs")))
    config = read_config(start[1:], {})
    keeper = Keeper(config)
    assert keeper.certificates.peer and keeper.certificates.client and keeper.tokens
    assert list(exposures(config)) == [] and not sends_tokens_in_the_clear(config)
    assert config.facts["native"] == "n1.example.org:7601"


def test_every_metric_and_event_of_the_page_exists() -> None:
    metrics = Metrics(FakeReplica(), "0")
    metrics.count_refusal("http", "missing")
    metrics.add_certificate("peer", lambda: 1.0)
    shown = metrics.page().decode()
    named = re.findall(r"`(raftq_[a-z_]+)\{", PAGE.read_text())
    assert len(named) == 2 and all(f"\n{name}{{" in shown for name in named)
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| log")]
    events = [event for row in rows for event in re.findall(r"`([a-z_]+)`", row.split("|")[1])]
    code = "".join(path.read_text() for path in (PAGE.parents[2] / "cluster").rglob("*.py"))
    assert len(events) == 7 and all(f'"{event}"' in code for event in events)
