"""Callers that keep calling while nodes stop, and keep what they heard."""

import asyncio
import http.client
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from tests.support.nodes import call, wait_until

from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.client import AsyncClient

_PAUSE_SECONDS = 0.003
_WARM = 20
"""Calls of each caller before and after a disturbance."""


@dataclass
class Heard:
    """What callers heard; `failures` are calls that a user would have seen fail."""

    enqueued: list[str] = field(default_factory=list[str])
    failures: list[str] = field(default_factory=list[str])
    empty_polls: int = 0


class HttpCaller(threading.Thread):
    """Enqueues over one HTTP connection after another, first at its own node.

    It goes to the next node when a connection is refused, and opens a new one when it is told
    that a connection ends: what every client does. Everything else is a failure.
    """

    def __init__(
        self, cluster: LocalCluster, own: NodeProcess, queue: str, is_polling: bool = False
    ) -> None:
        super().__init__(name=f"caller at {own.id}")
        others = [node.http for node in cluster.nodes if node is not own]
        self._addresses = [own.http, *others]
        self._queue = queue
        self._is_polling = is_polling
        self._connection: http.client.HTTPConnection | None = None
        self.heard = Heard()
        self.is_stopped = threading.Event()

    def run(self) -> None:
        while not self.is_stopped.wait(_PAUSE_SECONDS):
            try:
                self._poll() if self._is_polling else self._enqueue()
            except (OSError, http.client.HTTPException) as error:
                self.heard.failures.append(f"{self.name}: {error!r}")
                self._connection = None
        if self._connection is not None:
            self._connection.close()

    def _enqueue(self) -> None:
        task_id = str(uuid4())
        body = {"tasks": [{"id": task_id, "payload": "x"}]}
        status, answer = self._post(f"/v1/queues/{self._queue}/tasks", body)
        if status == 201:
            self.heard.enqueued.append(task_id)
        else:
            self.heard.failures.append(f"{self.name}: {status} {answer!r}")

    def _poll(self) -> None:
        body = {"worker": "poller", "wait_ms": 20_000}
        status, answer = self._post(f"/v1/queues/{self._queue}-empty/leases", body)
        if status == 200:
            self.heard.empty_polls += 1
        else:
            self.heard.failures.append(f"{self.name}: {status} {answer!r}")

    def _post(self, path: str, body: object) -> tuple[int, bytes]:
        connection = self._connected()
        connection.request("POST", path, json.dumps(body))
        answer = connection.getresponse()
        text = answer.read()
        if answer.getheader("Connection") == "close":
            connection.close()
            self._connection = None
        return answer.status, text

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            for address in self._addresses:
                connection = http.client.HTTPConnection(address, timeout=30.0)
                try:
                    connection.connect()
                except ConnectionRefusedError:
                    continue
                self._connection = connection
                return connection
            raise OSError("every node refused")
        return self._connection


class NativeCaller(threading.Thread):
    """Enqueues with the asyncio client, several calls at once."""

    def __init__(self, cluster: LocalCluster, own: NodeProcess, queue: str) -> None:
        super().__init__(name=f"native caller at {own.id}")
        others = [node.native for node in cluster.nodes if node is not own]
        self._addresses = [own.native, *others]
        self._queue = queue
        self.heard = Heard()
        self.is_stopped = threading.Event()

    def run(self) -> None:
        asyncio.run(self._call_for_ever())

    async def _call_for_ever(self) -> None:
        async with AsyncClient(self._addresses) as client:
            await asyncio.gather(*(self._enqueue(client) for _ in range(4)))

    async def _enqueue(self, client: AsyncClient) -> None:
        while not self.is_stopped.is_set():
            task_id = uuid4()
            try:
                await client.enqueue(self._queue, b"x", id=task_id)
            except Exception as error:
                self.heard.failures.append(f"{self.name}: {error!r}")
            else:
                self.heard.enqueued.append(str(task_id))
            await asyncio.sleep(_PAUSE_SECONDS)


Caller = HttpCaller | NativeCaller


@contextmanager
def load(cluster: LocalCluster, queue: str) -> Generator[list[Caller]]:
    """Call over both protocols at every node; stop and check at the end."""
    callers: list[Caller] = [HttpCaller(cluster, node, queue) for node in cluster.nodes]
    callers += [NativeCaller(cluster, node, queue) for node in cluster.nodes]
    pollers = [HttpCaller(cluster, node, queue, is_polling=True) for node in cluster.nodes]
    for caller in [*callers, *pollers]:
        caller.start()
    try:
        progress(callers)
        yield callers
        progress(callers)
    finally:
        for caller in [*callers, *pollers]:
            caller.is_stopped.set()
        body = {"tasks": [{"payload": "x"}] * len(pollers)}
        call(cluster.wait_leader(), "POST", f"/v1/queues/{queue}-empty/tasks", body)
        for caller in [*callers, *pollers]:
            caller.join(30.0)
            assert not caller.is_alive()
    failures = [text for caller in [*callers, *pollers] for text in caller.heard.failures]
    assert failures == []


def progress(callers: list[Caller]) -> None:
    """Wait until each caller has made further calls."""
    goals = [len(caller.heard.enqueued) + _WARM for caller in callers]

    def reached() -> bool:
        return all(
            len(caller.heard.enqueued) >= goal or caller.heard.failures
            for caller, goal in zip(callers, goals, strict=True)
        )

    wait_until(reached, "callers that get on")


def check_enqueued(cluster: LocalCluster, queue: str, callers: list[Caller]) -> None:
    """Every acknowledged task is there, once."""
    acknowledged = {id_ for caller in callers for id_ in caller.heard.enqueued}
    counts = call(cluster.wait_leader(), "GET", f"/v1/queues/{queue}").json
    assert counts["counts"]["ready"] == counts["enqueued"] == len(acknowledged)
