"""The figures of a round, from its history."""

from dataclasses import dataclass
from itertools import pairwise

from raftq.protocol.commands import Enqueue
from raftq.protocol.replies import Leased
from raftq.testing.checks import Violation
from raftq.testing.history import History, Outcome

_LOSSES = frozenset({"lost", "torn-batch"})
_DOUBLES = frozenset({"double-ack", "resurrected", "duplicate-task", "phantom-done"})


@dataclass(frozen=True, slots=True)
class Figures:
    """What happened in a round, in numbers."""

    operations: int
    unknown: int
    """Calls whose outcome their client does not know."""
    enqueued: int
    """Tasks that were acknowledged."""
    unavailable_ms: float
    """The longest time between two successful enqueue calls of any client."""
    redeliveries: int
    """Leases of tasks that had been leased before."""
    lost: int
    recorded_twice: int


def figures_of(history: History, violations: list[Violation]) -> Figures:
    """Count."""
    enqueued: set[bytes] = set()
    succeeded_ms: list[float] = []
    grants: dict[bytes, set[int]] = {}
    for operation in history:
        if operation.outcome is not Outcome.OK:
            continue
        assert operation.ended_at_ms is not None
        if isinstance(operation.call, Enqueue):
            succeeded_ms.append(operation.ended_at_ms)
            enqueued.update(task.id for task in operation.call.tasks)
        elif isinstance(operation.reply, Leased):
            for lease in operation.reply.leases:
                grants.setdefault(lease.task_id, set()).add(lease.token)
    gaps = [after - before for before, after in pairwise(sorted(succeeded_ms))]
    unknown = (Outcome.UNKNOWN, Outcome.NEVER_ENDED)
    return Figures(
        operations=len(history),
        unknown=sum(1 for operation in history if operation.outcome in unknown),
        enqueued=len(enqueued),
        unavailable_ms=max(gaps, default=0.0),
        redeliveries=sum(len(tokens) - 1 for tokens in grants.values()),
        lost=sum(1 for each in violations if each.rule in _LOSSES),
        recorded_twice=sum(1 for each in violations if each.rule in _DOUBLES),
    )
