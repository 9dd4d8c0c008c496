"""Where one case plays: a cluster of its own, load processes, and the CPU that both use."""

import json
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from raftq.cli.bench import processes
from raftq.cli.bench.figures import Sample
from raftq.cli.bench.load import READY, Load, Outcome
from raftq.cli.interrupts import interrupts_held
from raftq.cli.local_cluster import NODE_PROGRAM, LocalCluster, NodeProcess

_SAMPLED: Final = ("-m", "raftq.cli.bench.sampler")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done.

    Attributes:
        nodes: In each cluster.
        seconds: Length of a case that has no length of its own.
        disturbances: Leaders killed, and hung, in one round.
        tasks: Of the backlog.
        payload_bytes: Of each task.
        settings: Further `raftqd` flags without dashes in front.
    """

    nodes: int = 3
    seconds: float = 4.0
    disturbances: int = 7
    tasks: int = 1_000_000
    payload_bytes: int = 256
    settings: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds by who used them."""

    leader: float
    followers: tuple[float, ...]
    clients: float

    @property
    def nodes(self) -> float:
        """All nodes together."""
        return self.leader + sum(self.followers)

    def samples(self, case: str, tasks: int) -> list[Sample]:
        """Return what one task cost whom."""
        used = {"leader": self.leader, "all nodes": self.nodes, "clients": self.clients}
        if self.followers:
            used["follower"] = sum(self.followers) / len(self.followers)
        return [
            Sample(case, f"CPU, {who}", "µs/task", seconds / max(tasks, 1) * 1e6)
            for who, seconds in used.items()
        ]


@dataclass(frozen=True, slots=True)
class Performance:
    """What loads did, in the order given, and what that cost."""

    outcomes: list[Outcome]
    cpu: Cpu

    @property
    def tasks(self) -> int:
        """Tasks that all of them did."""
        return sum(outcome.tasks for outcome in self.outcomes)

    @property
    def seconds(self) -> float:
        """From the first beginning to the last thing done."""
        began = min(outcome.began_at for outcome in self.outcomes)
        return max(max(each.ended_at for each in self.outcomes) - began, 1e-9)

    @property
    def rate(self) -> float:
        """Tasks a second."""
        return self.tasks / self.seconds


class Stage:
    """A running cluster, and what a case does with it. Use `opened_stage`.

    Args:
        cluster: It is running.
        scale: How much to do.
        samples: A folder for the stacks of load processes; None leaves them alone.
    """

    def __init__(self, cluster: LocalCluster, scale: Scale, samples: Path | None = None) -> None:
        self.cluster = cluster
        self.scale = scale
        self.samples = samples
        self._queues = 0
        self.load_processes: list[int] = []
        """The ids of all load processes so far."""
        self.worker_processes: list[int] = []
        """The ids of all worker processes so far, which cases start."""

    def new_queue(self) -> str:
        """Return the name of a queue that is empty."""
        self._queues += 1
        return f"bench-{self._queues}"

    def load(self, role: str, queue: str | None = None) -> Load:
        """Return a load with the scale's seconds and payloads, on a new queue if none is given."""
        return Load(
            role,
            self.new_queue() if queue is None else queue,
            seconds=self.scale.seconds,
            payload_bytes=self.scale.payload_bytes,
        )

    def perform(self, *loads: Load) -> Performance:
        """Run loads at the same time, each in a process of its own.

        Raises:
            RuntimeError: One failed.
        """
        leader = self.cluster.wait_leader()
        with self._started(loads) as started:
            before = self.cpu_of_nodes()
            for process in started:
                _say(process, "go\n")
            outcomes = [_outcome(process) for process in started]
            after = self.cpu_of_nodes()
        used = {node: after[node] - before[node] for node in after if node in before}
        followers = tuple(used[node] for node in used if node != leader.id)
        clients = sum(outcome.cpu_seconds for outcome in outcomes)
        return Performance(outcomes, Cpu(used.get(leader.id, 0.0), followers, clients))

    def running(self) -> list[tuple[NodeProcess, int]]:
        """Return the nodes that run, with their process ids."""
        return [
            (node, node.process.pid)
            for node in self.cluster.nodes
            if node.process is not None and node.is_running
        ]

    def cpu_of_nodes(self) -> dict[str, float]:
        """Return the CPU seconds that each node has used so far."""
        return {node.id: processes.cpu_seconds(process) for node, process in self.running()}

    @contextmanager
    def _started(self, loads: Sequence[Load]) -> Generator[list[subprocess.Popen[str]]]:
        """Start load processes and wait until each is connected; leave none behind."""
        program = ("-m",) if self.samples is None else (*_SAMPLED, str(self.samples))
        started: list[subprocess.Popen[str]] = []
        try:
            for load in loads:
                words = [*program, load.module, self.cluster.addresses, json.dumps(asdict(load))]
                with interrupts_held():
                    started.append(_start([sys.executable, *words]))
            self.load_processes += [process.pid for process in started]
            for process in started:
                assert process.stdout is not None
                if process.stdout.readline().strip() != READY:
                    raise RuntimeError("a load process failed; its message is above")
            yield started
        finally:
            for process in started:
                process.kill()
                process.communicate()


def _start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _say(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdin is not None
    process.stdin.write(words)
    process.stdin.flush()


def _outcome(process: subprocess.Popen[str]) -> Outcome:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError("a load process failed; its message is above")
    return Outcome(**json.loads(output))


@contextmanager
def opened_stage(folder: Path, scale: Scale, samples: Path | None = None) -> Generator[Stage]:
    """Start a cluster for one case in a folder, and stop it.

    Args:
        folder: Made for this; nothing of it is removed.
        scale: How much to do.
        samples: A folder for the stacks of all processes; they run as usual if it is None.
    """
    program = NODE_PROGRAM if samples is None else (*_SAMPLED, str(samples), NODE_PROGRAM[1])
    with LocalCluster(folder, scale.nodes, None, scale.settings, program) as cluster:
        yield Stage(cluster, scale, samples)
