"""Fencing tokens grow, name one lease each, and those of the past change nothing."""

from collections.abc import Iterator
from math import inf

from raftq.testing.checks.timeline import Timeline
from raftq.testing.checks.verdict import Violation
from raftq.testing.checks.views import Grant, Kind, TaskView


def check_tokens(timeline: Timeline) -> Iterator[Violation]:
    """Of two leases, the one granted later has the greater token; no token serves twice."""
    for grant, operation, leased in timeline.clashes:
        yield Violation(
            "token-reuse",
            f"the token {grant.token} names lease {grant.attempt} of {grant.task_id.hex()} and "
            f"lease {leased.attempt} of {leased.task_id.hex()}, or two requests",
            [grant.operation, operation],
        )
    known = sorted(timeline.grants.values(), key=lambda grant: grant.known_by_ms)
    place, greatest = 0, None
    for grant in sorted(timeline.grants.values(), key=lambda grant: grant.granted_from_ms):
        while place < len(known) and known[place].known_by_ms < grant.granted_from_ms:
            if greatest is None or known[place].token > greatest.token:
                greatest = known[place]
            place += 1
        if greatest is not None and grant.token < greatest.token:
            yield Violation(
                "token-order",
                f"the token {grant.token} was granted after {greatest.token}",
                [greatest.operation, grant.operation],
            )


def check_stale(timeline: Timeline) -> Iterator[Violation]:
    """A settlement counts only while its lease is the newest and was not given up."""
    for task in timeline.tasks.values():
        newer_known_by_ms = inf
        newer: Grant | None = None
        for grant in reversed(task.grants):
            yield from _superseded(timeline, task, grant, newer, newer_known_by_ms)
            yield from _released(grant)
            if grant.known_by_ms < newer_known_by_ms:
                newer_known_by_ms, newer = grant.known_by_ms, grant
    yield from _before_grant(timeline)


def _superseded(
    timeline: Timeline,
    task: TaskView,
    grant: Grant,
    newer: Grant | None,
    newer_known_by_ms: float,
) -> Iterator[Violation]:
    if newer is None:
        return
    for each in grant.settlings:
        # An accepted ack ends the task: there can be no newer lease at any time, unless the task
        # was forgotten and enqueued again.
        is_final = each.kind is Kind.ACK and not timeline.may_forget
        is_stale = is_final or each.operation.invoked_at_ms > newer_known_by_ms
        if each.is_accepted and is_stale:
            yield Violation(
                "stale-accepted",
                f"{each.kind} with the token {grant.token} of {task.name} was accepted, though "
                f"the task was leased with {newer.token}",
                [newer.operation, each.operation],
            )


def _released(grant: Grant) -> Iterator[Violation]:
    ends = list(grant.accepted(Kind.ACK, Kind.FAIL, Kind.REQUEUE))
    if len({each.kind for each in ends}) > 1:
        text = f"the lease {grant.token} was ended in several ways"
        yield Violation("released-accepted", text, [each.operation for each in ends])
    ended_by_ms = min((each.operation.ended_at_ms or inf for each in ends), default=inf)
    for each in grant.accepted(Kind.EXTEND):
        if each.operation.invoked_at_ms > ended_by_ms:
            text = f"the lease {grant.token} was extended after its end"
            yield Violation("released-accepted", text, [ends[0].operation, each.operation])


def _before_grant(timeline: Timeline) -> Iterator[Violation]:
    for grant in timeline.grants.values():
        for each in grant.settlings:
            ended_at_ms = each.operation.ended_at_ms
            if each.is_accepted and ended_at_ms is not None and ended_at_ms < grant.granted_from_ms:
                text = f"{each.kind} with the token {grant.token} was accepted before its grant"
                yield Violation("forged-accepted", text, [each.operation, grant.operation])
