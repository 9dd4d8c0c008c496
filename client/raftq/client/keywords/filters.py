"""Which tasks: the filter of lists and sweeps as keywords."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, TypedDict

from raftq.client.keywords.moments import Moment, instant_ms
from raftq.client.keywords.naming import refuse_unknown
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import TaskState
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
