"""Backups of a cluster that works: consistent, and never without what was acknowledged before."""

import time
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.support.clusters import raftq, start_raftq, wait_until
from tests.support.nodes import state_hash
from tests.support.old_and_new import Killer, back_up, content, holds, loaded, parsed, restored

from raftq.cli.local_cluster import LocalCluster
from raftq.client import Client

LARGE_TASKS = 60
LARGE_BYTES = 1024 * 1024


@pytest.fixture
def cluster(tmp_path: Path) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path / "old", settings={"snapshot-entries": "40"}) as started:
        yield started


def fill(cluster: LocalCluster) -> None:
    """Make the state so large that a backup of it takes a while."""
    with Client(cluster.addresses) as client:
        for _ in range(LARGE_TASKS):
            client.enqueue("large", bytes(LARGE_BYTES))


def test_under_load_and_snapshots_each_node_gives_what_was_acknowledged_before(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    indexes: list[int] = []
    with loaded(cluster) as load:
        wait_until(lambda: len(load.acknowledged) > 50)
        for round_ in range(2):
            for node in cluster.nodes:
                file = tmp_path / f"{round_}-{node.id}"
                before = load.acknowledged
                facts = back_up(file, cluster, "--http", node.http)
                meta, machine = content(file)
                assert holds(machine, before), "a write acknowledged before is missing"
                assert (meta.node, facts["state_hash"]) == (node.id, machine.state_hash)
                indexes.append(meta.index)
    assert indexes == sorted(indexes), "later backups are of later states"
    assert len(set(indexes)) > 3, "there was load"
    assert not list(tmp_path.glob("*.new"))


def test_a_backup_of_a_still_cluster_has_the_hash_that_all_nodes_report(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    with loaded(cluster) as load:
        wait_until(lambda: len(load.acknowledged) > 20)
    agreed = state_hash(cluster)
    facts = back_up(tmp_path / "a", cluster)
    assert facts["state_hash"] == agreed
    leader = cluster.wait_leader().id
    assert facts["node"] != leader, "a follower is asked: the leader has enough to do"
    verified = parsed(raftq("backup", "verify", str(tmp_path / "a"), "--json"))
    assert verified["state_hash"] == agreed
    assert verified["queues"] == {"saved": {"ready": len(load.acknowledged)}}


@pytest.mark.parametrize("victim", ["leader", "asked follower"])
def test_a_node_that_is_killed_meanwhile_costs_a_repetition_and_no_task(
    cluster: LocalCluster, tmp_path: Path, victim: str
) -> None:
    fill(cluster)
    leader = cluster.wait_leader()
    followers = [node for node in cluster.nodes if node is not leader]
    file = tmp_path / "a"
    killer = Killer(tmp_path / "a.new", leader if victim == "leader" else followers[0])
    with loaded(cluster) as load:
        wait_until(lambda: len(load.acknowledged) > 50)
        before = load.acknowledged
        killer.start()
        try:
            back_up(file, cluster)
        finally:
            killer.is_stopped.set()
            killer.join()
    assert killer.has_killed
    assert holds(content(file)[1], before)
    with restored(file, tmp_path / "new") as new, Client(new.addresses) as client:
        assert client.queue("large").counts["ready"] == LARGE_TASKS


def test_a_backup_begun_without_a_leader_waits_for_the_next_one(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    with loaded(cluster) as load:
        wait_until(lambda: len(load.acknowledged) > 20)
    before = load.acknowledged
    cluster.wait_leader().kill()
    back_up(tmp_path / "a", cluster)
    assert holds(content(tmp_path / "a")[1], before)


def test_an_interrupted_command_leaves_no_file_and_no_child(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    fill(cluster)
    command = start_raftq("backup", str(tmp_path / "a"), "--address", cluster.addresses)
    new = tmp_path / "a.new"
    wait_until(lambda: new.exists() and new.stat().st_size > 0)
    command.send_signal(2)
    assert command.wait(10) in (0, 130)
    command.communicate()
    assert not new.exists()

    def no_children() -> bool:
        pids = [node.process.pid for node in cluster.nodes if node.process is not None]
        tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
        return not any((task / "children").read_text() for task in tasks)

    wait_until(no_children)


def test_without_a_majority_the_command_ends_in_time_and_leaves_nothing(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    for node in cluster.nodes[1:]:
        node.kill()
    began = time.monotonic()
    ended = raftq(
        *("backup", str(tmp_path / "a"), "--address", cluster.addresses, "--timeout", "2s")
    )
    assert ended.code == 4 and "no_leader" in ended.err
    assert time.monotonic() - began < 10
    assert list(tmp_path.glob("a*")) == []


def test_an_existing_file_is_kept_unless_told_otherwise(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    file = tmp_path / "a"
    file.write_text("precious")
    ended = raftq("backup", str(file), "--address", cluster.addresses)
    assert ended.code == 2 and "--overwrite" in ended.err
    assert file.read_text() == "precious"
    back_up(file, cluster, "--overwrite")
    assert content(file)[0].index > 0
    assert file.stat().st_mode & 0o777 == 0o600
