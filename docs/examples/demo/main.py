"""The main job: survey the standard library on three nodes, and kill some of them in the middle.

Starts three nodes and three workers as processes, enqueues one task for each file, sends SIGKILL
to the leader when a third is done, starts it again when two thirds are done, and compares every
recorded result with a direct computation. Exit code 1 if a figure is off.
"""

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from survey import library_files, survey
from worker import QUEUE

from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.client import AsyncClient, TaskState

PACE_SECONDS: Final = 0.004
"""Between two enqueues, so that the job lasts long enough to be disturbed."""
PATIENCE_SECONDS: Final = 100.0
STOP_SECONDS: Final = 20.0


@dataclass(slots=True)
class Job:
    """What was asked for and what was seen."""

    files: dict[UUID, Path] = field(default_factory=dict[UUID, Path])
    accepted_at: list[float] = field(default_factory=list[float])
    done: int = 0
    killed_at: float = 0.0
    gone_at: float = 0.0

    @property
    def failover_ms(self) -> float | None:
        """From the kill to the next accepted enqueue."""
        after = [at for at in self.accepted_at if at > self.gone_at]
        return (after[0] - self.killed_at) * 1_000 if self.gone_at and after else None


async def produce(client: AsyncClient, files: list[Path], job: Job) -> None:
    """Enqueue one task for each file, one after the other."""
    for path in files:
        task = await client.enqueue(QUEUE, str(path).encode(), timeout=PATIENCE_SECONDS)
        job.files[UUID(bytes=task.id)] = path
        job.accepted_at.append(time.monotonic())
        await asyncio.sleep(PACE_SECONDS)


async def watch(client: AsyncClient, total: int, job: Job, progress: Progress) -> None:
    """Follow the queue until all tasks are done."""
    bar = progress.add_task("surveyed", total=total)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while job.done < total and time.monotonic() < deadline:
        counts = (await client.queue(QUEUE, timeout=PATIENCE_SECONDS)).counts
        job.done = counts["done"]
        progress.update(bar, completed=job.done)
        await asyncio.sleep(0.05)


async def disturb(
    cluster: LocalCluster, which: str, total: int, at: float, job: Job, progress: Progress
) -> None:
    """Kill nodes when a part of the job is done; start them again later."""
    while job.done < total * at:
        await asyncio.sleep(0.01)
    leader = await asyncio.to_thread(cluster.wait_leader)
    victims = choose(cluster, leader, which)
    job.killed_at = time.monotonic()
    for victim in victims:
        victim.send(signal.SIGKILL)
    await asyncio.to_thread(reap, victims)
    job.gone_at = time.monotonic()
    names = ", ".join(victim.id + " (leader)" * (victim is leader) for victim in victims)
    progress.console.print(f"SIGKILL to {names} after {job.done} of {total} tasks")
    if which != "all":
        while job.done < total * (at + 1) / 2:
            await asyncio.sleep(0.01)
    for victim in victims:
        victim.start()
    progress.console.print(f"started {names} again after {job.done} of {total} tasks")


def choose(cluster: LocalCluster, leader: NodeProcess, which: str) -> list[NodeProcess]:
    """Return the nodes to kill."""
    followers = [node for node in cluster.nodes if node is not leader]
    return {"leader": [leader], "follower": [Random().choice(followers)], "all": cluster.nodes}[
        which
    ]


def reap(victims: list[NodeProcess]) -> None:
    """Wait until the killed processes are gone."""
    for victim in victims:
        victim.kill()


@contextmanager
def workers(cluster: LocalCluster, folder: Path) -> Generator[list[Path]]:
    """Run one worker for each node, which knows only that node at first."""
    witnesses = [folder / f"accepted-{node.id}" for node in cluster.nodes]
    program = str(Path(__file__).with_name("worker.py"))
    running = [
        subprocess.Popen([sys.executable, program, node.native, str(witness)])
        for node, witness in zip(cluster.nodes, witnesses, strict=True)
    ]
    try:
        yield witnesses
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(STOP_SECONDS)


async def check(client: AsyncClient, job: Job, witnesses: list[Path]) -> dict[str, int]:
    """Compare what the cluster recorded with a direct computation."""
    results = 0
    for task_id, path in job.files.items():
        status = await client.task(task_id)
        results += status.state is TaskState.DONE and status.result == survey(path)
    tokens: dict[str, set[str]] = {}
    for witness in witnesses:
        for line in witness.read_text().splitlines() if witness.exists() else []:
            task, token = line.split()
            tokens.setdefault(task, set()).add(token)
    enqueued = (await client.queue(QUEUE)).enqueued
    return {
        "tasks": len(job.files),
        "results": results,
        "lost": len(job.files) - results,
        "recorded twice": sum(len(each) > 1 for each in tokens.values())
        + abs(enqueued - len(job.files)),
    }


async def run(cluster: LocalCluster, arguments: argparse.Namespace, folder: Path) -> bool:
    """Do the job; return whether every figure is right."""
    files = library_files()[: arguments.files]
    job = Job()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with workers(cluster, folder) as witnesses:
        async with AsyncClient(cluster.addresses, name="demo") as client:
            print(f"{len(files)} files to survey; nodes: {cluster.addresses}")
            with Progress(*columns, TimeElapsedColumn(), console=Console()) as progress:
                async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
                    group.create_task(produce(client, files, job))
                    group.create_task(watch(client, len(files), job, progress))
                    group.create_task(
                        disturb(cluster, arguments.kill, len(files), arguments.at, job, progress)
                    )
            figures = await check(client, job, witnesses)
    failover = job.failover_ms
    words = ", ".join(f"{name} {value}" for name, value in figures.items())
    print(f"{words}, failover {'-' if failover is None else f'{failover:.0f}'} ms")
    return (
        failover is not None
        and figures["tasks"] == figures["results"] == len(files)
        and figures["lost"] == figures["recorded twice"] == 0
    )


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=None, help="survey only so many files")
    parser.add_argument("--kill", choices=("leader", "follower", "all"), default="leader")
    parser.add_argument("--at", type=float, default=1 / 3, help="part of the job done at the kill")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="raftq-demo-") as folder,
        LocalCluster(Path(folder)) as cluster,
    ):
        is_right = asyncio.run(run(cluster, arguments, Path(folder)))
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
