"""The ready tasks of one queue, in the order in which they are given out.

Priority first (0 before 9). Within a priority, the tasks that came back (given back, or their
worker died) in the order in which they were enqueued, then all others in the order in which they
became ready. Coming back one by one, or many in any order, therefore changes no order.
"""

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush

from raftq.core.task import Task
from raftq.protocol import limits
from raftq.protocol.messages import TaskState


class _Line:
    """The ready tasks of one priority."""

    __slots__ = ("returned", "waiting")

    def __init__(self) -> None:
        self.returned: list[tuple[int, Task]] = []
        """A heap by sequence; it goes before `waiting`."""
        self.waiting: deque[Task] = deque()

    def returned_in_order(self) -> Iterator[Task]:
        return (task for _, task in sorted(self.returned, key=lambda entry: entry[0]))


class ReadyQueue:
    """Ready tasks and counts of one queue."""

    __slots__ = ("_lines", "counts", "enqueued", "name", "ready")

    def __init__(self, name: str) -> None:
        self.name = name
        self.enqueued = 0
        self.ready = 0
        self.counts: dict[TaskState, int] = dict.fromkeys(TaskState, 0)
        self._lines: list[_Line | None] = [None] * (limits.PRIORITY_MAX + 1)

    def _line(self, priority: int) -> _Line:
        line = self._lines[priority]
        if line is None:
            line = self._lines[priority] = _Line()
        return line

    def push_back(self, task: Task) -> None:
        """Put a task behind all others of its priority."""
        self._line(task.priority).waiting.append(task)
        self.ready += 1

    def push_front(self, task: Task) -> None:
        """Put a task that came back before all of its priority that did not, and before those
        that were enqueued after it."""
        heappush(self._line(task.priority).returned, (task.sequence, task))
        self.ready += 1

    def first(self) -> Task | None:
        """Return the task that is to be given out next, without removing it."""
        if self.ready:
            for line in self._lines:
                if line is not None:
                    if line.returned:
                        return line.returned[0][1]
                    if line.waiting:
                        return line.waiting[0]
        return None

    def pop(self) -> Task:
        """Remove and return the task that is to be given out next."""
        for line in self._lines:
            if line is not None:
                if line.returned:
                    self.ready -= 1
                    return heappop(line.returned)[1]
                if line.waiting:
                    self.ready -= 1
                    return line.waiting.popleft()
        raise AssertionError("pop of an empty queue")

    def returned(self) -> Iterator[Task]:
        """Yield the ready tasks that came back, in order."""
        for line in self._lines:
            if line is not None:
                yield from line.returned_in_order()

    def waiting(self) -> Iterator[Task]:
        """Yield the ready tasks that did not come back, in order."""
        for line in self._lines:
            if line is not None:
                yield from line.waiting

    def __iter__(self) -> Iterator[Task]:
        """Yield all ready tasks in the order in which they would be given out."""
        for line in self._lines:
            if line is not None:
                yield from line.returned_in_order()
                yield from line.waiting
