"""Finished tasks and how long they are remembered."""

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush

from raftq.core.task import Task
from raftq.protocol import limits


class Outcomes:
    """Tasks that are over for good, bounded by age, number and bytes of results and errors.

    Most are kept for the usual time, in the order in which they came; those with a time of their
    own are in a heap beside. The number alone forgets nothing young: at full speed it would be
    reached in seconds, and a repeated enqueue would run its task again. Bytes and number take the
    usual ones first, oldest first.
    """

    def __init__(self) -> None:
        self._kept: deque[Task] = deque()
        self._timed: list[tuple[int, int, Task]] = []
        """(instant, sequence, task): a heap."""
        self.result_bytes = 0

    def __len__(self) -> int:
        return len(self._kept) + len(self._timed)

    def usual(self) -> Iterator[Task]:
        """Yield those that are kept for the usual time, oldest first."""
        return iter(self._kept)

    def timed(self) -> Iterator[tuple[int, Task]]:
        """Yield (when it is forgotten, task) of the others, in that order."""
        return ((at_ms, task) for at_ms, _, task in sorted(self._timed, key=lambda row: row[:2]))

    def add(self, task: Task, keep_ms: int = limits.RESULT_RETENTION_MS) -> None:
        """Remember a task that is over, for so long after its end."""
        self.result_bytes += _bytes_of(task)
        if keep_ms == limits.RESULT_RETENTION_MS:
            self._kept.append(task)
        else:
            self.add_timed(task.finished_at_ms + keep_ms, task)

    def add_timed(self, at_ms: int, task: Task) -> None:
        """Remember a task, which is counted already, until an instant."""
        heappush(self._timed, (at_ms, task.sequence, task))

    def restore_timed(self, at_ms: int, task: Task) -> None:
        """Enter a task as `timed` yielded it."""
        self.result_bytes += _bytes_of(task)
        self.add_timed(at_ms, task)

    def next_ms(self) -> int | None:
        """Return when the next outcome is forgotten."""
        instants: list[int] = []
        if self._kept:
            instants.append(self._kept[0].finished_at_ms + limits.RESULT_RETENTION_MS)
        if self._timed:
            instants.append(self._timed[0][0])
        return min(instants, default=None)

    def pop_old(self, wall_now_ms: int) -> Task | None:
        """Remove and return an outcome that is over one of the bounds."""
        oldest = self._pop_old(wall_now_ms)
        if oldest is not None:
            self.result_bytes -= _bytes_of(oldest)
        return oldest

    def _pop_old(self, wall_now_ms: int) -> Task | None:
        if self._timed and self._timed[0][0] <= wall_now_ms:
            return heappop(self._timed)[2]
        oldest = self._kept[0] if self._kept else self._timed[0][2] if self._timed else None
        if oldest is None:
            return None
        age_ms = wall_now_ms - oldest.finished_at_ms
        is_one_too_many = len(self) > limits.RESULTS_KEPT_MAX
        if not (
            (self._kept and age_ms >= limits.RESULT_RETENTION_MS)
            or (is_one_too_many and age_ms >= limits.RETRY_MEMORY_MS)
            or self.result_bytes > limits.RESULT_BYTES_KEPT_MAX
        ):
            return None
        return self._kept.popleft() if self._kept else heappop(self._timed)[2]


def _bytes_of(task: Task) -> int:
    """Return what a task that is over holds: ten long errors weigh as much as a result."""
    size = 0 if task.result is None else len(task.result)
    if task.progress is not None:
        size += len(task.progress)
    if task.history is not None:
        size += sum([len(attempt.error) for attempt in task.history])
    return size
