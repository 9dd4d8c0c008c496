"""The example of deploy/compose.yaml: its producer is content with right results only."""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from raftq.cli.local_cluster import LocalCluster
from raftq.client import AsyncClient
from raftq.worker import Run, Worker

PROGRAM = Path(__file__).parents[3] / "docs" / "examples" / "checksums.py"
TASKS = 150
SECONDS = 60.0


@pytest.fixture
def cluster(tmp_path: Path) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path) as cluster:
        yield cluster


def start(cluster: LocalCluster, role: str) -> subprocess.Popen[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAFTQ_")},
        "RAFTQ_ADDRESSES": cluster.addresses,
        "TASKS": str(TASKS),
        "PACE_MS": "0",
    }
    command = [sys.executable, str(PROGRAM), role]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_producer_and_worker_agree_and_the_worker_ends_on_sigterm(cluster: LocalCluster) -> None:
    worker, producer = start(cluster, "worker"), start(cluster, "producer")
    said, _ = producer.communicate(timeout=SECONDS)
    worker.terminate()
    worker.communicate(timeout=SECONDS)
    assert f"tasks {TASKS}, accepted {TASKS}, right {TASKS}, changed 0" in said
    assert producer.returncode == worker.returncode == 0


def test_the_producer_notices_one_wrong_result(cluster: LocalCluster) -> None:
    async def mostly_right(run: Run) -> bytes:
        is_wrong = run.payload == b"text number 7"
        return b"?" if is_wrong else hashlib.sha256(run.payload).hexdigest().encode()

    async def work(producer: subprocess.Popen[str]) -> str:
        async with AsyncClient(cluster.addresses) as client:
            worker = Worker(client, "checksums", mostly_right)
            working = asyncio.create_task(worker.run())
            said, _ = await asyncio.to_thread(producer.communicate, timeout=SECONDS)
            worker.stop()
            await working
            return said

    producer = start(cluster, "producer")
    said = asyncio.run(work(producer))
    assert f"accepted {TASKS}, right {TASKS - 1}, changed 0" in said
    assert producer.returncode == 1
