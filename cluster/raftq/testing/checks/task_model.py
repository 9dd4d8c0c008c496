"""What becomes of tasks with options, entry by entry: keys, joins, cancelled and prepared tasks.

Judged from the moves that machines tell while they apply entries, not from what clients saw: a rule
that is broken for one entry shows, whoever was told of it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from raftq.protocol.fields import OnParentFailure, TaskState
from raftq.protocol.options import TaskOptions
from raftq.testing.checks.verdict import Violation

_FOR_GOOD: Final = (TaskState.DONE, TaskState.CANCELLED, TaskState.EXPIRED)
"""States that no task leaves; a dead one may be redriven."""
_OVER: Final = (*_FOR_GOOD, TaskState.DEAD)


@dataclass(frozen=True, slots=True)
class Move:
    """A task came into a state."""

    index: int
    """Of the log entry."""
    state: TaskState
    queue: str
    task_id: bytes


@dataclass(slots=True)
class ModelTasks:
    """What the clients asked for, in every try."""

    options: dict[bytes, TaskOptions] = field(default_factory=dict[bytes, TaskOptions])
    confirmed: set[bytes] = field(default_factory=set[bytes])
    """Tasks that somebody tried to confirm."""
    limits: dict[str, int] = field(default_factory=dict[str, int])
    """Limit keys, and how many of their tasks may be leased at a time; set before they are used."""


def check_moves(moves: Iterable[Move], tasks: ModelTasks) -> Iterator[Violation]:
    """Judge the moves of tasks that clients asked for, in the order in which they happened."""
    states: dict[bytes, TaskState] = {}
    held: dict[bytes, None] = {}
    for move in moves:
        options = tasks.options.get(move.task_id)
        if options is None:
            continue
        before = states.get(move.task_id)
        if before in _FOR_GOOD:
            yield _violation("ended-moves", move, f"was {before}")
        states[move.task_id] = move.state
        held.pop(move.task_id, None)
        if move.state is TaskState.LEASED:
            if move.queue != options.check_queue:  # A check is no run of the task.
                held[move.task_id] = None
                yield from _keys(move, options, held, tasks)
            yield from _unconfirmed(move, options, tasks)
        if move.state in (TaskState.READY, TaskState.LEASED):
            yield from _parents(move, options, states)


def _keys(
    move: Move, options: TaskOptions, held: Iterable[bytes], tasks: ModelTasks
) -> Iterator[Violation]:
    """At most one task of an order key is leased, and of a limit key as many as its limit says."""
    leased = [tasks.options[each] for each in held]
    together = sum(each.order_key == options.order_key for each in leased)
    if options.order_key is not None and together > 1:
        yield _violation("order-together", move, f"is one of {together} of {options.order_key}")
    limit = tasks.limits.get(options.limit_key or "")
    counted = sum(each.limit_key == options.limit_key for each in leased)
    if limit is not None and counted > limit:
        text = f"is one of {counted} of {options.limit_key}, whose limit is {limit}"
        yield _violation("over-limit", move, text)


def _parents(
    move: Move, options: TaskOptions, states: Mapping[bytes, TaskState]
) -> Iterator[Violation]:
    """A task waits for all parents, and for their success if it says so."""
    needed = (TaskState.DONE,) if options.on_parent_failure is not OnParentFailure.RUN else _OVER
    for parent in options.depends_on:
        if states.get(parent) not in needed:
            text = f"depends on {parent.hex()}, which is {states.get(parent, 'unknown')}"
            yield _violation("early-join", move, text)


def _unconfirmed(move: Move, options: TaskOptions, tasks: ModelTasks) -> Iterator[Violation]:
    """A prepared task that nobody confirmed is leased from its check queue only."""
    is_prepared = options.confirm_within_ms and move.task_id not in tasks.confirmed
    if is_prepared and move.queue != options.check_queue:
        yield _violation("unconfirmed-leased", move, "was never confirmed")


def _violation(rule: str, move: Move, text: str) -> Violation:
    what = f"task {move.task_id.hex()} became {move.state} in {move.queue} by entry {move.index}"
    return Violation(rule, f"{what}, and {text}")
