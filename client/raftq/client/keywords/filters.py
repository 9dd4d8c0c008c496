"""Which tasks: the filter of lists and sweeps as keywords."""

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias, TypedDict

from raftq.client.keywords.moments import Moment, instant_ms
from raftq.client.keywords.naming import refuse_unknown
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import SweepAction, TaskState
from raftq.protocol.options import TaskFilter

StateName: TypeAlias = (
    TaskState
    | Literal["scheduled", "blocked", "ready", "leased", "done", "dead", "cancelled", "expired"]
)


class FilterKeywords(TypedDict, total=False):
    """Which tasks: those that match everything that is given."""

    queue: str
    states: StateName | Sequence[StateName]
    unique_key: str
    order_key: str
    limit_key: str
    fair_key: str
    priority: int
    enqueued_before: Moment
    enqueued_after: Moment
    error_contains: str
    """Text in the newest error."""


WAITING: Final = (TaskState.SCHEDULED, TaskState.BLOCKED, TaskState.READY)
_SWEPT: Final = {
    SweepAction.CANCEL: (*WAITING, TaskState.LEASED, TaskState.DEAD),
    SweepAction.REDRIVE: (TaskState.DEAD,),
    SweepAction.DISCARD: (TaskState.DEAD,),
    SweepAction.MOVE: (*WAITING, TaskState.DEAD),
}
"""The states in which each action does anything."""


def task_filter(keywords: FilterKeywords) -> TaskFilter:
    """Return a filter.

    Raises:
        InvalidRequest: There is no such criterion, or a value is not written as it must be.
    """
    refuse_unknown(keywords, FilterKeywords.__annotations__, "a filter of tasks")
    fields: dict[str, Any] = {}
    for keyword, value in keywords.items():
        if keyword in ("enqueued_before", "enqueued_after"):
            fields[f"{keyword}_ms"] = instant_ms(value)  # type: ignore[arg-type]  # By its name.
        else:
            fields[keyword] = value
    if "states" in fields:
        fields["states"] = _states(fields["states"])
    return TaskFilter(**fields)


def _states(states: StateName | Sequence[StateName]) -> list[TaskState]:
    names = [states] if isinstance(states, str) else states
    try:
        return [TaskState(each) for each in names]
    except ValueError as error:
        raise InvalidRequest(f"{error}; there are {', '.join(TaskState)}") from None


def swept_states(action: SweepAction, chosen: TaskFilter) -> list[TaskState]:
    """Return the states of the tasks that a sweep would change; none if it would change none."""
    return [state for state in _SWEPT[action] if not chosen.states or state in chosen.states]
