"""A handful of runs of every scenario keep all promises; `make sim` does thousands."""

import pytest

from raftq.testing.sim.runner import Job, play
from raftq.testing.sim.scenarios import SCENARIOS

FIVE_NODES = ("crashes", "partitions", "mixed", "lagging", "stale-acks", "stale-link")

FOUND = (
    ("bad-disks", 3, 17),  # The mark behind a sync found the disk full, and nobody was told.
    ("membership", 3, 333),  # Under load, an added node was never sent a snapshot.
)
"""Runs that once showed a bug in raftq."""


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_three_nodes_keep_every_promise(scenario: str, seed: int) -> None:
    report = play(Job(scenario, 3, seed))
    assert not report.rules, report.violations


@pytest.mark.parametrize("scenario", FIVE_NODES)
def test_five_nodes_keep_every_promise(scenario: str) -> None:
    report = play(Job(scenario, 5, 1))
    assert not report.rules, report.violations


@pytest.mark.parametrize(("scenario", "nodes", "seed"), FOUND)
def test_a_run_that_once_showed_a_bug_is_clean(scenario: str, nodes: int, seed: int) -> None:
    report = play(Job(scenario, nodes, seed))
    assert not report.rules, report.violations
