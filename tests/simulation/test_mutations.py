"""A safeguard that is taken away is missed: each mutation is caught, and the seed that shows it.

A change of production code shifts what happens in a seed. If the known seed is clean then, others
are tried; that is slow, so update the seed with what `raftq sim --mutate NAME` finds.
"""

import os
import subprocess
import sys

import pytest
from tests.support.mutated import NAME_VARIABLE

from raftq.testing.sim.mutations import MUTATIONS, UNSEEN
from raftq.testing.sim.runner import Job, hunt, play

BUDGET = 40
"""Runs in which a mutation must be caught if its known seed does not show it any more."""

SEEDS: dict[str, tuple[str, int, int]] = {
    "append-filter": ("crashes", 3, 0),
    "append-hint": ("wrong-tail", 3, 0),
    "commit-clamp": ("wrong-tail", 3, 0),
    "ack-term": ("stale-acks", 5, 0),
    "follower-gate": ("blackout", 3, 4),
    "leader-gate": ("blackout", 3, 8),
    "snapshot-commit": ("divergence", 3, 0),
    "snapshot-stream": ("lagging", 3, 0),
    "snapshot-pause": ("lagging", 3, 6),
    "batch-size": ("calm", 3, 0),
    "connection-epoch": ("stale-link", 5, 17),
    "pre-vote": ("rejoin", 3, 0),
    "stickiness": ("rejoin", 3, 2),
    "term-note": ("left-behind", 3, 0),
    "step-down": ("deposed", 3, 0),
    "read-barrier": ("deposed", 3, 1),
    "read-round": ("deposed", 3, 1),
    "read-own-term": ("takeovers", 3, 0),
    "transfer-tag": ("rolling-restart", 3, 11),
    "lease-step-cap": ("short-freezes", 3, 0),
    "grace-period": ("steady", 3, 0),
    "cluster-time": ("clock-steps", 3, 1),
    "clock-quorum": ("unheard", 3, 4),
    "clock-round-trip": ("slow-links", 3, 0),
    "carried-time": ("two-clocks", 3, 3),
    "lease-backlog": ("silence", 3, 7),
    "retry-memory": ("short-memory", 3, 0),
    "wall-clock-max": ("clock-steps", 3, 3),
    "journal-sync": ("blackout", 3, 0),
    "journal-folder-sync": ("blackout", 3, 1),
    "vote-sync": ("usurpers", 3, 0),
    "vote-folder-sync": ("usurpers", 3, 0),
    "snapshot-sync": ("lagging-power", 3, 0),
    "snapshot-received-sync": ("received-power", 3, 0),
    "snapshot-folder-sync": ("lagging-power", 3, 0),
    "vote-file": ("crashes", 3, 0),
    "log-reconcile": ("lagging", 3, 1),
    "sync-failure": ("failed-sync", 3, 0),
    "snapshot-cancel": ("slow-snapshots", 3, 5),
    "snapshot-before-cut": ("lagging", 3, 0),
    "snapshot-damage": ("bit-rot", 3, 0),
    "payload-checksums": ("rot-in-use", 3, 2),
    "payload-change-over": ("backlog", 3, 0),
    "payload-boundary": ("backlog", 3, 0),
    "checksums": ("bit-rot", 3, 0),
    "torn-end": ("rot-in-majority", 3, 0),
    "lost-leadership": ("no-majority", 3, 1),
    "commit-timeout": ("no-majority", 3, 0),
    "lost-link": ("one-door", 3, 0),
    "client-outcome": ("no-majority", 3, 0),
    "late-callers": ("takeovers", 3, 0),
    "client-ids": ("crashes", 3, 0),
    "enqueue-once": ("crashes", 3, 0),
    "lease-once": ("crashes", 3, 1),
    "fencing": ("freezes", 3, 0),
    "apply-shell": ("calm", 3, 3),
    "whole-dump": ("lagging", 3, 0),
    "determinism": ("calm", 3, 0),
    "members-one-at-a-time": ("hasty", 5, 0),
    "members-own-term": ("membership", 3, 0),
    "learners-count": ("learners-word", 3, 0),
    "list-in-log": ("membership", 3, 2),
    "probation": ("forgetful", 3, 0),
    "farewell": ("membership", 3, 0),
    "order-key": ("task-model", 3, 0),
    "limit-key": ("task-model", 3, 0),
    "parents-gate": ("task-model", 3, 0),
    "confirm-gate": ("task-model", 3, 0),
    "event-resume": ("events", 3, 0),
    "tick-match": ("schedules", 3, 1),
    "tick-chain": ("schedules", 3, 1),
    "schedules-dump": ("schedules", 3, 0),
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("mutation", SEEDS)
def test_a_missing_safeguard_is_noticed(mutation: str) -> None:
    scenario, nodes, seed = SEEDS[mutation]
    if not play(Job(scenario, nodes, seed, mutation)).rules:
        found = hunt(mutation, budget=BUDGET)
        assert found.caught is not None, f"nothing notices that {MUTATIONS[mutation].summary}"


def test_every_mutation_that_is_shown_has_a_seed() -> None:
    assert set(SEEDS) == {name for name, known in MUTATIONS.items() if not known.not_shown_because}
    assert not set(SEEDS) & set(UNSEEN)


NOT_IN_RUNS = {name: known for name, known in MUTATIONS.items() if known.not_shown_because}


@pytest.mark.parametrize("mutation", NOT_IN_RUNS)
def test_a_missing_safeguard_that_no_run_shows_fails_a_unit_test(mutation: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.mutated"]
    run = subprocess.run(
        [*command, NOT_IN_RUNS[mutation].shown_by],
        env={**os.environ, NAME_VARIABLE: mutation},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert "1 failed" in run.stdout, run.stdout
