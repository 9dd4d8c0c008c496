"""Calls that wait on this node until a task is over, or until it has applied a log entry.

They wait for what this node applies, on the leader as on any other, so that a change of leader
changes nothing for them. Nothing here is in the log. What is applied is told entry by entry, but
for entries that come with a snapshot: after one, everything that is waited for is looked at again.
"""

import asyncio
from typing import Final

from msgspec import structs

from raftq.consensus.contract import Replica
from raftq.core.applied import Applied
from raftq.protocol import limits
from raftq.protocol.errors import NotReady, RateLimited
from raftq.protocol.fields import TaskId, TaskState
from raftq.protocol.statuses import TaskStatus

_OVER: Final = frozenset({TaskState.DONE, TaskState.DEAD, TaskState.CANCELLED, TaskState.EXPIRED})
_LOOK_AGAIN_SECONDS: Final = 0.5
"""How late a snapshot may be noticed that no entry follows."""


def is_over(status: TaskStatus) -> bool:
    """Tell whether a task has ended, for good or until somebody redrives it."""
    return status.state in _OVER


class _Wait:
    """One call; its future gets the status of the task that is over, or None."""

    __slots__ = ("after_index", "future", "task_id")

    def __init__(
        self, task_id: TaskId, after_index: int, future: "asyncio.Future[TaskStatus | None]"
    ) -> None:
        self.task_id = task_id
        self.after_index = after_index
        self.future = future

    def end(self, status: TaskStatus | None) -> None:
        if not self.future.done():
            self.future.set_result(status)


class Results:
    """The waits of one node, for results and for log entries.

    Args:
        replica: This node's replica.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._loop = asyncio.get_running_loop()
        self._base_index = replica.base_index
        self._waits: dict[TaskId, list[_Wait]] = {}
        self._entries: dict[asyncio.Future[None], int] = {}
        """Who waits for a log index."""
        self._watch: asyncio.TimerHandle | None = None
        self.waiting = 0
        """Calls that wait."""

    # ------------------------------------------------------------ waiting

    async def until_over(
        self, task_id: TaskId, after_index: int, ends_at: float
    ) -> TaskStatus | None:
        """Wait until a task is over, and return its status at that log entry.

        Args:
            task_id: Which task.
            after_index: A log index at which the task was not over.
            ends_at: The loop-clock instant at which the wait ends.

        Returns:
            None if the wait ended, or the task was lost sight of: read it again.

        Raises:
            RateLimited: Too many calls wait.
        """
        self._count_in()
        wait = _Wait(task_id, after_index, self._loop.create_future())
        self._waits.setdefault(task_id, []).append(wait)
        timer = self._loop.call_at(ends_at, wait.end, None)
        try:
            # Entries after the index may have been applied here before this call.
            self._look_at(wait)
            return await wait.future
        finally:
            timer.cancel()
            self._count_out()
            waits = self._waits[task_id]
            waits.remove(wait)
            if not waits:
                del self._waits[task_id]

    async def until_applied(self, index: int, deadline: float) -> None:
        """Wait until this node has applied a log entry.

        Raises:
            NotReady: It had not by the deadline.
            RateLimited: Too many calls wait.
        """
        if self._replica.view().applied_index >= index:
            return
        self._count_in()
        future: asyncio.Future[None] = self._loop.create_future()
        self._entries[future] = index
        try:
            async with asyncio.timeout_at(deadline):
                await future
        except TimeoutError:
            applied = self._replica.view().applied_index
            raise NotReady(
                f"this node has applied the log up to entry {applied}, and not up to {index}; "
                "ask another node, or try again"
            ) from None
        finally:
            self._count_out()
            del self._entries[future]

    def end_all(self) -> None:
        """End every wait for a task now; its caller is told the present state."""
        for waits in self._waits.values():
            for wait in waits:
                wait.end(None)

    def _count_in(self) -> None:
        if self.waiting >= limits.WAITERS_MAX:
            raise RateLimited(
                f"{limits.WAITERS_MAX} calls are waiting on this node for results already",
                retry_after_ms=limits.RETRY_AFTER_MS,
            )
        self.waiting += 1
        if self._watch is None:
            self._watch = self._loop.call_later(_LOOK_AGAIN_SECONDS, self._watch_over)

    def _count_out(self) -> None:
        self.waiting -= 1
        if not self.waiting and self._watch is not None:
            self._watch.cancel()
            self._watch = None

    # ------------------------------------------------------------ being woken

    def on_applied(self, applied: Applied) -> None:
        """Wake who waits for this entry, or for a task that is over by it."""
        if not self.waiting:
            return
        self._notice_snapshot()
        for task_id in applied.finished:
            for wait in self._waits.get(task_id, ()):
                if applied.index > wait.after_index:
                    wait.end(self._over(task_id, applied.index))
        if self._entries:
            self._wake(applied.index)

    def _over(self, task_id: TaskId, index: int) -> TaskStatus | None:
        """Return the status of a task that is over, as it is now: it may be forgotten soon."""
        status = self._replica.machine.task(task_id)
        if status is None or not is_over(status):
            return None
        return structs.replace(status, applied_index=index)

    def _wake(self, index: int) -> None:
        for future, wanted in self._entries.items():
            if wanted <= index and not future.done():
                future.set_result(None)

    def _watch_over(self) -> None:
        """Notice what no entry tells: a snapshot, and entries that are not the machine's."""
        self._watch = self._loop.call_later(_LOOK_AGAIN_SECONDS, self._watch_over)
        self._notice_snapshot()
        if self._entries:
            self._wake(self._replica.view().applied_index)

    def _notice_snapshot(self) -> None:
        """Look at every wait again if the machine was replaced."""
        if self._replica.base_index == self._base_index:
            return
        self._base_index = self._replica.base_index
        for waits in self._waits.values():
            for wait in waits:
                self._look_at(wait)

    def _look_at(self, wait: _Wait) -> None:
        """End a wait whose task is over, or gone, in a state newer than the wait began with."""
        index = self._replica.view().applied_index
        if index <= wait.after_index:
            return
        status = self._replica.machine.task(wait.task_id)
        if status is None or is_over(status):
            wait.end(self._over(wait.task_id, index))
