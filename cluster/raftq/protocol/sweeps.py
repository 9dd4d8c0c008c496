"""Which tasks a sweep does anything with."""

from collections.abc import Mapping
from typing import Final

from raftq.protocol.fields import SweepAction, TaskState
from raftq.protocol.options import TaskFilter

WAITING: Final = (TaskState.SCHEDULED, TaskState.BLOCKED, TaskState.READY)
"""The states of tasks that have not begun, or wait for another attempt."""
SWEPT_STATES: Final[Mapping[SweepAction, tuple[TaskState, ...]]] = {
    SweepAction.CANCEL: (*WAITING, TaskState.LEASED, TaskState.DEAD),
    SweepAction.REDRIVE: (TaskState.DEAD,),
    SweepAction.DISCARD: (TaskState.DEAD,),
    SweepAction.MOVE: (*WAITING, TaskState.DEAD),
}
"""The states in which each action does anything."""


def swept_states(action: SweepAction, wanted: TaskFilter) -> list[TaskState]:
    """Return the states of the tasks that a sweep would change; none if it would change none."""
    acts_on = SWEPT_STATES[action]
    return [state for state in acts_on if not wanted.states or state in wanted.states]
