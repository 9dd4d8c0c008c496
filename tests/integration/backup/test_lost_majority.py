"""The majority is gone with its disks: what the survivor has begins a new cluster."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.support.clusters import ENVIRONMENT, raftq, wait_until
from tests.support.nodes import call, state_hash
from tests.support.old_and_new import (
    back_up,
    content,
    drain,
    holds,
    loaded,
    parsed,
    restored,
    views_of,
)

from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.client import Client


@pytest.fixture
def cluster(tmp_path: Path) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path / "old", settings={"snapshot-entries": "40"}) as started:
        yield started


def lose_majority(cluster: LocalCluster) -> NodeProcess:
    """Kill two nodes and their disks; return the survivor."""
    survivor, *lost = cluster.nodes
    for node in lost:
        node.kill()
        shutil.rmtree(node.folder)
    return survivor


def confirm(survivor: NodeProcess, file: Path, answer: str) -> tuple[int, str]:
    """Run `raftq recover` and type an answer."""
    ended = subprocess.run(
        [sys.executable, "-m", "raftq.cli.main", "recover", str(survivor.folder), str(file)],
        input=answer,
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        timeout=60,
    )
    return ended.returncode, ended.stderr


def test_what_had_reached_the_survivor_goes_on_in_a_new_cluster(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    with loaded(cluster) as load:
        wait_until(lambda: len(load.acknowledged) > 100)
    acknowledged, agreed = load.acknowledged, state_hash(cluster)
    survivor = lose_majority(cluster)
    stale = back_up(tmp_path / "stale", cluster, "--consistency=stale", "--http", survivor.http)
    assert stale["state_hash"] == agreed, "a stale backup needs no majority"
    survivor.stop()

    before = {path: path.stat().st_mtime_ns for path in survivor.folder.rglob("*")}
    found = parsed(raftq("recover", str(survivor.folder), "--json"))
    assert found["state_hash"] == agreed
    code, words = confirm(survivor, tmp_path / "a.backup", f"{survivor.id}\n")
    assert code == 0 and "LOST" in words and f"({survivor.id})" in words
    after = {path: path.stat().st_mtime_ns for path in survivor.folder.rglob("*")}
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert changed <= {"lock"} and before.keys() == after.keys(), "the survivor stays as it was"

    meta, machine = content(tmp_path / "a.backup")
    assert meta.is_recovered and meta.index == found["last_index"]
    assert holds(machine, acknowledged)
    with restored(tmp_path / "a.backup", tmp_path / "new") as new:
        wait_until(lambda: len({str(view["applied_index"]) for view in views_of(new)}) == 1)
        assert {view["state_hash"] for view in views_of(new)} == {agreed}
        done = drain(new)
        assert set(done) == acknowledged and len(done) == len(set(done))


def test_nothing_is_written_without_confirmation(cluster: LocalCluster, tmp_path: Path) -> None:
    with Client(cluster.addresses) as client:
        client.enqueue("q", b"x")
    survivor = lose_majority(cluster)
    running = raftq("recover", str(survivor.folder), str(tmp_path / "a"), "--yes-lose-data")
    assert running.code == 1 and "in use by process" in running.err
    survivor.stop()
    for answer in ("", "\n", "yes\n", "n2\n"):
        code, words = confirm(survivor, tmp_path / "a", answer)
        assert code == 1 and "not confirmed; nothing was written" in words, answer
    assert not (tmp_path / "a").exists()
    (tmp_path / "a").write_text("precious")
    there = raftq("recover", str(survivor.folder), str(tmp_path / "a"), "--yes-lose-data")
    assert there.code == 1 and "exists; name a new file" in there.err
    assert (tmp_path / "a").read_text() == "precious"


def test_entries_that_were_never_committed_are_kept(cluster: LocalCluster, tmp_path: Path) -> None:
    """The survivor cannot know whether the lost nodes had them too, and acknowledged them."""
    leader = cluster.wait_leader()
    cluster.nodes.sort(key=lambda node: node is not leader)
    for node in cluster.nodes[1:]:
        node.send(signal.SIGSTOP)
    task_id = uuid4()
    body = f'{{"tasks": [{{"id": "{task_id}", "payload": "x"}}], "timeout_ms": 300}}'.encode()
    answer = call(leader, "POST", "/v1/queues/q/tasks", body)
    assert answer.status == 504, "nobody knows"
    survivor = lose_majority(cluster)
    survivor.stop()
    assert raftq("recover", str(survivor.folder), str(tmp_path / "a"), "--yes-lose-data").code == 0
    assert holds(content(tmp_path / "a")[1], {task_id})
