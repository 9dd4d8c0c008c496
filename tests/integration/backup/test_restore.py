"""A restored cluster: the backup's state on every node, no task lost, no way back to the old."""

import json
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest
from tests.support.clusters import raftq, wait_until
from tests.support.old_and_new import (
    QUEUE,
    back_up,
    content,
    drain,
    loaded,
    members_option,
    parsed,
    restored,
    views_of,
)

from raftq.cli.local_cluster import LocalCluster
from raftq.client import Client, LeaseLost, TaskState
from raftq.protocol import limits


class Saved:
    """An old cluster that was backed up under load, and went on afterwards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "a.backup"
        self.old = LocalCluster(folder / "old", settings={"snapshot-entries": "40"})
        self.old.start()
        with Client(self.old.addresses) as client:
            client.enqueue("held", b"held")
            (lease,) = client.lease(["held"], worker="old", lease="1h")
            self.held_token, self.held_id = lease.token, lease.task_id
            with loaded(self.old) as load:
                wait_until(lambda: len(load.acknowledged) > 100)
                self.before = load.acknowledged
                self.facts = back_up(self.file, self.old)
                wait_until(lambda: len(load.acknowledged) > len(self.before) + 20)
            self.acknowledged = load.acknowledged
            self.later_tokens = [
                lease.token for lease in client.lease([QUEUE], worker="old", count=20)
            ]
        self.old.stop()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return Saved(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def new(saved: Saved, tmp_path: Path) -> Generator[LocalCluster]:
    cluster = restored(saved.file, tmp_path / "new")
    try:
        yield cluster
    finally:
        cluster.stop()


def test_every_node_begins_with_the_state_of_the_backup(saved: Saved, new: LocalCluster) -> None:
    for node in new.nodes:
        assert _inspected_snapshot(node.folder)["state_hash"] == saved.facts["state_hash"]
    new.start()
    wait_until(lambda: len({str(view["applied_index"]) for view in views_of(new)}) == 1)
    for view in views_of(new):
        assert view["state_hash"] == saved.facts["state_hash"]
        assert view["cluster_id"] not in ("", saved.facts["cluster_id"])
        assert view["applied_index"] == int(str(saved.facts["index"])) + 1, "a leader's first entry"


def _inspected_snapshot(folder: Path) -> dict[str, object]:
    """Return what `raftq inspect` says of the one snapshot in a folder."""
    ended = raftq("inspect", str(folder), "--json")
    assert ended.code == 0, ended.out
    (facts,) = [each["facts"] for each in json.loads(ended.out) if each["kind"] == "snapshot"]
    assert isinstance(facts, dict)
    return cast("dict[str, object]", facts)


def test_every_task_acknowledged_before_the_backup_runs_once_and_no_other(
    saved: Saved, new: LocalCluster
) -> None:
    new.start()
    done = drain(new)
    assert len(done) == len(set(done)), "no task runs twice"
    assert saved.before <= set(done), "a task that was acknowledged before is lost"
    in_file = content(saved.file)[1]
    assert set(done) == {id_ for id_ in saved.acknowledged if in_file.task(id_.bytes)}
    assert drain(new, "held") == [UUID(bytes=saved.held_id)]
    for view in views_of(new):
        assert view["leader"] is not None
    with Client(new.addresses) as client:
        counts = client.queue(QUEUE).counts
        assert counts["done"] == len(done) == client.queue(QUEUE).enqueued


def test_a_worker_of_the_old_cluster_settles_nothing_in_the_new_one(
    saved: Saved, new: LocalCluster
) -> None:
    new.start()
    with Client(new.addresses) as client:
        status = client.task(saved.held_id)
        assert (status.state, status.attempts) == (TaskState.READY, 0)
        leases = client.lease([QUEUE, "held"], worker="new", count=1_000, lease="60s")
        old_tokens = [saved.held_token, *saved.later_tokens]
        assert min(lease.token for lease in leases) > max(old_tokens) + 2**43
        assert limits.TOKENS_SKIPPED_BY_RESTORE > 2**43
        for token in old_tokens:
            with pytest.raises(LeaseLost):
                client.ack(token, b"late")
            with pytest.raises(LeaseLost):
                client.extend(token, "1h")
        assert client.task(saved.held_id).state is TaskState.LEASED


def test_a_node_of_the_old_cluster_is_refused_by_the_new_one(
    saved: Saved, new: LocalCluster
) -> None:
    new.start()
    third = new.nodes[2]
    third.stop()
    shutil.rmtree(third.folder)
    shutil.copytree(saved.old.nodes[2].folder, third.folder)
    third.start()
    wait_until(lambda: "belongs to cluster" in "".join(node.last_words() for node in new.nodes))
    assert not third.is_ready()
    done = drain(new)
    assert saved.before <= set(done), "the two others go on with what was restored"
    views = {str(view["node"]): view for view in views_of(new)}
    assert views["n1"]["cluster_id"] == views["n2"]["cluster_id"] != saved.facts["cluster_id"]
    assert not third.is_ready()


def test_nodes_restored_one_by_one_with_the_printed_id_are_one_cluster(
    saved: Saved, tmp_path: Path
) -> None:
    new = LocalCluster(tmp_path / "new")
    first, *others = new.nodes
    common = ("restore", str(saved.file), *members_option(new), "--json")
    printed = parsed(raftq(*common, "--node-id", first.id, "--data-dir", str(first.folder)))
    for node in others:
        again = parsed(
            raftq(
                *(*common, "--node-id", node.id, "--data-dir", str(node.folder)),
                *("--cluster-id", str(printed["cluster_id"])),
            )
        )
        assert again["cluster_id"] == printed["cluster_id"]
    with new:
        assert saved.before <= set(drain(new))


def test_the_words_of_a_restore_are_the_commands_for_the_other_nodes(
    saved: Saved, tmp_path: Path
) -> None:
    new = LocalCluster(tmp_path / "new")
    option = members_option(new)
    first = raftq(
        *("restore", str(saved.file), *option),
        *("--node-id", "n1", "--data-dir", str(new.nodes[0].folder)),
    )
    assert first.code == 0, first.err
    commands = [line.split() for line in first.out.splitlines() if line.startswith("    raftq")]
    assert len(commands) == 2
    for command, node in zip(commands, new.nodes[1:], strict=True):
        words = [str(node.folder) if word == "DIR" else word for word in command[1:]]
        assert raftq(*words).code == 0
    with new:
        assert saved.before <= set(drain(new))


def test_a_restore_writes_into_nothing_that_is_there(saved: Saved, tmp_path: Path) -> None:
    new = LocalCluster(tmp_path / "new")
    option = members_option(new)
    used = saved.old.nodes[0].folder
    before = {path: path.read_bytes() for path in used.rglob("*") if path.is_file()}
    for folder in (used, tmp_path / "foreign"):
        folder.mkdir(exist_ok=True)
        if folder != used:
            (folder / "mine").write_text("precious")
        ended = raftq(
            *("restore", str(saved.file), *option, "--node-id", "n1", "--data-dir", str(folder))
        )
        assert ended.code == 1 and str(folder) in ended.err, ended.err
    after = {path: path.read_bytes() for path in used.rglob("*") if path.is_file()}
    assert {path.name for path in before} == {path.name for path in after}
    assert all(after[path] == data for path, data in before.items() if path.name != "lock")


def test_a_damaged_backup_is_refused_before_anything_is_made(saved: Saved, tmp_path: Path) -> None:
    data = bytearray(saved.file.read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "damaged"
    damaged.write_bytes(data)
    new = LocalCluster(tmp_path / "new")
    ended = raftq(
        *("restore", str(damaged), *members_option(new)),
        *("--node-id", "n1", "--data-dir", str(tmp_path / "n1")),
    )
    assert ended.code == 1 and "damaged at byte" in ended.err
    assert not (tmp_path / "n1").exists()
    verified = raftq("backup", "verify", str(damaged))
    assert verified.code == 1 and "damaged at byte" in verified.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--node-id", "n1"), "belong together"),
        ((), "name each node once"),
        (("--node", "n1=x", "--node", "n1=y"), "name each node once"),
        (("--node", "n1=x", "--node", "n2=x"), "name each node once"),
        (("--node", "n9=x"), "not in --cluster"),
        (("--node", "n1=x", "--cluster-id", "short"), "32 hex digits"),
    ],
)
def test_a_restore_that_makes_no_sense_is_refused(
    saved: Saved, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    before = set(os.listdir(tmp_path))
    options = tuple(each.replace("=", f"={tmp_path}/") for each in options)
    cluster = "n1=127.0.0.1:1,n2=127.0.0.1:2"
    ended = raftq("restore", str(saved.file), "--cluster", cluster, *options)
    assert ended.code == 2 and words in ended.err, ended.err
    assert set(os.listdir(tmp_path)) == before


def test_the_id_of_the_old_cluster_is_refused(saved: Saved, tmp_path: Path) -> None:
    ended = raftq(
        *("restore", str(saved.file), "--cluster", "n1=127.0.0.1:1"),
        *("--node-id", "n1", "--data-dir", str(tmp_path / "n1")),
        *("--cluster-id", str(saved.facts["cluster_id"])),
    )
    assert ended.code == 2 and "that of the old cluster" in ended.err
