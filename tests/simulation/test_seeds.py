"""About two hundred runs keep all promises; `make sim` does thousands."""

from typing import Final

import pytest

from raftq.testing.sim.runner import Job, play
from raftq.testing.sim.scenarios import SCENARIOS

CHEAP: Final = {
    "rejoin": 6,
    "blackout": 16,
    "power-loss": 14,
    "calm": 4,
    "lonely": 4,
    "short-memory": 8,
    "hasty": 6,
    "new-disk": 6,
    "mixed": 16,
    "crashes": 16,
    "lagging": 8,
    "divergence": 6,
    "failed-sync": 6,
    "takeovers": 5,
    "schedules": 6,
    "events": 4,
}
"""How many seeds of the scenarios whose runs take least; of all others there are two."""

FIVE_NODES: Final = {
    "stale-acks": 3,
    "stale-link": 3,
    "blackout": 4,
    "power-loss": 3,
    "crashes": 3,
    "mixed": 3,
    "partitions": 2,
    "lagging": 2,
    "membership": 1,
    "clock-steps": 1,
}

ONLY_FIVE: Final = ("stale-acks", "stale-link")
"""With three nodes nothing happens in these."""

FOUND: Final = (
    ("bad-disks", 3, 17),  # The mark behind a sync found the disk full, and nobody was told.
    ("membership", 5, 1000),  # A removed node met one with an empty disk, and was never told.
    ("takeovers", 3, 11),  # Leases that a caller had heard of were given back for a repetition.
    ("takeovers", 3, 13),  # The same, of another leadership.
    ("events", 3, 5),  # Another node was taken for one of another cluster, and events for lost.
    ("clock-steps", 3, 7005),  # A new cluster began with the wrong one of two clocks.
    ("membership", 3, 20008),  # A clock was heard late over a slow link, and a delay ended early.
)
"""Runs that once showed a bug in raftq."""

THREE: Final = [
    (scenario, seed)
    for scenario in SCENARIOS
    if scenario not in ONLY_FIVE
    for seed in range(1, CHEAP.get(scenario, 2) + 1)
]
FIVE: Final = [
    (scenario, seed) for scenario, count in FIVE_NODES.items() for seed in range(1, count + 1)
]


@pytest.mark.parametrize(("scenario", "seed"), THREE)
def test_three_nodes_keep_every_promise(scenario: str, seed: int) -> None:
    report = play(Job(scenario, 3, seed))
    assert not report.rules, report.violations


@pytest.mark.parametrize(("scenario", "seed"), FIVE)
def test_five_nodes_keep_every_promise(scenario: str, seed: int) -> None:
    report = play(Job(scenario, 5, seed))
    assert not report.rules, report.violations


@pytest.mark.parametrize(("scenario", "nodes", "seed"), FOUND)
def test_a_run_that_once_showed_a_bug_is_clean(scenario: str, nodes: int, seed: int) -> None:
    report = play(Job(scenario, nodes, seed))
    assert not report.rules, report.violations
