"""Talking to real nodes: HTTP without a library between, and waiting for the cluster."""

import http.client
import itertools
import json
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from raftq.cli.local_cluster import LocalCluster, NodeProcess

WAIT_SECONDS = 20.0
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body, which must be a JSON object."""
        value: object = json.loads(self.body)
        assert isinstance(value, dict)
        return cast("dict[str, Any]", value)

    def problem(self, status: int, code: str) -> dict[str, Any]:
        """Check that this is the given error, well-formed, and return its body."""
        assert self.status == status, (self.status, self.body)
        assert self.headers["content-type"] == "application/problem+json"
        body = self.json
        assert body["code"] == code, body
        assert body["status"] == status, body
        assert body["type"] == f"urn:raftq:error:{code}"
        assert body["title"] and body["detail"]
        assert ("retry-after" in self.headers) == (status in {429, 503, 507})
        return body


def call(
    node: NodeProcess,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
) -> Answer:
    """Make one HTTP request on a connection of its own; bytes are sent as they are."""
    host, _, port = node.http.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, dict(headers or {}))
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


def raw_socket(address: str, timeout: float = 10.0) -> socket.socket:
    """Return a connected socket for `host:port`."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout)


def read_to_end(sock: socket.socket) -> bytes:
    """Return everything until the other side closes; a reset counts as an end."""
    received = bytearray()
    try:
        while piece := sock.recv(65_536):
            received += piece
    except ConnectionError:
        pass
    return bytes(received)


def new_queue(prefix: str = "q") -> str:
    """Return the name of a queue that no other test uses."""
    return f"{prefix}-{next(_numbers)}-{uuid4().hex[:8]}"


def wait_until(
    condition: Callable[[], bool],
    what: str,
    seconds: float = WAIT_SECONDS,
    pause_seconds: float = 0.01,
) -> None:
    """Wait for a condition, looked at after each pause; fail with words at the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(pause_seconds)


def follower_of(cluster: LocalCluster) -> NodeProcess:
    """Return a node that runs and does not lead."""
    leader = cluster.wait_leader()
    return next(node for node in cluster.nodes if node is not leader and node.is_running)


def state_hash(cluster: LocalCluster) -> str:
    """Return the state hash, once all running nodes have applied the same."""
    found: set[tuple[object, object]] = set()

    def agreed() -> bool:
        views = [node.view() for node in cluster.nodes if node.is_running]
        found.clear()
        found.update((view["applied_index"], view["state_hash"]) if view else (None, None)
                     for view in views)  # fmt: skip
        return len(found) == 1 and (None, None) not in found

    wait_until(agreed, "nodes that agree")
    return str(found.pop()[1])


def heal(cluster: LocalCluster) -> None:
    """Let all nodes serve again, whatever a test did to them."""
    for node in cluster.nodes:
        if node.is_running:
            node.send(signal.SIGCONT)
        else:
            node.start()
    cluster.wait_ready(60)
