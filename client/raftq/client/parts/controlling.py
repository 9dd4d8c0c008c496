"""The part of the asyncio client that steps in: cancel and edit tasks, one by id or many by filter.

What many tasks need is done in parts, each in one log entry, until none is left of those that there
were when the first part was done.
"""

from collections.abc import Sequence
from typing import Unpack
from uuid import UUID

import msgspec

from raftq.client.durations import Duration, milliseconds
from raftq.client.keywords.filters import FilterKeywords, task_filter
from raftq.client.keywords.moments import Moment, instant_ms
from raftq.client.keywords.new_tasks import task_id
from raftq.client.parts.caller import Caller, single
from raftq.protocol.calls import TaskCall, TasksCall
from raftq.protocol.control import Cancel, Edit, Sweep
from raftq.protocol.errors import Conflict, InvalidRequest, KeyTaken
from raftq.protocol.fields import SweepAction, TaskState
from raftq.protocol.options import TaskFilter
from raftq.protocol.replies import Settled, SettledTask, Swept
from raftq.protocol.statuses import TaskPage, TaskStatus
from raftq.protocol.sweeps import WAITING, swept_states


class Controlling(Caller):
    """Cancels, edits, moves, redrives and discards tasks."""

    async def cancel(self, id: UUID | bytes, *, timeout: Duration | None = None) -> TaskState:
        """Cancel a task; repeating it is harmless.

        One that waits is not run any more. One that runs is cancelled at once as well: its result
        is refused, and its worker learns it when it next prolongs the lease. A dead task is given
        up.

        Raises:
            UnknownTask: There is none.
            Conflict: It is done or expired.
        """
        return single(await self.cancel_many([id], timeout=timeout))

    async def cancel_many(
        self, ids: Sequence[UUID | bytes], *, timeout: Duration | None = None
    ) -> list[SettledTask]:
        """Cancel tasks; each is judged on its own (see its `error_code`)."""
        return await self._control(Cancel, ids, timeout)

    async def edit(
        self,
        id: UUID | bytes,
        *,
        delay: Duration | None = None,
        not_before: Moment | None = None,
        priority: int | None = None,
        timeout: Duration | None = None,
    ) -> TaskState:
        """Change a task that waits; what is not given stays as it is.

        Args:
            id: Of the task.
            delay: Its earliest start from now; 0 is at once.
            not_before: The same as an instant; only one of the two.
            priority: 0 (first) to 9.
            timeout: For this call.

        Raises:
            UnknownTask: There is none.
            Conflict: It runs, or is over.
        """
        call = Edit(
            task_id(id),
            None if delay is None else milliseconds(delay),
            None if not_before is None else instant_ms(not_before),
            priority,
        )
        return single((await self._call(call, Settled, timeout)).items)

    async def retry(self, id: UUID | bytes, *, timeout: Duration | None = None) -> TaskState:
        """Let a dead task begin anew, with no failures, or a scheduled one begin now.

        Of a task that waits for something else, or runs, nothing changes: repeating it is harmless.

        Args:
            id: Of the task.
            timeout: For each of the calls that it takes.

        Raises:
            UnknownTask: There is none.
            KeyTaken: Its unique key is another live task's.
            Conflict: It is done, cancelled or expired.
        """
        call = TaskCall(task_id(id))
        found = await self._call(call, TaskStatus, timeout)
        if found.state is TaskState.SCHEDULED:
            return await self.edit(id, delay=0, timeout=timeout)
        if found.state is TaskState.DEAD:
            only = TaskFilter(queue=found.queue, states=[TaskState.DEAD])
            at = found.sequence
            await self._call(Sweep(SweepAction.REDRIVE, only, at - 1, at), Swept, timeout)
            found = await self._call(call, TaskStatus, timeout)
            if found.state is TaskState.DEAD:
                raise KeyTaken("the task stays dead: its unique key is another live task's")
        if found.state in (TaskState.DONE, TaskState.CANCELLED, TaskState.EXPIRED):
            facts = {"state": str(found.state)}
            raise Conflict(f"the task is {found.state}, which does not allow it", **facts)
        return found.state

    # ------------------------------------------------------------ many tasks

    async def cancel_where(
        self,
        *,
        dry_run: bool = False,
        timeout: Duration | None = None,
        **where: Unpack[FilterKeywords],
    ) -> int:
        """Cancel all tasks that match and are not over, and dead ones; return how many.

        Args:
            dry_run: Only count them.
            timeout: For each of the calls that it takes.
            where: See `FilterKeywords`; at least one is needed.

        Raises:
            OutcomeUnknown: A part of it may be done; repeating it does the rest.
            RaftqError: The same, of the parts before.
        """
        return await self._sweep(SweepAction.CANCEL, where, dry_run, timeout)

    async def purge(
        self, queue: str, *, dry_run: bool = False, timeout: Duration | None = None
    ) -> int:
        """Cancel all tasks that wait in a queue; return how many. See `cancel_where`."""
        where: FilterKeywords = {"queue": queue, "states": WAITING}
        return await self._sweep(SweepAction.CANCEL, where, dry_run, timeout)

    async def redrive(
        self,
        *,
        dry_run: bool = False,
        timeout: Duration | None = None,
        **where: Unpack[FilterKeywords],
    ) -> int:
        """Let dead tasks begin anew, with no failures, where they were; return how many.

        One whose unique key another has taken since stays dead. Without a filter it is all dead
        tasks. The rest is as of `cancel_where`.
        """
        return await self._sweep(SweepAction.REDRIVE, where, dry_run, timeout, needs_filter=False)

    async def discard(
        self,
        *,
        dry_run: bool = False,
        timeout: Duration | None = None,
        **where: Unpack[FilterKeywords],
    ) -> int:
        """Give dead tasks up for good; return how many. See `cancel_where`."""
        return await self._sweep(SweepAction.DISCARD, where, dry_run, timeout)

    async def move(
        self,
        to_queue: str,
        *,
        dry_run: bool = False,
        timeout: Duration | None = None,
        **where: Unpack[FilterKeywords],
    ) -> int:
        """Put tasks that wait, and dead ones, into another queue; return how many.

        Those that are ready go to its back. See `cancel_where`.
        """
        return await self._sweep(SweepAction.MOVE, where, dry_run, timeout, to_queue)

    async def _sweep(
        self,
        action: SweepAction,
        where: FilterKeywords,
        dry_run: bool,
        timeout: Duration | None,
        to_queue: str | None = None,
        *,
        needs_filter: bool = True,
    ) -> int:
        if needs_filter and not where:
            raise InvalidRequest(
                f"say which tasks to {action}, like queue='mail'; without it, it would be all "
                "tasks of the cluster"
            )
        chosen = task_filter(where)
        if dry_run:
            return await self._count(action, chosen, timeout)
        swept = 0
        after: int | None = 0
        until = 0
        while after is not None:
            sweep = Sweep(action, chosen, after, until, to_queue=to_queue)
            part = await self._call(sweep, Swept, timeout)
            swept += part.tasks
            after, until = part.next_after, part.until
        return swept

    async def _count(
        self, action: SweepAction, chosen: TaskFilter, timeout: Duration | None
    ) -> int:
        states = swept_states(action, chosen)
        if not states:
            return 0
        narrowed = msgspec.structs.replace(chosen, states=states)
        counted = 0
        after: int | None = 0
        while after is not None:
            page = await self._call(TasksCall(narrowed, after, 0), TaskPage, timeout)
            counted += page.matched
            after = page.next_after
        return counted
