"""The part of the asyncio client that looks: tasks, queues, settings, schedules, the cluster.

Reads are linearizable unless they say otherwise: they see every write that was acknowledged before
they began, on any node.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar, Unpack
from uuid import UUID

from raftq.client.durations import Duration, seconds
from raftq.client.keywords.filters import FilterKeywords, task_filter
from raftq.client.keywords.new_tasks import task_id
from raftq.client.parts.caller import Caller
from raftq.protocol import limits
from raftq.protocol.calls import (
    Call,
    ClusterCall,
    QueueCall,
    QueuesCall,
    ResultCall,
    SchedulesCall,
    SettingsCall,
    TaskCall,
    TasksCall,
    WhyCall,
)
from raftq.protocol.errors import UnknownSchedule
from raftq.protocol.fields import Consistency, TaskState
from raftq.protocol.options import Quota
from raftq.protocol.statuses import (
    ClusterStatus,
    LimitStatus,
    QueueList,
    QueueStatus,
    ScheduleList,
    ScheduleStatus,
    Settings,
    TaskPage,
    TaskStatus,
    Why,
)

P = TypeVar("P", QueueList, Settings, ScheduleList)
OVER = frozenset({TaskState.DONE, TaskState.DEAD, TaskState.CANCELLED, TaskState.EXPIRED})
"""The states of a task that nothing happens to by itself any more."""
PAGE_TASKS = 100


class Reading(Caller):
    """Reads what the cluster holds."""

    async def task(
        self,
        id: UUID | bytes,
        *,
        consistency: Consistency = Consistency.LINEARIZABLE,
        min_index: int = 0,
        timeout: Duration | None = None,
    ) -> TaskStatus:
        """Return a task's state and result.

        Args:
            id: Of the task.
            consistency: How fresh the answer must be.
            min_index: The answer is at least as new as this log index; see `last_index`.
            timeout: For this call.

        Raises:
            ForgottenTask: It finished, and its outcome is not kept any more.
            UnknownTask: There is none; also after a very long time.
        """
        call = TaskCall(task_id(id), consistency, min_index)
        return await self._call(call, TaskStatus, timeout)

    async def result(
        self,
        id: UUID | bytes,
        *,
        wait: Duration = 0,
        consistency: Consistency = Consistency.LINEARIZABLE,
        min_index: int = 0,
        timeout: Duration | None = None,
    ) -> TaskStatus:
        """Wait for a task to be over, and return its state and result as `task` does.

        Args:
            id: Of the task.
            wait: How long to wait at most; the task's state tells whether it was over by then.
            consistency: As of `task`.
            min_index: As of `task`.
            timeout: For the calls that it takes, on top of `wait`.

        Raises:
            ForgottenTask: It finished, and its outcome is not kept any more.
            UnknownTask: There is none; also after a very long time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds(wait)
        while True:
            left_ms = max(round((deadline - loop.time()) * 1_000), 0)
            wait_ms = min(left_ms, limits.WAIT_MS_MAX)
            call = ResultCall(task_id(id), wait_ms, consistency, min_index)
            status = await self._call(call, TaskStatus, timeout)
            if status.state in OVER or wait_ms == left_ms:
                return status

    async def why(
        self,
        id: UUID | bytes,
        *,
        consistency: Consistency = Consistency.LINEARIZABLE,
        timeout: Duration | None = None,
    ) -> Why:
        """Return the rules that hold a task back, the one that must go first at the front.

        Raises:
            UnknownTask: There is none.
        """
        return await self._call(WhyCall(task_id(id), consistency), Why, timeout)

    async def tasks_page(
        self,
        *,
        after: int = 0,
        count_max: int = PAGE_TASKS,
        consistency: Consistency = Consistency.LINEARIZABLE,
        timeout: Duration | None = None,
        **where: Unpack[FilterKeywords],
    ) -> TaskPage:
        """Return one page of the tasks that match, in the order of their enqueue.

        Args:
            after: Where it begins: 0, or `next_after` of the page before.
            count_max: The most tasks of it; 0 only counts.
            consistency: How fresh the answer must be.
            timeout: For this call.
            where: See `FilterKeywords`; all tasks without it.
        """
        call = TasksCall(task_filter(where), after, count_max, consistency)
        return await self._call(call, TaskPage, timeout)

    async def tasks(
        self,
        *,
        consistency: Consistency = Consistency.LINEARIZABLE,
        timeout: Duration | None = None,
        **where: Unpack[FilterKeywords],
    ) -> AsyncIterator[TaskStatus]:
        """Iterate over all tasks that match, in the order of their enqueue.

        They are read in pages, each as new as the moment in which it was read.

        Args:
            consistency: How fresh each page must be.
            timeout: For each page.
            where: See `FilterKeywords`; all tasks without it.
        """
        after: int | None = 0
        while after is not None:
            page = await self.tasks_page(
                after=after, consistency=consistency, timeout=timeout, **where
            )
            for status in page.tasks:
                yield status
            after = page.next_after

    async def queue(
        self,
        name: str,
        *,
        consistency: Consistency = Consistency.LINEARIZABLE,
        timeout: Duration | None = None,
    ) -> QueueStatus:
        """Return a queue's counts and settings."""
        return await self._call(QueueCall(name, consistency), QueueStatus, timeout)

    async def queues(
        self,
        *,
        consistency: Consistency = Consistency.LINEARIZABLE,
        timeout: Duration | None = None,
    ) -> list[QueueStatus]:
        """Return all queues, the oldest first."""
        pages = self._pages(lambda after: QueuesCall(consistency, after), QueueList, timeout)
        return [each async for page in pages for each in page.queues]

    async def _pages(
        self, call: Callable[[str | None], Call], kind: type[P], timeout: Duration | None
    ) -> AsyncIterator[P]:
        """Yield the pages of a list; `call` asks for the one behind a name or key."""
        after: str | None = None
        while True:
            page = await self._call(call(after), kind, timeout)
            yield page
            after = page.next_after
            if after is None:
                return

    async def quota(
        self,
        *,
        consistency: Consistency = Consistency.LINEARIZABLE,
        timeout: Duration | None = None,
    ) -> Quota:
        """Return the quota of the cluster."""
        return (await self._call(SettingsCall(consistency), Settings, timeout)).quota

    async def limits(
        self,
        *,
        consistency: Consistency = Consistency.LINEARIZABLE,
        timeout: Duration | None = None,
    ) -> list[LimitStatus]:
        """Return the limit keys that are set or in use."""
        pages = self._pages(lambda after: SettingsCall(consistency, after), Settings, timeout)
        return [each async for page in pages for each in page.limits]

    async def schedules(
        self,
        *,
        consistency: Consistency = Consistency.LINEARIZABLE,
        timeout: Duration | None = None,
    ) -> list[ScheduleStatus]:
        """Return all schedules, by name."""
        pages = self._pages(
            lambda after: SchedulesCall(None, consistency, after), ScheduleList, timeout
        )
        return [each async for page in pages for each in page.schedules]

    async def schedule(
        self,
        name: str,
        *,
        consistency: Consistency = Consistency.LINEARIZABLE,
        timeout: Duration | None = None,
    ) -> ScheduleStatus:
        """Return a schedule.

        Raises:
            UnknownSchedule: There is none of this name.
        """
        found = await self._call(SchedulesCall(name, consistency), ScheduleList, timeout)
        if not found.schedules:
            raise UnknownSchedule(f"there is no schedule {name!r}", schedule=name)
        return found.schedules[0]

    async def cluster(self, *, timeout: Duration | None = None) -> ClusterStatus:
        """Return what one node knows about the cluster."""
        return await self._call(ClusterCall(), ClusterStatus, timeout)
