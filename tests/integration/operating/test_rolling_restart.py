"""The steps of docs/operating/upgrading.md, under load: no call fails, nothing is lost.

Producers call over both protocols at every node, pollers wait, and a worker runs what comes.
"""

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.support.load import check_enqueued, load, progress
from tests.support.nodes import call, new_queue, wait_until

from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.client import AsyncClient
from raftq.worker import Run, Worker


class WorkerThread(threading.Thread):
    """A worker that counts its runs."""

    def __init__(self, cluster: LocalCluster, queue: str) -> None:
        super().__init__(name="worker")
        self._addresses = cluster.addresses
        self._queue = queue
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: Worker | None = None
        self.lost = 0

    def run(self) -> None:
        asyncio.run(self._work())

    async def _work(self) -> None:
        async with AsyncClient(self._addresses) as client:
            self._loop = asyncio.get_running_loop()
            self._worker = Worker(client, self._queue, self._handle)
            await self._worker.run()
            self.lost = self._worker.lost_total

    async def _handle(self, run: Run) -> bytes:
        await asyncio.sleep(0.002)
        return run.payload

    def end(self) -> None:
        """Finish what runs, and end."""
        assert self._loop is not None and self._worker is not None
        self._loop.call_soon_threadsafe(self._worker.stop)
        self.join(30.0)
        assert not self.is_alive()


@contextmanager
def working(cluster: LocalCluster, queue: str) -> Generator[WorkerThread]:
    """Run a worker on a queue."""
    worker = WorkerThread(cluster, queue)
    worker.start()
    try:
        yield worker
    finally:
        worker.end()


def followers_first(cluster: LocalCluster) -> list[NodeProcess]:
    """Return the order of a rolling restart: leadership moves once and not at every step."""
    leader = cluster.wait_leader()
    return [*(node for node in cluster.nodes if node is not leader), leader]


def test_a_rolling_restart_fails_no_call(tmp_path: Path) -> None:
    with LocalCluster(tmp_path) as cluster:
        produced, worked = new_queue("produced"), new_queue("worked")
        body = {"tasks": [{"payload": "x"}] * 2_000}
        for _ in range(2):
            assert call(cluster.nodes[0], "POST", f"/v1/queues/{worked}/tasks", body).status == 201
        with working(cluster, worked) as worker, load(cluster, produced) as callers:
            for node in followers_first(cluster):
                assert node.stop() == 0, node.last_words()
                node.start()
                wait_until(node.is_ready, f"{node.id} ready")
                progress(callers)
            wait_until(lambda: done(cluster, worked) == 4_000, "the worker", 60.0)
        assert worker.lost == 0
        check_enqueued(cluster, produced, callers)


def done(cluster: LocalCluster, queue: str) -> int:
    """Return how many tasks are done, of tasks that never failed."""
    counts = call(cluster.wait_leader(), "GET", f"/v1/queues/{queue}").json["counts"]
    assert counts["dead"] == 0
    return int(counts["done"])
