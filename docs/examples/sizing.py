"""Measure what a node needs on this machine: `python sizing.py [TASKS]`.

Starts three nodes, fills them with waiting tasks of 256 bytes, opens connections, starts a node
again, and prints memory, disk, CPU and file descriptors. docs/operating/sizing.md explains the
figures. Linux only: it reads /proc.
"""

import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.client import AsyncClient

QUEUE: Final = "sizing"
PAYLOAD: Final = b"x" * 256
BATCH: Final = 1_000
SINGLE_CALLS: Final = 5_000
CALLERS: Final = 64
CONNECTIONS: Final = 500
PATIENCE_SECONDS: Final = 60.0
MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Use:
    """What one process uses at one moment."""

    memory_bytes: int
    disk_bytes: int
    cpu_seconds: float
    descriptors: int


def use(node: NodeProcess) -> Use:
    """Read the use of a running node."""
    assert node.process is not None
    process = Path("/proc", str(node.process.pid))
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    ticks = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
    files = [path for path in node.folder.rglob("*") if path.is_file()]
    return Use(
        int(lines["VmRSS"].split()[0]) * 1_024,
        sum(path.stat().st_size for path in files),
        sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"),
        len(list((process / "fd").iterdir())),
    )


async def fill(client: AsyncClient, tasks: int) -> None:
    """Enqueue tasks in batches, a few at a time."""

    async def batches(count: int) -> None:
        for _ in range(count):
            await client.enqueue_many(QUEUE, [PAYLOAD] * BATCH)

    await asyncio.gather(*(batches(tasks // BATCH // 4) for _ in range(4)))


async def call_singly(client: AsyncClient, calls: int) -> None:
    """Enqueue tasks one a call, from many callers at a time."""

    async def caller() -> None:
        for _ in range(calls // CALLERS):
            await client.enqueue(QUEUE, PAYLOAD)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def connect(address: str) -> list[AsyncClient]:
    """Return clients with a connection each."""
    clients = [AsyncClient(address) for _ in range(CONNECTIONS)]
    for client in clients:
        await client.cluster()
    return clients


def show(what: str, value: float, unit: str) -> None:
    """Print one figure."""
    print(f"{what:<52} {value:>10,.1f} {unit}")


async def measure(cluster: LocalCluster, tasks: int) -> None:
    """Print what the leader and a follower need for each kind of load."""
    leader = cluster.wait_leader()
    follower = next(node for node in cluster.nodes if node is not leader)
    roles = {"leader": leader, "follower": follower}
    idle = {role: use(node) for role, node in roles.items()}
    show("memory of an idle node", idle["follower"].memory_bytes / MIB, "MiB")
    show("file descriptors of an idle node", idle["follower"].descriptors, "")
    async with AsyncClient(cluster.addresses, timeout=PATIENCE_SECONDS) as client:
        await fill(client, tasks)
        full = {role: use(node) for role, node in roles.items()}
        for role in roles:
            grown = full[role].memory_bytes - idle[role].memory_bytes
            show(f"memory of a waiting task, {role}", grown / tasks, "bytes")
            written = full[role].disk_bytes - idle[role].disk_bytes
            show(f"disk of a waiting task, {role}", written / tasks, "bytes")
            cpu = full[role].cpu_seconds - idle[role].cpu_seconds
            show(f"CPU of 100,000 tasks in batches of {BATCH}, {role}", cpu / tasks * 1e5, "s")
        await call_singly(client, SINGLE_CALLS)
        for role, node in roles.items():
            cpu = use(node).cpu_seconds - full[role].cpu_seconds
            show(f"CPU of 100,000 single enqueues, {role}", cpu / SINGLE_CALLS * 1e5, "s")
    before = use(follower)
    clients = await connect(follower.native)
    after = use(follower)
    grown = after.memory_bytes - before.memory_bytes
    show("memory of a connection", grown / CONNECTIONS / 1_024, "KiB")
    show(
        "file descriptors of a connection",
        (after.descriptors - before.descriptors) / CONNECTIONS,
        "",
    )
    await asyncio.gather(*(each.close() for each in clients))


def restart_seconds(cluster: LocalCluster) -> float:
    """Return how long a follower takes from its start until it serves."""
    leader = cluster.wait_leader()
    follower = next(node for node in cluster.nodes if node is not leader)
    follower.stop()
    begun_at = time.monotonic()
    follower.start()
    cluster.wait_ready(PATIENCE_SECONDS)
    return time.monotonic() - begun_at


def main() -> None:
    """Measure."""
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    print(f"{tasks:,} waiting tasks of {len(PAYLOAD)} bytes, three nodes on this machine")
    with (
        tempfile.TemporaryDirectory(prefix="raftq-sizing-") as folder,
        LocalCluster(Path(folder)) as cluster,
    ):
        asyncio.run(measure(cluster, tasks))
        show("start of a node with all of them", restart_seconds(cluster), "s")


if __name__ == "__main__":
    main()
