"""A cluster for Apps in a few lines: tasks in a dict, whose ends are told by the test."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from tests.support.fake_node import task_status

from raftq.client.async_client import AsyncClient
from raftq.client.parts.reading import OVER
from raftq.protocol.calls import Call, ResultCall, SchedulesCall, TaskCall
from raftq.protocol.commands import Enqueue, EnqueueParts
from raftq.protocol.control import Cancel, Confirm, SetSchedule
from raftq.protocol.errors import RaftqError, UnknownTask
from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask, Schedule
from raftq.protocol.replies import Done, Enqueued, EnqueuedTask, Settled, SettledTask
from raftq.protocol.statuses import ScheduleList, ScheduleStatus, TaskStatus

T = TypeVar("T")
_LOOK_SECONDS = 0.005


class FakeAccess:
    """Takes the place of an App's connections: `app.access = FakeAccess()`."""

    is_live = True

    def __init__(self) -> None:
        self.tasks: dict[bytes, tuple[str, NewTask]] = {}
        """Queue and task by id."""
        self.statuses: dict[bytes, TaskStatus] = {}
        self.enqueues: list[Enqueue] = []
        """What was enqueued, queue by queue."""
        self.calls = 0
        self.asked: list[bytes] = []
        """The task of each look at a task, in order; a wait looks every few milliseconds."""
        self.waits: list[int] = []
        """How long each wait for a result was to be, in ms."""
        self.waiting_most = 0
        """The most waits at a time."""
        self._waiting = 0
        self.controls: list[Call] = []
        """Calls that cancel, confirm or schedule."""
        self.schedules: dict[str, Schedule] = {}
        self.on_schedule: Callable[[str, Schedule], None] = lambda name, schedule: None
        """Called before one is set; what it raises, the caller hears."""
        self.enqueue: Callable[[str, NewTask], EnqueuedTask] = self._enqueue
        """What comes of each new task."""
        self.problems: list[RaftqError] = []
        """Raised by the next calls, one each."""
        self.on_asked: Callable[[bytes], None] = lambda task_id: None
        """Called before each answer."""
        self._client = AsyncClient.over(
            _Calls(self), random=Random(1), wall_ms=lambda: 1_700_000_000_000
        )

    # ------------------------------------------------------------ what an App asks for

    def new_id(self) -> bytes:
        """Return a new task id."""
        return self._client.new_id()

    def run(self, call: Callable[[AsyncClient], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine."""
        return asyncio.run(call(self._client))

    async def client(self) -> AsyncClient:
        """Return the client."""
        return self._client

    def close(self) -> None:
        """There is nothing to close."""

    async def aclose(self) -> None:
        """There is nothing to close."""

    # ------------------------------------------------------------ what its client asks for

    async def execute(self, call: Call) -> object:
        """Execute a call."""
        await asyncio.sleep(0)
        self.calls += 1
        if self.problems:
            raise self.problems.pop(0)
        match call:
            case Enqueue(queue=queue, tasks=tasks):
                self.enqueues.append(call)
                return Enqueued([self.enqueue(queue, each) for each in tasks])
            case EnqueueParts(parts=parts):
                self.enqueues += [Enqueue(part.queue, part.tasks) for part in parts]
                return Enqueued(
                    [self.enqueue(part.queue, each) for part in parts for each in part.tasks]
                )
            case TaskCall(task_id=task_id):
                return self._look(task_id)
            case ResultCall(task_id=task_id, wait_ms=wait_ms):
                self.waits.append(wait_ms)
                return await self._wait(task_id, wait_ms / 1_000)
            case Cancel(ids=ids) | Confirm(ids=ids):
                self.controls.append(call)
                return Settled([SettledTask(self._look(each).state) for each in ids])
            case SchedulesCall():
                found = sorted(self.schedules.items())
                return ScheduleList(
                    [ScheduleStatus(*each, 1, None, None, None, 0, 0) for each in found]
                )
            case SetSchedule(name=name, schedule=schedule):
                self.controls.append(call)
                self.on_schedule(name, schedule)
                before, self.schedules[name] = self.schedules.get(name), schedule
                return Done(before != schedule)
            case _:
                raise NotImplementedError(call)

    def _look(self, task_id: bytes) -> TaskStatus:
        self.asked.append(task_id)
        self.on_asked(task_id)
        if task_id not in self.statuses:
            raise UnknownTask("no such task")
        return self.statuses[task_id]

    async def _wait(self, task_id: bytes, seconds: float) -> TaskStatus:
        """Look again and again until the task is over or the wait is."""
        deadline = time.monotonic() + seconds
        self._waiting += 1
        self.waiting_most = max(self.waiting_most, self._waiting)
        try:
            while (status := self._look(task_id)).state not in OVER:
                if time.monotonic() >= deadline:
                    break
                await asyncio.sleep(_LOOK_SECONDS)
            return status
        finally:
            self._waiting -= 1

    def _enqueue(self, queue: str, task: NewTask) -> EnqueuedTask:
        created = task.id not in self.tasks
        self.tasks[task.id] = queue, task
        self.statuses.setdefault(
            task.id,
            msgspec.structs.replace(task_status(task.id), queue=queue, options=task.options),
        )
        return EnqueuedTask(task.id, TaskState.READY, created)

    # ------------------------------------------------------------ what a test tells

    @staticmethod
    def uuid(task_id: bytes) -> UUID:
        """Return an id as Apps have it."""
        return UUID(bytes=task_id)

    def tell(self, id: UUID, progress: bytes) -> None:
        """Let a run tell how far it is."""
        self.statuses[id.bytes] = msgspec.structs.replace(
            self.statuses[id.bytes], progress=progress
        )

    def payload(self, id: UUID) -> bytes:
        """Return what was enqueued under an id."""
        return self.tasks[id.bytes][1].payload

    def end(self, id: UUID, state: TaskState, result: bytes | None = None, *reasons: str) -> None:
        """Let a task end."""
        self.statuses[id.bytes] = msgspec.structs.replace(
            self.statuses[id.bytes],
            state=state,
            result=result,
            errors=list(reasons),
            failures=len(reasons),
        )


class _Calls:
    """What the client is made over."""

    is_closed = False
    is_connected = True

    def __init__(self, access: FakeAccess) -> None:
        self._access = access

    async def call(self, call: Call, timeout: float) -> object:
        return await self._access.execute(call)

    async def close(self) -> None:
        pass
