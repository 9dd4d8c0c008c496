"""`raftq top` on a real cluster, in a terminal and in a pipe."""

import json
import signal
from collections.abc import Generator

import pytest
from tests.support.clusters import raftq, start_raftq
from tests.support.shapes import fits
from tests.support.shells import Shell, Terminal

from raftq.cli.local_cluster import LocalCluster
from raftq.cli.shapes import SHAPES


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes")) as running:
        yield running


@pytest.fixture
def shell(cluster: LocalCluster) -> Shell:
    found = Shell(cluster)
    found.enqueue()
    return found


def test_one_look_is_printed_in_words_and_as_json(shell: Shell) -> None:
    words = ("top", "--once", "--interval", "200ms")
    shown = shell.words(*words)
    assert "leader n" in shown and "n1 " in shown and shell.queue in shown
    found = shell.json(*words)
    assert fits(SHAPES["top"], found)
    assert [node["id"] for node in found["nodes"]] == ["n1", "n2", "n3"]
    assert all(node["applied_index"] for node in found["nodes"])
    (queue,) = (each for each in found["queues"] if each["queue"] == shell.queue)
    assert queue["counts"]["ready"] == 1 and queue["oldest_ready_ms"] >= 0


def test_as_json_it_prints_a_line_for_each_look_until_it_is_interrupted(shell: Shell) -> None:
    addresses = shell.cluster.addresses
    process = start_raftq("top", "--json", "--interval", "200ms", RAFTQ_ADDRESSES=addresses)
    try:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, said) == (0, "")
    assert [fits(SHAPES["top"], line) for line in lines] == [True] * 3


@pytest.mark.parametrize("columns", [80, 140])
def test_on_a_terminal_it_follows_what_happens_until_ctrl_c(shell: Shell, columns: int) -> None:
    addresses = shell.cluster.addresses
    words = ("top", "--interval", "200ms")
    with Terminal(*words, columns=columns, RAFTQ_ADDRESSES=addresses) as terminal:
        terminal.expect("leader n")
        terminal.expect("queue ")
        shell.words("queue", "pause", shell.queue)
        terminal.expect("paused")
        terminal.interrupt()
        assert terminal.wait() == 0
    assert "Traceback" not in terminal.output and "interrupted" not in terminal.output
    entered, left = "\x1b[?1049h", "\x1b[?1049l"
    assert terminal.output.count(entered) == terminal.output.count(left) == 1


def test_a_node_that_is_gone_is_shown_and_so_is_its_return(shell: Shell) -> None:
    cluster = shell.cluster
    leader = cluster.wait_leader()
    gone = next(node for node in cluster.nodes if node is not leader)
    with Terminal("top", "--interval", "200ms", RAFTQ_ADDRESSES=cluster.addresses) as terminal:
        terminal.expect("leader n")
        gone.kill()
        try:
            terminal.expect("no answer")
        finally:
            gone.start()
        cluster.wait_leader()
        frame = ""
        while "no answer" in frame or f"{gone.id} " not in frame:
            frame = terminal.expect("oldest")
        terminal.interrupt()
        assert terminal.wait() == 0


def test_without_a_cluster_it_says_so_and_ends() -> None:
    ended = raftq("top", "--once", "--address", "127.0.0.1:1")
    assert (ended.code, ended.out) == (4, "") and "raftq dev" in ended.err
