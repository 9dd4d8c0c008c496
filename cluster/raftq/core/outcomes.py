"""Finished tasks and how long they are remembered."""

from collections import deque
from collections.abc import Iterator

from raftq.core.task import Task
from raftq.protocol import limits


class Outcomes:
    """Done tasks, oldest first, bounded by age, number and bytes of results and errors.

    The number alone forgets nothing young: at full speed it would be reached in seconds, and a
    repeated enqueue would run its task again. Wall time never goes back, so the order of finishing
    is the order of forgetting.
    """

    def __init__(self) -> None:
        self._kept: deque[Task] = deque()
        self.result_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Task]:
        return iter(self._kept)

    def add(self, task: Task) -> None:
        """Remember a task that has just finished."""
        self._kept.append(task)
        self.result_bytes += _bytes_of(task)

    def next_ms(self) -> int | None:
        """Return when the oldest outcome is forgotten."""
        if not self._kept:
            return None
        return self._kept[0].finished_at_ms + limits.RESULT_RETENTION_MS

    def pop_old(self, wall_now_ms: int) -> Task | None:
        """Remove and return the oldest outcome if it is over one of the bounds."""
        if not self._kept:
            return None
        oldest = self._kept[0]
        age_ms = wall_now_ms - oldest.finished_at_ms
        is_one_too_many = len(self._kept) > limits.RESULTS_KEPT_MAX
        if not (
            age_ms >= limits.RESULT_RETENTION_MS
            or (is_one_too_many and age_ms >= limits.RETRY_MEMORY_MS)
            or self.result_bytes > limits.RESULT_BYTES_KEPT_MAX
        ):
            return None
        self._kept.popleft()
        self.result_bytes -= _bytes_of(oldest)
        return oldest


def _bytes_of(task: Task) -> int:
    """Return what a done task holds: ten long errors weigh as much as a result."""
    size = 0 if task.result is None else len(task.result)
    return size if task.errors is None else size + sum(map(len, task.errors))
