"""How a node that cannot start says so: one exit code and one clear line for each reason."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.support.nodes import call, raw_socket, wait_until

from raftq.cli.local_cluster import LocalCluster, NodeProcess, free_ports

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("RAFTQ_")}


class Outcome:
    """How one start ended."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "raftq.node.main", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=ENVIRONMENT)
        self.code = done.returncode
        self.output = done.stdout
        self.lines = done.stderr.splitlines()

    @property
    def last_words(self) -> str:
        """The line for people."""
        assert self.lines[-1].startswith("raftqd: "), self.lines
        assert not any("Traceback" in line for line in self.lines), self.lines
        return self.lines[-1]


def arguments(
    folder: Path, node: str = "n1", members: tuple[str, ...] = ("n1",), **settings: str
) -> list[str]:
    native, http, *peers = free_ports(2 + len(members))
    ports = dict(zip(members, peers, strict=True))
    values = {
        "node-id": node,
        "data-dir": str(folder),
        "native": f"127.0.0.1:{native}",
        "http": f"127.0.0.1:{http}",
        "peer": f"127.0.0.1:{ports[node]}",
        "cluster": ",".join(f"{name}=127.0.0.1:{port}" for name, port in ports.items()),
        **settings,
    }
    return [part for name, value in values.items() for part in (f"--{name}", value)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node alone, with one task, that runs during these tests."""
    with LocalCluster(tmp_path_factory.mktemp("starting"), size=1) as cluster:
        (node,) = cluster.nodes
        body = {"tasks": [{"payload": "secret-payload-of-the-task"}]}
        assert call(node, "POST", "/v1/queues/q/tasks", body).status == 201
        yield node


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a node alone with some tasks, which was stopped cleanly."""
    folder = tmp_path_factory.mktemp("stopped")
    with LocalCluster(folder, size=1) as cluster:
        (node,) = cluster.nodes
        for _ in range(5):
            body = {"tasks": [{"id": str(uuid4()), "payload": "x" * 1_000}]}
            assert call(node, "POST", "/v1/queues/q/tasks", body).status == 201
    return folder / "n1"


def test_a_wrong_setting_is_code_2_and_named(tmp_path: Path) -> None:
    wrong = Outcome(*arguments(tmp_path, http="7611"))
    assert wrong.code == 2
    assert "http is '7611' (from --http); allowed is: host:port" in wrong.last_words
    missing = Outcome("--node-id", "n1")
    assert missing.code == 2
    assert "data_dir is missing: give --data-dir, RAFTQ_DATA_DIR" in missing.last_words
    assert not list(tmp_path.iterdir()), "nothing is written before the settings are right"


def test_help_and_version_are_code_0() -> None:
    assert Outcome("--version").output.startswith("raftqd 0.")
    assert "--election-timeout-ms" in Outcome("--help").output


def test_a_folder_in_use_is_code_4_and_names_the_process(running: NodeProcess) -> None:
    second = Outcome(*arguments(running.folder))
    assert second.code == 4
    assert running.process is not None
    assert f"{running.folder} is in use by process {running.process.pid}" in second.last_words
    assert call(running, "GET", "/readyz").status == 200


def test_a_folder_of_another_node_is_code_4(stopped: Path) -> None:
    other = Outcome(*arguments(stopped, node="n2", members=("n2",)))
    assert other.code == 4
    assert "belongs to node n1" in other.last_words and "node n2" in other.last_words


def test_a_folder_of_other_members_is_code_4(stopped: Path) -> None:
    other = Outcome(*arguments(stopped, members=("n1", "n2", "n3")))
    assert other.code == 4
    assert "members n1" in other.last_words and "n1, n2, n3" in other.last_words


def test_a_folder_that_is_none_of_ours_is_code_4(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    foreign = Outcome(*arguments(tmp_path))
    assert foreign.code == 4
    assert "holiday.jpg" in foreign.last_words


def test_a_folder_that_cannot_be_made_is_code_4(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    blocked = Outcome(*arguments(file / "data"))
    assert blocked.code == 4
    assert "data_dir" in blocked.last_words and str(file) in blocked.last_words


@pytest.mark.parametrize("listener", ["native", "http", "peer"])
def test_a_taken_address_is_code_3_and_named(
    running: NodeProcess, tmp_path: Path, listener: str
) -> None:
    address = {"native": running.native, "http": running.http, "peer": running.peer}[listener]
    taken = Outcome(*arguments(tmp_path), f"--{listener}", address)
    assert taken.code == 3
    assert f"{listener} is {address}" in taken.last_words
    assert "in use" in taken.last_words


def test_damage_in_the_middle_is_code_5_with_path_offset_and_advice(
    stopped: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "n1"
    shutil.copytree(stopped, folder)
    segment = min((folder / "journal").iterdir())
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 0xFF
    segment.write_bytes(content)
    damaged = Outcome(*arguments(folder))
    assert damaged.code == 5
    assert str(segment) in damaged.last_words
    assert re.search(r"at byte \d+", damaged.last_words)
    assert "start the node with an empty one" in damaged.last_words
    assert segment.read_bytes() == content, "nothing is repaired behind the operator's back"


def test_a_node_of_another_cluster_is_never_joined(tmp_path: Path) -> None:
    """Two clusters are made, then a node's folder of one is given to the other."""
    first, second = LocalCluster(tmp_path / "a"), LocalCluster(tmp_path / "b")
    with first:
        pass
    with second:
        pass
    shutil.rmtree(second.nodes[2].folder)
    shutil.copytree(first.nodes[2].folder, second.nodes[2].folder)
    stray = second.nodes[2]
    try:
        for node in second.nodes:
            node.start()
        wait_until(lambda: all(node.is_ready() for node in second.nodes[:2]), "two good nodes")
        view = second.nodes[0].view()
        assert view is not None
        logs = "".join(node.log.read_text() for node in second.nodes)
        assert "cluster" in logs
        if stray.is_running:
            assert not stray.is_ready()
            assert '"peer_refused"' in logs
        else:
            assert stray.process is not None and stray.process.returncode == 4
    finally:
        second.stop()


LOG_KEYS = {"ts", "level", "event", "node"}


def test_logs_are_json_lines_with_fixed_keys_and_no_payloads(running: NodeProcess) -> None:
    call(running, "POST", "/v1/queues/q/tasks", b'{"tasks":[{"payload":"secret-payload"')
    call(running, "POST", "/v1/queues/q/tasks", {"tasks": [{"payload": 1, "secret-payload": 2}]})
    lease = {"worker": "w", "lease_ms": 60_000}
    (leased,) = call(running, "POST", "/v1/queues/q/leases", lease).json["leases"]
    result = {"result": "secret-payload"}
    assert call(running, "POST", f"/v1/leases/{leased['token']}/ack", result).status == 200
    text = running.log.read_text()
    assert "secret-payload" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines
    for line in lines:
        assert set(line) >= LOG_KEYS, line
        assert line["node"] == "n1"
        assert line["level"] in {"debug", "info", "warning", "error", "critical"}
        assert line["ts"].endswith("Z")
    assert "node_started" in {line["event"] for line in lines}


def test_a_client_that_goes_away_is_no_error_in_the_log(running: NodeProcess) -> None:
    for address in (running.native, running.http, running.peer):
        for data in (b"", b"\x00\x01garbage\r\n\r\n", b"GET /v1/cluster HTTP/1.1\r\n\r\n"):
            with raw_socket(address) as sock:
                sock.sendall(data)
    assert call(running, "GET", "/readyz").status == 200
    levels = [json.loads(line)["level"] for line in running.log.read_text().splitlines()]
    assert not {"error", "critical"} & set(levels)
