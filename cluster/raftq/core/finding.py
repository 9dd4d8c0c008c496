"""Which tasks match a filter, in the order of their enqueue, so many looks at a time."""

from collections.abc import Iterator

from raftq.core.state import State
from raftq.core.task import Task
from raftq.protocol import limits
from raftq.protocol.options import TaskFilter


class Search:
    """The tasks behind a sequence that match; iterate once.

    What is yielded is to be read, and owned before it is changed. It may be changed meanwhile.

    Args:
        state: Whose tasks.
        wanted: What they must match.
        after: The sequence behind which to begin.
        until: The last sequence to look at.
    """

    def __init__(self, state: State, wanted: TaskFilter, after: int, until: int) -> None:
        self._state = state
        self._wanted = wanted
        looks_max = limits.TASKS_LOOKED_AT_MAX
        self._sequences = state.tasks.sequences_after(after, until, looks_max)
        is_all = len(self._sequences) < looks_max
        self.next_after = None if is_all else self._sequences[-1]
        """Where the next search begins when this one is through; None if there is no more."""

    def __iter__(self) -> Iterator[Task]:
        states = frozenset(self._wanted.states)
        for sequence in self._sequences:
            task = self._state.tasks.get_if_kept(sequence)
            if task is None or (states and task.state not in states):
                continue
            if _matches(task, self._wanted):
                yield task


def _matches(task: Task, wanted: TaskFilter) -> bool:
    return (
        (wanted.queue is None or task.queue == wanted.queue)
        and (wanted.priority is None or task.priority == wanted.priority)
        and (not wanted.enqueued_before_ms or task.enqueued_at_ms < wanted.enqueued_before_ms)
        and task.enqueued_at_ms >= wanted.enqueued_after_ms
        and _has_keys(task, wanted)
        and (
            wanted.error_contains is None
            or (task.history is not None and wanted.error_contains in task.history[-1].error)
        )
    )


def _has_keys(task: Task, wanted: TaskFilter) -> bool:
    asked = (wanted.unique_key, wanted.order_key, wanted.limit_key, wanted.fair_key)
    if not any(asked):
        return True
    if task.extras is None:
        return False
    has = task.extras.options
    keys = (has.unique_key, has.order_key, has.limit_key, has.fair_key)
    return all(key is None or key == own for key, own in zip(asked, keys, strict=True))
