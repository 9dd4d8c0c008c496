"""Cases that run Apps: a worker process, callers that wait for results, blocking callers."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from raftq.cli.bench import processes
from raftq.cli.bench.app import CALL_SECONDS, nothing, nothing_in_a_thread
from raftq.cli.bench.figures import PER_SECOND, Sample
from raftq.cli.bench.load import Load
from raftq.cli.bench.stage import Stage
from raftq.cli.bench.worker_process import running_worker
from raftq.client import Client
from raftq.worker.supervision.settings import Settings

_APP: Final = "raftq.cli.bench.app:app"
_LOAD: Final = "raftq.cli.bench.app_load"
_CONCURRENCY: Final = 200
_PREFETCH: Final = 200
_THREADS: Final = 8
"""Of the worker. More do not run at a time, and each waits for the interpreter's lock."""
_BACKLOG_A_SECOND: Final = 10_000
_FILL_BATCH: Final = 1_000
_CALLERS_WAITING: Final = 256
_CALLERS: Final = 32
_LOOK_SECONDS: Final = 0.02
_PATIENCE_SECONDS: Final = 300.0
_KINDS: Final = {"async": nothing.queue, "sync": nothing_in_a_thread.queue}
"""What tasks are called in figures → the queue in which they wait."""


def worker_backlog(stage: Stage, case: str) -> list[Sample]:
    """One worker process works off tasks that wait, first async ones, then sync ones."""
    return [sample for kind in _KINDS for sample in _drain(stage, case, kind)]


def worker_end_to_end(stage: Stage, case: str) -> list[Sample]:
    """One process enqueues and waits for results, one worker process runs."""
    load = replace(_load(stage, "round-trips", nothing.queue), callers=_CALLERS_WAITING)
    with _worker(stage, nothing.queue) as worker:
        before = processes.cpu_seconds(worker)
        done = stage.perform(load)
        used = processes.cpu_seconds(worker) - before
    (outcome,) = done.outcomes
    return [
        Sample(case, "rate", PER_SECOND, done.rate),
        Sample(case, "p50", "ms", outcome.p50_ms),
        Sample(case, "p99", "ms", outcome.p99_ms),
        Sample(case, "CPU of the worker", "µs/task", _micros(used, done.tasks)),
        *done.cpu.samples(case, done.tasks),
    ]


def blocking_enqueue(stage: Stage, case: str) -> list[Sample]:
    """The same enqueues from threads and from one asynchronous program, one after the other."""
    roles = {"blocking": "enqueue-blocking", "async": "enqueue"}
    rates: dict[str, float] = {}
    samples: list[Sample] = []
    for name, role in roles.items():
        done = stage.perform(replace(_load(stage, role, nothing.queue), callers=_CALLERS))
        rates[name] = done.rate
        client = _micros(done.cpu.clients, done.tasks)
        samples += [
            Sample(case, f"rate, {name}", PER_SECOND, done.rate),
            Sample(case, f"CPU of the client, {name}", "µs/task", client),
        ]
    ratio = rates["async"] / max(rates["blocking"], 1e-9)
    return [*samples, Sample(case, "async rate to blocking rate", "x", ratio)]


def _drain(stage: Stage, case: str, kind: str) -> list[Sample]:
    queue = _KINDS[kind]
    tasks = max(int(stage.scale.seconds * _BACKLOG_A_SECOND), 1)
    with Client(stage.cluster.addresses, timeout=CALL_SECONDS) as client:
        client.pause(queue)
        stage.perform(replace(_load(stage, "fill", queue), tasks=tasks, batch=_FILL_BATCH))
        with _worker(stage, queue) as worker:
            nodes, own = stage.cpu_of_nodes(), processes.cpu_seconds(worker)
            began_at = time.monotonic()
            client.resume(queue)
            _wait_done(client, queue, tasks)
            seconds = time.monotonic() - began_at
            own = processes.cpu_seconds(worker) - own
            used = sum(stage.cpu_of_nodes().values()) - sum(nodes.values())
    return [
        Sample(case, f"rate, {kind} tasks", PER_SECOND, tasks / seconds),
        Sample(case, f"CPU of the worker, {kind} tasks", "µs/task", _micros(own, tasks)),
        Sample(case, f"CPU of all nodes, {kind} tasks", "µs/task", _micros(used, tasks)),
    ]


def _wait_done(client: Client, queue: str, tasks: int) -> None:
    """Wait until so many tasks of a queue are done.

    Raises:
        RuntimeError: Tasks failed for good, or it took far too long.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        counts = client.queue(queue).counts
        if counts["dead"]:
            raise RuntimeError(f"{counts['dead']} tasks that do nothing failed")
        if counts["done"] >= tasks:
            return
        time.sleep(_LOOK_SECONDS)
    raise RuntimeError("the worker did not come to the end of its backlog")


def _load(stage: Stage, role: str, queue: str) -> Load:
    return replace(stage.load(role, queue), module=_LOAD)


@contextmanager
def _worker(stage: Stage, queue: str) -> Generator[int]:
    settings = Settings(
        target=_APP,
        queues=[(queue, _CONCURRENCY + _PREFETCH)],
        concurrency=_CONCURRENCY,
        threads=_THREADS,
        prefetch=_PREFETCH,
        log_level="warning",
    )
    with running_worker(settings, stage.cluster.addresses, stage.samples) as process:
        stage.worker_processes.append(process)
        yield process


def _micros(seconds: float, tasks: int) -> float:
    return seconds / max(tasks, 1) * 1e6
