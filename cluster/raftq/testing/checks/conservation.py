"""No task appears or vanishes: the counts of the final machines."""

from collections.abc import Iterator, Mapping

from raftq.core.machine import Machine
from raftq.protocol.fields import TaskState
from raftq.testing.checks.schedules import runs_in
from raftq.testing.checks.timeline import Timeline
from raftq.testing.checks.verdict import Violation
from raftq.testing.checks.views import Kind


def check_machines(machines: Mapping[str, Machine]) -> Iterator[Violation]:
    """Every task ever enqueued is in exactly one state, on every node."""
    for node, machine in machines.items():
        try:
            machine.check_invariants()
        except AssertionError as error:
            yield Violation("conservation", f"on {node}: {error}")


def check_totals(
    timeline: Timeline, machines: Mapping[str, Machine], newest: str | None
) -> Iterator[Violation]:
    """The final counts lie between what was acknowledged and what may have happened."""
    if newest is None:
        return
    machine = machines[newest]
    enqueued, done = _ranges(timeline)
    for queue in dict.fromkeys([*machine.queues(), *enqueued]):
        if queue in timeline.bounds.other_queues:
            continue
        status = machine.queue(queue)
        for what, count, ranges in (
            ("enqueued", status.enqueued, enqueued),
            ("done", status.counts[TaskState.DONE], done),
        ):
            low, high = ranges.get(queue, (0, 0))
            fired = runs_in(machine, queue)
            low, high = (low + fired, high + fired) if ranges is enqueued else (low, high + fired)
            # A forgotten task may have been enqueued and done again under its id.
            if count < low or (count > high and not timeline.may_forget):
                text = f"{newest} counts {count} {what} in {queue}, expected {low} to {high}"
                yield Violation("totals", text)


def _ranges(timeline: Timeline) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
    """Return the least and greatest number of tasks enqueued and done in each queue."""
    enqueued: dict[str, tuple[int, int]] = {}
    done: dict[str, tuple[int, int]] = {}
    is_any_acked = bool(timeline.blind_of(Kind.ACK))
    for task in timeline.tasks.values():
        created = task.acknowledged
        is_acked = task.accepted_ack() is not None
        may_be_acked = is_any_acked or any(task.possible_acks())
        for queue in dict.fromkeys(each.queue for each in task.possible_creations()):
            is_here = created is not None and created.queue == queue
            _widen(enqueued, queue, low=is_here, high=True)
            _widen(done, queue, low=is_here and is_acked, high=may_be_acked)
    return enqueued, done


def _widen(ranges: dict[str, tuple[int, int]], queue: str, *, low: bool, high: bool) -> None:
    known_low, known_high = ranges.get(queue, (0, 0))
    ranges[queue] = known_low + low, known_high + high
