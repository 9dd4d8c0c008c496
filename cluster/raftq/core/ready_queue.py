"""The ready tasks of one queue, by sequence, in the order in which they are given out.

Priority first (0 before 9). Within a priority, the tasks that came back (given back, or their
worker died) in the order in which they were enqueued, then all others in the order in which they
became ready. Coming back one by one, or many in any order, therefore changes no order.
"""

from collections.abc import Iterator

from raftq.core.sequences import Line
from raftq.protocol import limits
from raftq.protocol.messages import TaskState


class ReadyQueue:
    """Ready tasks and counts of one queue.

    Args:
        name: Of the queue.
        number: Its place among all queues, from 0, oldest first.
    """

    __slots__ = ("_front", "_lines", "counts", "enqueued", "name", "number", "ready")

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.enqueued = 0
        self.ready = 0
        self.counts: dict[TaskState, int] = dict.fromkeys(TaskState, 0)
        self._lines: list[Line | None] = [None] * (limits.PRIORITY_MAX + 1)
        self._front: Line | None = None
        """The line of the task that is given out next, if that is known."""

    def _line(self, priority: int) -> Line:
        """Return the line of a priority, to which a task is added."""
        self._front = None
        line = self._lines[priority]
        if line is None:
            line = self._lines[priority] = Line()
        return line

    def push_back(self, first_sequence: int, priority: int, count: int = 1) -> None:
        """Put tasks of consecutive sequences behind all others of their priority."""
        self._line(priority).append(first_sequence, count)
        self.ready += count

    def push_front(self, sequence: int, priority: int) -> None:
        """Put a task that came back before all of its priority that did not, and before those
        that were enqueued after it."""
        self._line(priority).put_back(sequence)
        self.ready += 1

    def first(self) -> int:
        """Return the task that is to be given out next, without removing it, or 0."""
        if self._front is not None and (sequence := self._front.first()):
            return sequence
        for line in self._lines:
            if line is not None and (sequence := line.first()):
                self._front = line
                return sequence
        return 0

    def pop(self) -> int:
        """Remove and return the task that is to be given out next."""
        self.ready -= 1
        if self._front is not None and (sequence := self._front.pop()):
            return sequence
        assert self.first() and self._front is not None, "pop of an empty queue"
        return self._front.pop()

    def returned(self) -> Iterator[int]:
        """Yield the ready tasks that came back, in order."""
        for line in self._lines:
            if line is not None:
                yield from line.returned()

    def waiting(self) -> Iterator[int]:
        """Yield the ready tasks that did not come back, in order."""
        for line in self._lines:
            if line is not None:
                yield from line.waiting()

    def __iter__(self) -> Iterator[int]:
        """Yield all ready tasks in the order in which they would be given out."""
        for line in self._lines:
            if line is not None:
                yield from line.returned()
                yield from line.waiting()
