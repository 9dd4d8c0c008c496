"""Runs of `raftq bench` that nobody measured."""

from raftq.cli.bench.curves import Point
from raftq.cli.bench.figures import Figure, Pick
from raftq.cli.bench.record import Record

CURVE = [Point(500, 499.5, 0.7, 2.1), Point(1_000, 998, 0.9, 3.5)]


def record(rate: float = 40_000.0, gap: float = 80.0, cores: int = 2) -> Record:
    """Return a run with a rate, what it cost, a worst case, and all curves."""
    return Record(
        {"processor": "P", "cores": cores, "raftq": "0.1.0", "fdatasync_ms": 0.2, "began_at": "t"},
        {"nodes": 3, "rounds": 3},
        [
            Figure("enqueue-128", "rate", "/s", Pick.MEDIAN, [rate - 1, rate, rate + 1_000]),
            Figure("enqueue-128", "CPU, leader", "µs/task", Pick.MEDIAN, [12.0]),
            Figure("leader-killed", "gap, worst", "ms", Pick.WORST, [gap - 10, gap]),
        ],
        {name: CURVE for name in ("offered-load", "waiting-tasks", "payload-bytes")},
    )
