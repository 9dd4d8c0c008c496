"""What a waiting task must pass, in a fixed order, before it is ready.

To be confirmed, its parents, its time, its order key. Behind them it is ready; the limit key is
looked at when it is about to be leased.
"""

from raftq.core.table import Table
from raftq.core.task import (
    Blocked,
    Task,
)


class Gates(Table):
    """The tasks of a cluster, and the gates before a lease."""

    def let_on(self, task: Task, *, at_front: bool = False) -> None:
        """Give a task that has no place the one where it waits now.

        Args:
            task: An object.
            at_front: Whether it came back, and stands before those that did not.
        """
        if (held_by := self._held_by(task)) is not None:
            self.put_blocked(task, held_by)
        elif task.not_before_at_ms > self.wall_now_ms:
            self.put_scheduled(task)
        elif self._has_its_order(task):
            self.put_ready(task, at_front=at_front)
        else:
            self.put_blocked(task, Blocked.ORDER_KEY)
        self.set_end(task)

    def _held_by(self, task: Task) -> Blocked | None:
        extras = task.extras
        if extras is not None and extras.confirm_by_ms:
            return Blocked.UNCONFIRMED
        if extras is not None and extras.waits_for and extras.home_queue is None:
            return Blocked.PARENTS
        return None

    def _has_its_order(self, task: Task) -> bool:
        extras = task.extras
        if extras is None or extras.options.order_key is None or extras.home_queue is not None:
            return True
        return self.order_keys.enter(extras.options.order_key, task.sequence)

    def _start(self, sequence: int) -> None:
        """The time of a scheduled task has come."""
        task = self.tasks.get(sequence)
        if task.extras is None:
            self.put_ready(task, at_front=False)
            self.tasks.started(sequence)
        else:
            self.let_on(task)
