"""Every task that the machine knows, by sequence and by id.

A task that was never leased is a packed row; what is more than a row can say (a lease, failures, a
result) needs an object. A task becomes an object when it is leased and never a row again. Which of
the two it is shows nowhere: not in answers, not in dumps, not in the state hash.
"""

from collections.abc import Iterator, Sequence
from heapq import merge, nsmallest
from itertools import islice
from operator import attrgetter
from typing import Final

from raftq.core import id_table, rows
from raftq.core.task import READY, Task, is_untouched
from raftq.protocol.options import NewTask

_sequence: Final = attrgetter("sequence")


class Tasks:
    """The tasks of a state.

    Args:
        queue_names: Name by queue number; grows with the queues.
    """

    def __init__(self, queue_names: Sequence[str]) -> None:
        self.rows = rows.Rows(queue_names, rows.ROWS_PER_CHUNK, rows.THIN_ROWS)
        self.objects: dict[int, Task] = {}
        self.ids = id_table.IdTable(self._is_id_of, id_table.RECORDS_PER_BUCKET)
        self._last_restored = 0
        self.find = self.ids.find
        """Returns the sequence of a task id, or 0 if it is unknown."""

    def __len__(self) -> int:
        return len(self.ids)

    def _is_id_of(self, sequence: int, task_id: bytes) -> bool:
        task = self.objects.get(sequence)
        if task is None:
            return self.rows.is_id_of(sequence, task_id)
        return task.id == task_id

    def add_ids(self, first_sequence: int, ids: Sequence[bytes]) -> bool:
        """Enter the ids of new tasks of consecutive sequences if none of them is known.

        Returns:
            Whether they were entered; `add`, or one more of the `objects`, must follow.
        """
        return self.ids.add(first_sequence, ids)

    def add(
        self,
        first_sequence: int,
        tasks: Sequence[NewTask],
        crcs: Sequence[int],
        queue_number: int,
        at_ms: int,
    ) -> None:
        """Enter the tasks whose ids were just entered; sequences grow from call to call."""
        self.rows.add(first_sequence, tasks, crcs, queue_number, at_ms)
        if self.rows.thin:
            self._unpack_thin()

    def restore(self, task: Task, queue_number: int) -> None:
        """Enter a task of a dump.

        Raises:
            ValueError: Its sequence or its id cannot be.
        """
        if is_untouched(task):
            if task.sequence <= self._last_restored:
                raise ValueError(f"task {task.sequence} does not come after {self._last_restored}")
            self._last_restored = task.sequence
            self.rows.restore(task, queue_number)
        elif task.sequence in self.objects:
            raise ValueError(f"task {task.sequence} is there twice")
        else:
            self.objects[task.sequence] = task
        if not self.ids.add(task.sequence, [task.id]):
            raise ValueError(f"task {task.id.hex()} is there twice")
        if self.rows.thin:
            self._unpack_thin()

    def get(self, sequence: int) -> Task:
        """Return a task to read; one that may be a row must be `owned` before it is changed."""
        return self.objects.get(sequence) or self.rows.read(sequence)

    def get_if_kept(self, sequence: int) -> Task | None:
        """Return a task to read, or None if there is none of this sequence (any more)."""
        task = self.objects.get(sequence)
        if task is None and sequence in self.rows:
            return self.rows.read(sequence)
        return task

    def sequences_after(self, after: int, until: int, count_max: int) -> list[int]:
        """Return the first sequences of tasks behind one, ascending."""
        objects = nsmallest(count_max, (each for each in self.objects if after < each <= until))
        rows = islice(self.rows.sequences_after(after, until), count_max)
        return list(islice(merge(objects, rows), count_max))

    def own(self, task: Task) -> None:
        """Make a task that was just read what is kept of it: from now on it is an object."""
        sequence = task.sequence
        if sequence not in self.objects:
            self.objects[sequence] = task
            self.rows.remove(sequence)
            if self.rows.thin:
                self._unpack_thin()

    def started(self, sequence: int) -> None:
        """Note that a scheduled task is ready."""
        task = self.objects.get(sequence)
        if task is None:
            self.rows.make_ready(sequence)
        else:
            task.state = READY

    def _unpack_thin(self) -> None:
        for task in self.rows.give_up():
            self.objects[task.sequence] = task

    def forget(self, task: Task) -> None:
        """Remove a task, which is an object."""
        del self.objects[task.sequence]
        self.ids.remove(task.id, task.sequence)

    def all_objects(self) -> list[Task]:
        """Return the tasks that are no rows, in order of their sequences."""
        return sorted(self.objects.values(), key=_sequence)

    def __iter__(self) -> Iterator[Task]:
        """Yield all tasks to read, in order of their sequences."""
        return merge(self.rows, self.all_objects(), key=_sequence)
