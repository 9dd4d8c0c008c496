"""One valid lease per task, and no live worker robbed of it."""

from collections.abc import Iterator

from raftq.protocol.calls import LeaseCall
from raftq.protocol.errors import LeaseLost
from raftq.protocol.replies import Leased
from raftq.testing.checks.timeline import Timeline
from raftq.testing.checks.verdict import Violation
from raftq.testing.checks.views import Grant, Kind, Settling, TaskView
from raftq.testing.facts import ClusterFacts, LeaseExpired


def check_exclusion(timeline: Timeline) -> Iterator[Violation]:
    """At most one valid lease per task: none is granted while another certainly runs."""
    for task in timeline.tasks.values():
        longest: tuple[float, Grant] | None = None
        for grant in task.grants:
            if longest is not None:
                until_ms, earlier = longest
                if grant.known_by_ms < until_ms and not earlier.may_be_released(grant.known_by_ms):
                    yield Violation(
                        "overlap",
                        f"{task.name} was leased again (token {grant.token}, by "
                        f"{grant.known_by_ms:g} ms) while the lease {earlier.token} ran "
                        f"until {until_ms:g} ms at least",
                        [earlier.operation, grant.operation],
                    )
            until_ms = grant.valid_until_ms(timeline.bounds)
            if longest is None or until_ms > longest[0] or longest[1].may_be_released(until_ms):
                longest = until_ms, grant


def check_lengths(timeline: Timeline) -> Iterator[Violation]:
    """A lease runs as long as was asked for; one that is told again, for what is left of it."""
    for grant in timeline.grants.values():
        for operation, leased in grant.replies:
            assert isinstance(operation.call, LeaseCall) and isinstance(operation.reply, Leased)
            asked_ms = operation.call.lease_ms
            if leased.lease_ms != asked_ms and not operation.reply.is_repeat:
                text = f"the lease {grant.token} runs {leased.lease_ms} ms, {asked_ms} were asked"
                yield Violation("wrong-length", text, [operation])


def check_rejections(timeline: Timeline) -> Iterator[Violation]:
    """A worker that certainly holds its lease is never told that it is lost."""
    for task in timeline.tasks.values():
        for grant in task.grants:
            if not any(each.is_refused for each in grant.settlings):
                continue
            until_ms = grant.valid_until_ms(timeline.bounds)
            for each in grant.settlings:
                if _is_unjust(timeline, task, grant, each, until_ms):
                    yield Violation(
                        "unjust-reject",
                        f"the lease {grant.token} of {task.name} ran until {until_ms:g} ms at "
                        f"least, and its {each.kind} was refused before",
                        [grant.operation, each.operation],
                    )


def _is_unjust(
    timeline: Timeline, task: TaskView, grant: Grant, refused: Settling, until_ms: float
) -> bool:
    outcome, ended_at_ms = refused.outcome, refused.operation.ended_at_ms
    if outcome is None or ended_at_ms is None or outcome.error_code != LeaseLost.code:
        return False
    if ended_at_ms >= until_ms or grant.may_be_released(ended_at_ms, besides=refused):
        return False
    match refused.kind:
        case Kind.EXTEND:
            return True
        case Kind.ACK:
            return not timeline.may_forget
        case Kind.FAIL | Kind.REQUEUE:
            # An earlier try of the same call may have released the lease and another worker may
            # have got the task since; only then is the repetition refused.
            later = (each for each in task.grants if each.token > grant.token)
            if any(each.granted_from_ms <= ended_at_ms for each in later):
                return False
            ceiling = timeline.tokens.ceiling(ended_at_ms)
            return not timeline.tokens.may_hide_one(grant.token, ceiling)


def check_expirations(timeline: Timeline, facts: ClusterFacts) -> Iterator[Violation]:
    """No lease runs out early, whatever leaders and clocks do; and none that ran out counts."""
    for event in facts.events:
        if not isinstance(event, LeaseExpired):
            continue
        grant = timeline.grants.get(event.token)
        if grant is None:
            continue
        until_ms = grant.valid_until_ms(timeline.bounds)
        if event.at_ms < until_ms:
            yield Violation(
                "robbed",
                f"{event.node} let the lease {event.token} run out at {event.at_ms:g} ms; it was "
                f"valid until {until_ms:g} ms at least",
                [grant.operation],
            )
        for each in grant.settlings:
            if each.is_accepted and each.operation.invoked_at_ms > event.at_ms:
                yield Violation(
                    "stale-accepted",
                    f"the lease {event.token} had run out at {event.at_ms:g} ms on {event.node}",
                    [grant.operation, each.operation],
                )
