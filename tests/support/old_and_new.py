"""Clusters that are saved, lost and made again, and what was acknowledged in them."""

import json
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from tests.support.clusters import Ended, raftq
from tests.support.load import HttpCaller

from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.client import AckItem, Client
from raftq.core.machine import Machine
from raftq.node.backup_files import load_backup
from raftq.storage.backups import BackupMeta
from raftq.storage.files import RealFiles

QUEUE = "saved"


class Load:
    """Callers at every node, and what they were promised so far."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._callers = [HttpCaller(cluster, node, QUEUE) for node in cluster.nodes]

    @property
    def acknowledged(self) -> set[UUID]:
        return {UUID(id_) for caller in self._callers for id_ in list(caller.heard.enqueued)}

    def start(self) -> None:
        for caller in self._callers:
            caller.start()

    def stop(self) -> None:
        for caller in self._callers:
            caller.is_stopped.set()
        for caller in self._callers:
            caller.join()


@contextmanager
def loaded(cluster: LocalCluster) -> Generator[Load]:
    """Enqueue through every node for the length of a block."""
    load = Load(cluster)
    load.start()
    try:
        yield load
    finally:
        load.stop()


def back_up(file: Path, cluster: LocalCluster, *options: str) -> dict[str, object]:
    """Take a backup with the command, which must succeed."""
    ended = raftq("backup", str(file), "--address", cluster.addresses, "--json", *options)
    return parsed(ended)


def parsed(ended: Ended) -> dict[str, object]:
    """Return what a command printed as JSON; it must have succeeded."""
    assert ended.code == 0, ended.err
    facts: dict[str, object] = json.loads(ended.out)
    return facts


def content(file: Path) -> tuple[BackupMeta, Machine]:
    """Return what is in a backup file."""
    return load_backup(RealFiles(), file)


def holds(machine: Machine, ids: set[UUID]) -> bool:
    """Tell whether a machine knows all of these tasks."""
    return all(machine.task(id_.bytes) is not None for id_ in ids)


def restored(file: Path, folder: Path, **settings: str) -> LocalCluster:
    """Restore a backup into a cluster of three nodes, not started."""
    cluster = LocalCluster(folder, settings=settings)
    nodes = {node.id: node.folder for node in cluster.nodes}
    parsed(raftq("restore", str(file), *members_option(cluster), *node_options(nodes), "--json"))
    return cluster


def members_option(cluster: LocalCluster) -> tuple[str, str]:
    return "--cluster", ",".join(f"{node.id}={node.peer}" for node in cluster.nodes)


def node_options(folders: Mapping[str, Path]) -> list[str]:
    return [f"--node={node}={folder}" for node, folder in folders.items()]


def views_of(cluster: LocalCluster) -> list[dict[str, object]]:
    """Return what each running node says of itself."""
    views = [node.view() for node in cluster.nodes if node.is_running]
    assert None not in views
    return [view for view in views if view is not None]


def drain(cluster: LocalCluster, queue: str = QUEUE) -> list[UUID]:
    """Run every task of a queue once and return their ids, in order."""
    done: list[UUID] = []
    with Client(cluster.addresses) as client:
        while leases := client.lease([queue], worker="drain", count=1_000, lease="60s"):
            settled = client.ack_many([AckItem(lease.token, None) for lease in leases])
            assert all(item.state == "done" for item in settled)
            done += [UUID(bytes=lease.task_id) for lease in leases]
    return done


class Killer(threading.Thread):
    """Kills a node as soon as a file begins to grow."""

    def __init__(self, file: Path, node: NodeProcess) -> None:
        super().__init__()
        self._file = file
        self._node = node
        self.is_stopped = threading.Event()
        self.has_killed = False

    def run(self) -> None:
        while not self.is_stopped.wait(0.001):
            if self._file.exists() and self._file.stat().st_size:
                self._node.kill()
                self.has_killed = True
                return
