"""Cases with little or nothing to do: latency and CPU at a steady rate, and of an idle cluster."""

import time
from dataclasses import replace
from typing import Final

from raftq.cli.bench import processes
from raftq.cli.bench.figures import Sample
from raftq.cli.bench.stage import Stage

_RATE: Final = 200
_PATIENCE_SECONDS: Final = 30.0
_SETTLE_SECONDS: Final = 2.0
"""After a start: until nodes have connected, and nothing of the start is left to do."""


def paced(stage: Stage, case: str) -> list[Sample]:
    """200 tasks a second: enqueued, delivered to a worker that waits, acked."""
    queue = stage.new_queue()
    seconds = 2 * stage.scale.seconds  # One percent of few calls is no figure.
    tasks = int(_RATE * seconds)
    done = stage.perform(
        replace(stage.load("pace", queue), rate=_RATE, seconds=seconds),
        replace(stage.load("receive", queue), tasks=tasks, seconds=seconds + _PATIENCE_SECONDS),
    )
    sent, received = done.outcomes
    if received.tasks != sent.tasks:
        raise RuntimeError(f"{sent.tasks} tasks were accepted, {received.tasks} delivered")
    return [
        Sample(case, "enqueue, p50", "ms", sent.p50_ms),
        Sample(case, "enqueue, p99", "ms", sent.p99_ms),
        Sample(case, "enqueue to delivery, p50", "ms", received.p50_ms),
        Sample(case, "enqueue to delivery, p99", "ms", received.p99_ms),
        Sample(case, "CPU of all nodes", "cores", done.cpu.nodes / done.seconds),
        *done.cpu.samples(case, sent.tasks),
    ]


def idle(stage: Stage, case: str) -> list[Sample]:
    """A cluster without clients: the CPU and the memory of each node."""
    leader = stage.cluster.wait_leader()
    time.sleep(_SETTLE_SECONDS)
    began_at = time.monotonic()
    before = {node.id: processes.cpu_seconds(process) for node, process in stage.running()}
    time.sleep(stage.scale.seconds)
    seconds = time.monotonic() - began_at
    samples: list[Sample] = []
    for node, process in stage.running():
        role = "leader" if node is leader else "follower"
        share = (processes.cpu_seconds(process) - before[node.id]) / seconds
        samples.append(Sample(case, f"CPU of the {role}", "% of a core", 100 * share))
    memory = max(processes.memory_bytes(process)[0] for _, process in stage.running())
    return [*samples, Sample(case, "memory of a node", "MB", memory / processes.MB)]
