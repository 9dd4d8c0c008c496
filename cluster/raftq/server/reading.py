"""Answers from this node's machine, and how old they may be; and the wait for a task's end."""

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import structs

from raftq.consensus.contract import Replica
from raftq.protocol.calls import ReadCall, ResultCall, TaskCall
from raftq.protocol.fields import Consistency
from raftq.protocol.replies import ReadReply
from raftq.protocol.statuses import TaskStatus
from raftq.server.judging import read
from raftq.server.results import Results, is_over


class Reading:
    """The reads of one node.

    Args:
        replica: This node's replica.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._loop = asyncio.get_running_loop()
        self.results = Results(replica)
        self._is_waiting_over = False

    def end_waits(self) -> None:
        """Let no call wait any longer; each is told the present state."""
        self._is_waiting_over = True
        self.results.end_all()

    def here(self, call: ReadCall) -> ReadReply:
        """Answer from what is applied here.

        Raises:
            RequestError: There is no such thing, or too much of it.
        """
        reply = read(self._replica.machine, call)
        if not isinstance(reply, TaskStatus):
            return reply
        lag_ms = self._lag_ms() if call.consistency is Consistency.STALE else None
        index = self._replica.view().applied_index
        return structs.replace(reply, applied_index=index, lag_ms=lag_ms)

    async def stale(self, call: ReadCall, deadline: float) -> ReadReply:
        """Answer from what is applied here, once it is as new as the call asks for.

        Raises:
            NotReady: It was not by the deadline.
        """
        if isinstance(call, TaskCall) and call.min_index:
            await self.results.until_applied(call.min_index, deadline)
        return self.here(call)

    async def result(
        self,
        call: ResultCall,
        read_task: Callable[[TaskCall], Awaitable[TaskStatus]],
        wait_ends_at: float,
    ) -> TaskStatus:
        """Read a task until it is over or the wait has ended; in between, wait on this node.

        What is told at the end of a vain wait is read anew, so that a node that has lost touch
        with the others tells nothing old as new.

        Args:
            call: What is asked.
            read_task: Reads the task as its call says, here or on the leader.
            wait_ends_at: The loop-clock instant at which the wait ends.
        """
        task_call = TaskCall(call.task_id, call.consistency, call.min_index)
        while True:
            status = await read_task(task_call)
            if is_over(status) or self._is_waiting_over or self._loop.time() >= wait_ends_at:
                return status
            found = await self.results.until_over(call.task_id, status.applied_index, wait_ends_at)
            if found is not None:
                is_stale = call.consistency is Consistency.STALE
                return structs.replace(found, lag_ms=self._lag_ms() if is_stale else None)

    def _lag_ms(self) -> int:
        """Return how old what is applied here may be."""
        replica = self._replica
        lag_ms = replica.view().lag_ms
        if lag_ms is not None:
            return lag_ms
        # No leader was heard yet: it is as old as the newest entry.
        return max(replica.wall_ms - replica.machine.wall_now_ms, 0)
