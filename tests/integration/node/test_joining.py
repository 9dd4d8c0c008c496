"""The commands of docs/operating/members.md, on real processes: join, add, hand over, remove."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.support.replicas import free_ports

from raftq.node.main import EXIT_REMOVED

PATIENCE_SECONDS = 60.0
BIN = Path(sys.executable).parent


class Node(msgspec.Struct):
    id: str
    is_voter: bool


class Status(msgspec.Struct):
    """What `raftq cluster` prints, as far as it matters here."""

    leader: str | None
    nodes: list[Node]

    def voters(self) -> list[str]:
        return [node.id for node in self.nodes if node.is_voter]


class Processes:
    """Nodes of one cluster, each a process."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports(12)
        names = ("n1", "n2", "n3", "n4")
        self._folder = folder
        self._ports = {node: ports[3 * i : 3 * i + 3] for i, node in enumerate(names)}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.last_words = ""

    def peer_address(self, node: str) -> str:
        return f"127.0.0.1:{self._ports[node][2]}"

    def start(self, node: str, members: tuple[str, ...], *flags: str) -> None:
        native, http, peer = self._ports[node]
        cluster = ",".join(f"{each}={self.peer_address(each)}" for each in members)
        with self.log(node).open("wb") as log:
            self.running[node] = subprocess.Popen(
                [
                    *(BIN / "raftqd", "--node-id", node, "--data-dir", self._folder / node),
                    *("--native", f"127.0.0.1:{native}", "--http", f"127.0.0.1:{http}"),
                    *("--peer", f"127.0.0.1:{peer}", "--cluster", cluster, *flags),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self, node: str) -> Path:
        return self._folder / f"{node}.log"

    def cluster(self, *arguments: str, at: str) -> Status | None:
        """Run `raftq cluster` against a node; None if it fails."""
        address = f"127.0.0.1:{self._ports[at][0]}"
        done = subprocess.run(
            [BIN / "raftq", "cluster", *arguments, "--address", address, "--json"],
            capture_output=True,
            text=True,
        )
        self.last_words = done.stderr
        return msgspec.json.decode(done.stdout, type=Status) if done.returncode == 0 else None


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    nodes = Processes(tmp_path)
    try:
        yield nodes
    finally:
        for process in nodes.running.values():
            process.terminate()
        for process in nodes.running.values():
            process.wait(20)


def eventually(processes: Processes, holds: Callable[[Status], bool], *call: str, at: str) -> None:
    """Repeat a command until it succeeds and its answer is as it should be."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        status = processes.cluster(*call, at=at)
        if status is not None and holds(status):
            return
        assert time.monotonic() < ends_at, (call, status, processes.last_words)
        time.sleep(0.1)


@pytest.mark.timeout(300)
def test_a_node_joins_leads_and_removes_its_predecessor(processes: Processes) -> None:
    first = ("n1", "n2", "n3")
    for node in first:
        processes.start(node, first)
    eventually(processes, lambda status: status.leader is not None, "status", at="n1")
    processes.start("n4", (*first, "n4"), "--join")
    address = processes.peer_address("n4")
    eventually(processes, lambda _: True, "add", "n4", address, at="n2")
    eventually(processes, lambda status: "n4" in status.voters(), "status", at="n4")
    eventually(processes, lambda status: status.leader == "n4", "transfer-leader", "n4", at="n1")
    eventually(processes, lambda status: "n1" not in status.voters(), "remove", "n1", at="n3")
    assert processes.running["n1"].wait(PATIENCE_SECONDS) == EXIT_REMOVED
    assert b"n1 was removed from the cluster" in processes.log("n1").read_bytes()
