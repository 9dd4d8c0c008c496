"""Linearizable reads of a queue's counts lie between what certainly and what possibly happened."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from math import inf

from raftq.protocol.calls import QueueCall
from raftq.protocol.fields import Consistency, TaskState
from raftq.protocol.statuses import QueueStatus
from raftq.testing.checks.timeline import Timeline
from raftq.testing.checks.verdict import Violation
from raftq.testing.checks.views import Kind, end_ms
from raftq.testing.history import Operation


class _Range:
    """How often something certainly, and how often it possibly, happened before an instant."""

    def __init__(self) -> None:
        self._certain: list[float] = []
        self._possible: list[float] = []

    def add(self, certain_by_ms: float, possible_from_ms: float) -> None:
        self._certain.append(certain_by_ms)
        self._possible.append(possible_from_ms)

    def sort(self) -> None:
        self._certain.sort()
        self._possible.sort()

    def of(self, read: Operation) -> tuple[int, int]:
        ended_ms = end_ms(read)
        low = bisect_left(self._certain, read.invoked_at_ms)
        return low, bisect_right(self._possible, ended_ms)


def check_queue_reads(timeline: Timeline) -> Iterator[Violation]:
    """The counts of a queue are neither behind nor ahead of the calls."""
    enqueued, done = _ranges(timeline)
    nothing = _Range()
    for read in timeline.queue_reads:
        status = read.reply
        assert isinstance(read.call, QueueCall)
        if not isinstance(status, QueueStatus):
            continue
        if status.enqueued != sum(status.counts.values()):
            text = f"{status.queue} counts {status.enqueued} tasks and states of another number"
            yield Violation("conservation", text, [read])
        if read.call.consistency is not Consistency.LINEARIZABLE:
            continue
        for what, count, ranges in (
            ("enqueued", status.enqueued, enqueued),
            ("done", status.counts.get(TaskState.DONE, 0), done),
        ):
            low, high = ranges.get(status.queue, nothing).of(read)
            if count < low or (count > high and not timeline.may_forget):
                text = f"{status.queue} shows {count} {what}, expected {low} to {high}"
                yield Violation("stale-count", text, [read])


def _ranges(timeline: Timeline) -> tuple[dict[str, _Range], dict[str, _Range]]:
    enqueued: dict[str, _Range] = {}
    done: dict[str, _Range] = {}
    blind = [each.operation.invoked_at_ms for each in timeline.blind_of(Kind.ACK)]
    blind_from_ms = min(blind, default=inf)
    for task in timeline.tasks.values():
        created, ack = task.acknowledged, task.accepted_ack()
        acks = [each.operation.invoked_at_ms for each in task.possible_acks()]
        first_asked: dict[str, float] = {}
        for each in task.possible_creations():
            first_asked.setdefault(each.queue, each.operation.invoked_at_ms)
        for queue, asked_at_ms in first_asked.items():
            is_here = created is not None and created.queue == queue
            there_by_ms = end_ms(created.operation) if created and is_here else inf
            enqueued.setdefault(queue, _Range()).add(there_by_ms, asked_at_ms)
            done_by_ms = end_ms(ack.operation) if ack and is_here else inf
            done_from_ms = min([*acks, blind_from_ms])
            if acks or blind:
                done.setdefault(queue, _Range()).add(done_by_ms, done_from_ms)
    for ranges in [*enqueued.values(), *done.values()]:
        ranges.sort()
    return enqueued, done
