"""A filter for tasks, in the query string, and as a sweep uses it."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import structs

from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import SweepAction, TaskState
from raftq.protocol.options import TaskFilter
from raftq.protocol.sweeps import WAITING, swept_states

FILTER_PARAMETERS: Final[Mapping[str, str]] = {
    "state" if field.name == "states" else field.name: field.name
    for field in structs.fields(TaskFilter)
}
"""Name in the query string → field. `state` may be given several times, the others once."""
PURGED: Final[list[TaskState]] = list(WAITING)
"""What a purge cancels: everything that has not begun."""


def filter_of_query(given: Mapping[str, Sequence[str]]) -> TaskFilter:
    """Return the filter that a query string describes; other parameters are not looked at.

    Raises:
        InvalidRequest: A value is malformed, or given twice.
    """
    fields: dict[str, object] = {}
    for name, field in FILTER_PARAMETERS.items():
        values = given.get(name, ())
        if len(values) > 1 and field != "states":
            raise InvalidRequest(f"{name} is given {len(values)} times; give it once")
        if values:
            fields[field] = list(values) if field == "states" else values[0]
    try:
        return msgspec.convert(fields, TaskFilter, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"malformed query: {error}") from None


def filter_of_sweep(action: SweepAction, wanted: TaskFilter) -> TaskFilter | None:
    """Return the filter that finds what a sweep would change; None if that is nothing."""
    states = swept_states(action, wanted)
    return structs.replace(wanted, states=states) if states else None
