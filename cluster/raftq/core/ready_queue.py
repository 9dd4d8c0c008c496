"""The ready tasks of one queue, in the order in which they are given out.

Priority first (0 before 9), then position: a new or failed task joins the back, a task that was
given back or whose worker died joins the front. Every operation costs the same at any length.
"""

from collections import deque
from collections.abc import Iterator

from raftq.core.task import Task
from raftq.protocol import limits
from raftq.protocol.messages import TaskState


class ReadyQueue:
    """Ready tasks and counts of one queue."""

    __slots__ = ("_lines", "counts", "enqueued", "name", "ready")

    def __init__(self, name: str) -> None:
        self.name = name
        self.enqueued = 0
        self.ready = 0
        self.counts: dict[TaskState, int] = dict.fromkeys(TaskState, 0)
        self._lines: list[deque[Task] | None] = [None] * (limits.PRIORITY_MAX + 1)

    def _line(self, priority: int) -> deque[Task]:
        line = self._lines[priority]
        if line is None:
            line = self._lines[priority] = deque()
        return line

    def push_back(self, task: Task) -> None:
        """Put a task behind all others of its priority."""
        self._line(task.priority).append(task)
        self.ready += 1

    def push_front(self, task: Task) -> None:
        """Put a task before all others of its priority."""
        self._line(task.priority).appendleft(task)
        self.ready += 1

    def first(self) -> Task | None:
        """Return the task that is to be given out next, without removing it."""
        if self.ready:
            for line in self._lines:
                if line:
                    return line[0]
        return None

    def pop(self) -> Task:
        """Remove and return the task that is to be given out next."""
        for line in self._lines:
            if line:
                self.ready -= 1
                return line.popleft()
        raise AssertionError("pop of an empty queue")

    def __iter__(self) -> Iterator[Task]:
        """Yield the ready tasks in order."""
        for line in self._lines:
            if line:
                yield from line
