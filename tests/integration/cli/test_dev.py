"""`raftq dev`: a local cluster that leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from tests.support.clusters import raftq, raftq_inside, start_raftq, wait_until

from raftq.cli.local_cluster import free_ports


def free_base_port() -> int:
    """Return a base port whose node ports nobody uses at the moment."""
    while True:
        base = free_ports(1)[0]
        wanted = [base + step + number for step in (0, 10, 20) for number in (1, 2, 3)]
        if base < 65_000 and all(_is_free(port) for port in wanted):
            return base


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class Dev:
    """A running `raftq dev`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.base = free_base_port()
        self.process = start_raftq(
            "dev", "--base-port", str(self.base), *arguments, TMPDIR=str(folder)
        )
        self.told: dict[str, Any] = {}

    def wait_started(self) -> None:
        """Read the JSON that it prints once it serves."""
        assert self.process.stdout is not None
        self.told = json.loads(self.process.stdout.readline())

    def nodes(self) -> list[int]:
        """Return the process ids of its nodes."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(each) for each in found.split()]

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal and return (exit code, stderr)."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


@pytest.fixture
def started(tmp_path: Path) -> Generator[Callable[..., Dev]]:
    made: list[Dev] = []

    def start(*arguments: str) -> Dev:
        dev = Dev(tmp_path, *arguments)
        made.append(dev)
        return dev

    yield start
    for dev in made:
        if dev.process.poll() is None:
            dev.process.terminate()
        dev.process.communicate(timeout=60)


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_dev_serves_until_a_signal_and_leaves_nothing_behind(
    started: Callable[..., Dev], tmp_path: Path, number: signal.Signals
) -> None:
    dev = started("--json")
    dev.wait_started()
    assert [node["id"] for node in dev.told["nodes"]] == ["n1", "n2", "n3"]
    assert set(dev.told) == {"addresses", "leader", "nodes"}
    assert all(set(node) == {"id", "native", "http", "log"} for node in dev.told["nodes"])
    assert raftq("enqueue", "q", "x", RAFTQ_ADDRESSES=dev.told["addresses"]).code == 0
    pids = dev.nodes()
    assert len(pids) == 3
    code, err = dev.end(number)
    assert (code, err) == (0, "stopping; a second Ctrl-C kills the nodes\n")
    assert gone(pids)
    assert list(tmp_path.iterdir()) == []


def test_nodes_that_were_killed_or_hang_do_not_keep_it_from_stopping(
    started: Callable[..., Dev], tmp_path: Path
) -> None:
    dev = started("--json")
    dev.wait_started()
    pids = dev.nodes()
    os.kill(pids[0], signal.SIGKILL)
    os.kill(pids[1], signal.SIGSTOP)
    code, err = dev.end(signal.SIGINT)
    assert code == 0 and "stopping" in err
    assert gone(pids)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_during_the_start_leaves_nothing_behind(
    started: Callable[..., Dev], tmp_path: Path
) -> None:
    dev = started("--json")
    wait_until(dev.nodes)
    pids = dev.nodes()
    dev.end(signal.SIGTERM)
    assert gone(pids)
    assert list(tmp_path.iterdir()) == []


def test_dev_says_how_to_talk_to_it_and_reports_a_node_that_ends(
    started: Callable[..., Dev],
) -> None:
    dev = started("--nodes", "3")
    assert dev.process.stdout is not None
    assert "3 nodes are running" in dev.process.stdout.readline()
    os.kill(dev.nodes()[0], signal.SIGKILL)
    assert dev.process.stderr is not None
    assert dev.process.stderr.readline().startswith("n1 ended; see ")
    dev.process.send_signal(signal.SIGINT)
    # `communicate` would not see what was read into the buffer together with the first line.
    out = dev.process.stdout.read()
    assert "export RAFTQ_ADDRESSES=127.0.0.1:" in out
    assert "raftq enqueue mail" in out and "curl" in out


def test_a_kept_data_folder_is_used_again(started: Callable[..., Dev], tmp_path: Path) -> None:
    data = tmp_path / "data"
    for state in (True, False):
        dev = started("--json", "--nodes", "1", "--data-dir", str(data))
        dev.wait_started()
        task_id = "01890000-0000-7000-8000-000000000001"
        address = dev.told["addresses"]
        added = raftq("enqueue", "q", "x", "--id", task_id, "--json", RAFTQ_ADDRESSES=address)
        assert json.loads(added.out)["created"] is state
        dev.end(signal.SIGINT)
    assert [each.name for each in tmp_path.iterdir()] == ["data"]


def test_taken_ports_are_refused_with_advice(tmp_path: Path) -> None:
    base = free_base_port()
    with socket.create_server(("127.0.0.1", base + 12)):
        ended = raftq("dev", "--base-port", str(base), TMPDIR=str(tmp_path))
    assert (ended.code, ended.out) == (1, "")
    assert str(base + 12) in ended.err and "--base-port" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [("--nodes", "2"), ("--nodes", "x"), ("--base-port", "70000")]
)
def test_bad_settings_of_dev_are_usage_errors(arguments: tuple[str, ...]) -> None:
    ended = raftq_inside("dev", *arguments)
    assert (ended.code, ended.out) == (2, "")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "node_id is missing"),
        (("--node-id", "n 1"), "node_id is 'n 1'"),
        (("--node-id", "n1", "--data-dir", "d", "--cluster", "n1"), "cluster is 'n1'"),
    ],
)
def test_bad_settings_of_a_node_name_the_setting(arguments: tuple[str, ...], named: str) -> None:

    ended = subprocess.run(
        [sys.executable, "-m", "raftq.node.main", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={key: value for key, value in os.environ.items() if not key.startswith("RAFTQ_")},
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert named in ended.stderr
