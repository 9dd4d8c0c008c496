"""How figures change as one thing grows: the offered load, the backlog, the payload."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from raftq.cli.bench.backlog import fill, settle
from raftq.cli.bench.processes import MB
from raftq.cli.bench.stage import Stage
from raftq.cli.bench.throughput import CONSUMERS, acked_tasks, consumers

_RATES: Final = (500, 1_000, 2_000, 5_000, 10_000, 15_000, 20_000, 30_000, 40_000, 50_000)
_KEPT_UP: Final = 0.8
"""A load of which less is accepted in time is over the limit; a greater one tells no more."""
_BACKLOGS: Final = (0, 0.1, 0.3, 0.6, 1)
"""Parts of the scale's tasks."""
_PAYLOADS: Final = (64, 256, 1_024, 4_096, 16_384, 65_536, 262_144)
_CALL_BYTES_MAX: Final = 1_000_000
_CALLERS: Final = 2
_BATCH: Final = 100
_TASKS_A_SECOND: Final = 10_000
_BYTES_A_POINT: Final = 200 * MB
_PATIENCE_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a curve.

    Attributes:
        at: What grows: tasks offered a second, tasks waiting, or bytes of a payload.
        rate: Tasks a second that were done.
        p50_ms, p99_ms: How long calls took, if that was measured.
    """

    at: float
    rate: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Curve:
    """A kind of curve; `measure` gives its points one by one."""

    name: str
    text: str
    measure: Callable[[Stage], Iterator[Point]]


def offered_load(stage: Stage, rates: Sequence[int] = _RATES) -> Iterator[Point]:
    """Single enqueues at one rate after another, until the cluster cannot follow."""
    for rate in rates:
        done = stage.perform(replace(stage.load("pace"), rate=rate))
        (outcome,) = done.outcomes
        yield Point(rate, done.rate, outcome.p50_ms, outcome.p99_ms)
        if done.rate < _KEPT_UP * rate:
            return


def waiting_tasks(stage: Stage, parts: Sequence[float] = _BACKLOGS) -> Iterator[Point]:
    """Life cycles in a queue that has more and more tasks waiting."""
    queue = stage.new_queue()
    waiting = 0
    for part in parts:
        wanted = int(stage.scale.tasks * part)
        if wanted > waiting:
            fill(stage, queue, wanted - waiting)
            settle(stage)
            waiting = wanted
        yield _life_cycles(stage, waiting, queue, stage.scale.payload_bytes)


def payload_bytes(stage: Stage, sizes: Sequence[int] = _PAYLOADS) -> Iterator[Point]:
    """Life cycles of tasks with larger and larger payloads."""
    for size in sizes:
        yield _life_cycles(stage, size, stage.new_queue(), size)


def _life_cycles(stage: Stage, at: int, queue: str, size: int) -> Point:
    """Put as many tasks through a queue as it gets, so that what waits there stays."""
    tasks = min(int(stage.scale.seconds * _TASKS_A_SECOND), _BYTES_A_POINT // size)
    each = max(tasks // CONSUMERS, 1)
    batch = max(min(_BATCH, _CALL_BYTES_MAX // size, each), 1)
    load = replace(
        stage.load("enqueue", queue),
        callers=_CALLERS,
        batch=batch,
        payload_bytes=size,
        seconds=_PATIENCE_SECONDS,
    )
    producer = replace(load, tasks=each * CONSUMERS)
    done = stage.perform(producer, *consumers(replace(load, tasks=each)))
    return Point(at, acked_tasks(done) / done.seconds)


CURVES: Final = (
    Curve("offered-load", "throughput and latency as the offered load grows", offered_load),
    Curve("waiting-tasks", "life cycles as the backlog grows", waiting_tasks),
    Curve("payload-bytes", "life cycles as payloads grow", payload_bytes),
)
