"""What subscribers to events were told: all that happened, in order, once, and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from raftq.protocol.events import TaskEvent
from raftq.protocol.fields import TaskState
from raftq.testing.checks.verdict import Violation


@dataclass(slots=True)
class Followed:
    """What one program was told without a break: up to its end, or until it heard of lost ones."""

    who: str
    told: list[TaskEvent] = field(default_factory=list[TaskEvent])


def check_events(
    runs: Sequence[Followed], moves: Mapping[int, Sequence[tuple[TaskState, str, list[bytes]]]]
) -> Iterator[Violation]:
    """Judge what subscribers were told of all queues.

    Args:
        runs: What they were told.
        moves: What became of tasks, as machines told it: log index → state, queue and ids.
    """
    if not runs:
        return
    happened = [
        (index, number, state, queue, task_id)
        for index, moved in sorted(moves.items())
        for number, (state, queue, task_id) in enumerate(
            (state, queue, task_id) for state, queue, ids in moved for task_id in ids
        )
    ]
    place = {event[:2]: number for number, event in enumerate(happened)}
    for run in runs:
        yield from _check_run(run, happened, place)


def _check_run(
    run: Followed,
    happened: Sequence[tuple[int, int, TaskState, str, bytes]],
    place: Mapping[tuple[int, int], int],
) -> Iterator[Violation]:
    places: list[int] = []
    for event in run.told:
        told = (event.index, event.number, event.state, event.queue, event.task_id)
        at = place.get(told[:2])
        if at is None or happened[at] != told:
            yield Violation("event-false", f"{run.who} was told {told}, which did not happen")
            return
        places.append(at)
    for before, after in pairwise(places):
        if after <= before:
            text = f"{happened[after]} after {happened[before]}"
            yield Violation("event-order", f"{run.who} was told {text}")
        elif after > before + 1:
            yield Violation("event-missing", f"{run.who} was not told {happened[before + 1]}")
