"""docs/howto/tracing.md: its App traces tasks of every kind, and its table has every attribute."""

import json
import re
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.integration.worker.command import WorkerCommand
from tests.support.clusters import ENVIRONMENT

from raftq.cli.local_cluster import LocalCluster

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "howto" / "tracing.md").read_text()
TRACED, PRODUCER = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


def spans(text: str) -> list[dict[str, Any]]:
    """Return the spans that the console exporter has printed between other lines."""
    found: list[dict[str, Any]] = []
    for begin in re.finditer(r"^\{$", text, re.M):
        found.append(json.JSONDecoder().raw_decode(text, begin.start())[0])
    return found


def named(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (one,) = [each for each in found if each["name"] == name]
    return one


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The spans that the producer and the worker of the page have printed."""
    folder = tmp_path_factory.mktemp("traced")
    (folder / "traced.py").write_text(TRACED)
    with LocalCluster(tmp_path_factory.mktemp("nodes"), size=1) as cluster:
        worker = WorkerCommand(folder, cluster.addresses)
        try:
            worker.start_and_wait("traced:app")
            producer = subprocess.run(
                [sys.executable, "-X", "dev", "-W", "error", "-c", PRODUCER],
                cwd=folder,
                env=ENVIRONMENT | {"RAFTQ_ADDRESSES": cluster.addresses},
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert (producer.returncode, producer.stderr) == (0, "")
            assert producer.stdout.startswith("[True, True]\n")
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0
        finally:
            worker.end()
        return spans(producer.stdout) + spans(worker.log)


def test_a_trace_goes_through_processes_and_tasks(printed: list[dict[str, Any]]) -> None:
    path = [
        named(printed, name)
        for name in ("send orders", "process orders", "send mail", "process mail")
    ]
    for before, after in pairwise(path):
        assert after["parent_id"] == before["context"]["span_id"]
    assert len({each["context"]["trace_id"] for each in path}) == 1


def test_a_child_process_exports_its_spans_when_the_worker_ends(
    printed: list[dict[str, Any]],
) -> None:
    sent, processed = named(printed, "send reports"), named(printed, "process reports")
    assert processed["parent_id"] == sent["context"]["span_id"]
    assert processed["resource"]["attributes"]["service.name"] == "shop"


def test_the_table_has_every_attribute(printed: list[dict[str, Any]]) -> None:
    used = {name for span in printed for name in span["attributes"]}
    table = {
        name
        for row in re.findall(r"^\| (`[a-z._, `]+`) \|", PAGE, re.M)
        for name in re.findall(r"`([\w.]+\.[\w.]+)`", row)
    }
    rare = {"messaging.batch.message_count", "error.type"}
    assert table == used | rare
