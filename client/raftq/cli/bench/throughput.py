"""Cases that run as fast as they can: enqueues, and life cycles over five client processes."""

from dataclasses import replace
from typing import Final

from raftq.cli.bench.figures import PER_SECOND, Sample
from raftq.cli.bench.load import Load
from raftq.cli.bench.stage import Performance, Stage

CONSUMERS: Final = 4


def enqueues(stage: Stage, case: str, *, callers: int, batch: int) -> list[Sample]:
    """Confirmed enqueues by one process."""
    done = stage.perform(replace(stage.load("enqueue"), callers=callers, batch=batch))
    (outcome,) = done.outcomes
    return [
        Sample(case, "rate", PER_SECOND, done.rate),
        Sample(case, "p50", "ms", outcome.p50_ms),
        Sample(case, "p99", "ms", outcome.p99_ms),
        *done.cpu.samples(case, done.tasks),
    ]


def life_cycles(stage: Stage, case: str, *, callers: int, batch: int) -> list[Sample]:
    """Enqueue, lease, ack: one producer, four consumers, until every task is done.

    Raises:
        RuntimeError: Not as many tasks were acked as were accepted.
    """
    producer = replace(stage.load("enqueue"), callers=callers, batch=batch)
    done = stage.perform(producer, *consumers(producer))
    tasks = acked_tasks(done)
    rate = Sample(case, "rate", PER_SECOND, tasks / done.seconds)
    return [rate, *done.cpu.samples(case, tasks)]


def acked_tasks(done: Performance) -> int:
    """Return how many tasks a producer, the first load, and the consumers did.

    Raises:
        RuntimeError: Not as many were acked as were accepted.
    """
    produced, *consumed = done.outcomes
    acked = sum(outcome.tasks for outcome in consumed)
    if acked != produced.tasks:
        raise RuntimeError(f"{produced.tasks} tasks were accepted, {acked} acked")
    return acked


def consumers(producer: Load) -> list[Load]:
    """Return the loads of four workers on a producer's queue, with as many callers and batches."""
    return [
        replace(producer, role="consume", name=f"consumer-{number}") for number in range(CONSUMERS)
    ]
