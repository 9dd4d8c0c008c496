"""Once healed, the cluster works again within a stated time."""

from collections.abc import Iterator
from math import inf

from raftq.protocol.calls import ClusterCall, LeaseCall, MembersCall, QueueCall, TaskCall
from raftq.protocol.replies import Leased
from raftq.testing.checks.timeline import Timeline
from raftq.testing.checks.verdict import Violation
from raftq.testing.history import Operation, Outcome


def check_recovery(timeline: Timeline) -> Iterator[Violation]:
    """After the last fault a command is committed within the bound, if any was tried."""
    healed_at_ms, recovery_ms = timeline.bounds.healed_at_ms, timeline.bounds.recovery_ms
    if healed_at_ms is None or recovery_ms == inf:
        return
    late_ms = healed_at_ms + recovery_ms
    tried = [
        each
        for each in timeline.operations
        if not isinstance(each.call, TaskCall | QueueCall | ClusterCall | MembersCall | LeaseCall)
        and each.invoked_at_ms <= late_ms
        and (each.ended_at_ms is None or each.ended_at_ms >= healed_at_ms)
    ]
    committed = [each.ended_at_ms for each in timeline.operations if _is_committed(each)]
    first_ms = min((at_ms for at_ms in committed if at_ms and at_ms >= healed_at_ms), default=inf)
    if tried and first_ms > late_ms and _last_ms(timeline) > late_ms:
        what = "not at all" if first_ms == inf else f"{first_ms - healed_at_ms:g} ms later"
        text = (
            f"healed at {healed_at_ms:g} ms, the first command succeeded {what}; "
            f"{recovery_ms:g} ms are allowed"
        )
        yield Violation("slow-recovery", text, tried[:1])


def _is_committed(operation: Operation) -> bool:
    """Return whether a call was answered from a committed entry."""
    if operation.outcome is not Outcome.OK:
        return False
    match operation.call:
        case TaskCall() | QueueCall() | ClusterCall():
            return False
        case LeaseCall():
            return isinstance(operation.reply, Leased) and bool(operation.reply.leases)
        case _:
            return not isinstance(operation.call, MembersCall)


def _last_ms(timeline: Timeline) -> float:
    times = [each.invoked_at_ms for each in timeline.operations]
    times += [each.ended_at_ms for each in timeline.operations if each.ended_at_ms is not None]
    return max(times, default=0.0)
