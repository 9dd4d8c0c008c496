"""The checks: from what clients and nodes saw to the promises that were broken.

Pure functions that know nothing of how the records were made. Two rules for writing one:
it must be sound (no execution of a correct cluster breaks it, whatever is lost, late, repeated or
unknown), and nearly linear in the number of calls.
"""

from collections.abc import Iterable

from raftq.core.machine import Machine
from raftq.testing.checks import (
    attempts,
    conservation,
    delays,
    durability,
    exclusion,
    existence,
    fencing,
    idempotency,
    liveness,
    nodes,
    order,
    queue_reads,
    reads,
    schedules,
)
from raftq.testing.checks.timeline import Timeline
from raftq.testing.checks.verdict import Bounds, Violation
from raftq.testing.facts import ClusterFacts
from raftq.testing.history import Operation

__all__ = ["Bounds", "Violation", "check_all", "check_clients", "check_nodes"]


def check_all(
    history: Iterable[Operation], facts: ClusterFacts | None = None, bounds: Bounds | None = None
) -> list[Violation]:
    """Return every promise that a run broke; empty if none.

    Args:
        history: All calls of all clients, in the order in which they were invoked.
        facts: What was seen inside the nodes; None if nothing was.
        bounds: What was done to clocks and what is demanded.
    """
    facts = ClusterFacts() if facts is None else facts
    bounds = Bounds() if bounds is None else bounds
    return [*check_nodes(facts), *check_clients(history, facts, bounds)]


def check_nodes(facts: ClusterFacts) -> list[Violation]:
    """Judge replication: what nodes applied, led and kept."""
    return [
        *nodes.check_leaders(facts),
        *nodes.check_logs(facts),
        *nodes.check_completeness(facts),
        *nodes.check_applied(facts),
        *nodes.check_progress(facts),
    ]


def check_clients(
    history: Iterable[Operation], facts: ClusterFacts, bounds: Bounds
) -> list[Violation]:
    """Judge what clients saw, and compare it with the final states."""
    timeline = Timeline(history, bounds)
    machines = {node: Machine.load(chunks) for node, chunks in facts.machines.items()}
    indexes = facts.machine_indexes
    newest = max(machines, key=lambda node: indexes.get(node, 0), default=None)
    return [
        *durability.check_lost(timeline, machines, newest, is_drained=facts.is_drained),
        *durability.check_done(timeline),
        *durability.check_outcomes(timeline, machines, newest),
        *durability.check_terminal(timeline),
        *exclusion.check_exclusion(timeline),
        *exclusion.check_lengths(timeline),
        *exclusion.check_rejections(timeline),
        *exclusion.check_expirations(timeline, facts),
        *fencing.check_tokens(timeline),
        *fencing.check_stale(timeline),
        *delays.check_delays(timeline),
        *idempotency.check_enqueues(timeline),
        *idempotency.check_requests(timeline),
        *existence.check_existence(timeline),
        *existence.check_batches(timeline, machines, newest),
        *attempts.check_attempts(timeline),
        *order.check_order(timeline),
        *order.check_empty_answers(timeline),
        *reads.check_reads(timeline),
        *queue_reads.check_queue_reads(timeline),
        *conservation.check_machines(machines),
        *conservation.check_totals(timeline, machines, newest),
        *schedules.check_ticks(machines, newest),
        *liveness.check_recovery(timeline),
    ]
