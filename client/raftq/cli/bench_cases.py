"""What `raftq bench` measures: each case runs load processes against a cluster of its own."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final

from raftq.cli.bench_load import Load, Outcome
from raftq.cli.local_cluster import LocalCluster
from raftq.client import AsyncClient, RaftqError

_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
_CONSUMERS: Final = 4
_KILLS: Final = 5
"""Leaders killed in each round."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number of one round."""

    name: str
    unit: str
    value: float


class Cases:
    """Runs the cases of one round.

    Args:
        cluster: A running cluster.
        seconds: How long each case runs.
    """

    def __init__(self, cluster: LocalCluster, seconds: float) -> None:
        self._cluster = cluster
        self._seconds = seconds
        self._number = 0

    def round(self) -> list[Figure]:
        """Run every case once."""
        return [
            *self.enqueue("enqueue, 1 caller", callers=1, batch=1),
            *self.enqueue("enqueue, 128 callers", callers=128, batch=1),
            *self.enqueue("enqueue, batches of 100", callers=4, batch=100),
            *self.life_cycle("life cycle, one call a task", callers=32, batch=1),
            *self.life_cycle("life cycle, batches of 100", callers=2, batch=100),
            *self.latency(),
            *self.failover(),
        ]

    def enqueue(self, name: str, *, callers: int, batch: int) -> list[Figure]:
        """Confirmed enqueues by one process."""
        with self._nodes_cpu() as nodes:
            (outcome,) = self._run([self._load("enqueue", callers=callers, batch=batch)])
        figures = [Figure(name, "/s", outcome.tasks / outcome.seconds)]
        if callers == 1:
            figures.append(Figure(f"{name}, p50", "ms", median(outcome.latencies_ms)))
        return [*figures, *_cpu(name, nodes[0], outcome.cpu_seconds, outcome.tasks)]

    def life_cycle(self, name: str, *, callers: int, batch: int) -> list[Figure]:
        """One producer, four consumers, each a process: enqueue, lease, ack until all is done."""
        queue = self._new_queue()
        loads = [self._load("enqueue", queue=queue, callers=callers, batch=batch)]
        loads += [
            self._load("consume", queue=queue, callers=callers, batch=batch, name=f"c{number}")
            for number in range(_CONSUMERS)
        ]
        begun = time.time()
        with self._nodes_cpu() as nodes:
            produced, *consumed = self._run(loads)
        done = sum(outcome.tasks for outcome in consumed)
        if done != produced.tasks:
            raise RuntimeError(f"{produced.tasks} tasks were accepted, {done} acked")
        seconds = max(outcome.ended_at for outcome in consumed) - begun
        clients = produced.cpu_seconds + sum(outcome.cpu_seconds for outcome in consumed)
        return [
            Figure(name, "tasks/s", done / seconds),
            *_cpu(name, nodes[0], clients, done),
        ]

    def latency(self) -> list[Figure]:
        """Enqueue and delivery at 200 tasks a second."""
        queue = self._new_queue()
        sent, received = self._run(
            [
                self._load("pace", queue=queue, rate=200),
                self._load("receive", queue=queue, extra_seconds=1.0),
            ]
        )
        return [
            Figure("enqueue at 200/s, p50", "ms", median(sent.latencies_ms)),
            Figure("enqueue at 200/s, p99", "ms", _percentile(sent.latencies_ms, 99)),
            Figure("enqueue to delivery at 200/s, p50", "ms", median(received.latencies_ms)),
        ]

    def failover(self) -> list[Figure]:
        """SIGKILL the leader under a steady caller; how long until the next accepted enqueue?"""
        figures: list[Figure] = []
        for _ in range(_KILLS):
            gap_ms = asyncio.run(measure_failover(self._cluster, self._new_queue()))
            figures.append(Figure("leader SIGKILLed to next enqueue", "ms", gap_ms))
            self._cluster.wait_ready()
        return figures

    # ------------------------------------------------------------ parts

    def _new_queue(self) -> str:
        self._number += 1
        return f"bench-{os.getpid()}-{self._number}-{time.monotonic_ns()}"

    def _load(
        self,
        role: str,
        *,
        queue: str | None = None,
        callers: int = 1,
        batch: int = 1,
        rate: int = 0,
        name: str = "bench",
        extra_seconds: float = 0.0,
    ) -> Load:
        return Load(
            role,
            self._cluster.addresses,
            queue or self._new_queue(),
            self._seconds + extra_seconds,
            callers,
            batch,
            rate=rate,
            name=name,
        )

    def _run(self, loads: list[Load]) -> list[Outcome]:
        """Run loads at the same time, each in a process of its own."""
        command = [sys.executable, "-m", "raftq.cli.bench_load"]
        processes = [
            subprocess.Popen([*command, json.dumps(asdict(load))], stdout=subprocess.PIPE)
            for load in loads
        ]
        outcomes: list[Outcome] = []
        for process in processes:
            output, _ = process.communicate()
            if process.returncode:
                raise RuntimeError("a load process failed; its message is above")
            outcomes.append(Outcome(**json.loads(output)))
        return outcomes

    @contextmanager
    def _nodes_cpu(self) -> Generator[list[float]]:
        """Measure the CPU seconds of all nodes; the result is in the list afterwards."""
        result: list[float] = []
        before = self._cpu_now()
        yield result
        result.append(self._cpu_now() - before)

    def _cpu_now(self) -> float:
        ticks = 0
        for node in self._cluster.nodes:
            assert node.process is not None
            with open(f"/proc/{node.process.pid}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _CLOCK_TICKS


async def measure_failover(cluster: LocalCluster, queue: str) -> float:
    """Kill the leader, start it again later; return the milliseconds without an enqueue."""
    accepted: list[float] = []
    stopping = asyncio.Event()

    async def call(client: AsyncClient) -> None:
        while not stopping.is_set():
            try:
                await client.enqueue(queue, b"x", timeout=5)
            except RaftqError:
                continue
            accepted.append(time.perf_counter())

    async with AsyncClient(cluster.addresses) as client:
        caller = asyncio.create_task(call(client))
        await asyncio.sleep(0.5)
        leader = await asyncio.to_thread(cluster.wait_leader)
        killed_at = time.perf_counter()
        leader.kill()
        gone_at = time.perf_counter()  # What is accepted from here on, another leader accepted.
        while not accepted or accepted[-1] <= gone_at:
            await asyncio.sleep(0.002)
        first = next(at for at in accepted if at > gone_at)
        stopping.set()
        await caller
    leader.start()
    return (first - killed_at) * 1_000


def _cpu(name: str, nodes: float, clients: float, tasks: int) -> list[Figure]:
    return [
        Figure(f"{name}, CPU of all nodes", "µs/task", nodes / tasks * 1e6),
        Figure(f"{name}, CPU of clients", "µs/task", clients / tasks * 1e6),
    ]


def _percentile(values: list[float], percent: int) -> float:
    return values[min(len(values) * percent // 100, len(values) - 1)]
