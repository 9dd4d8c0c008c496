"""A cluster for Apps in a few lines: tasks in a dict, whose ends are told by the test."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from raftq.client.async_client import AsyncClient
from raftq.protocol.errors import RaftqError, UnknownTask
from raftq.protocol.messages import (
    Call,
    Enqueue,
    Enqueued,
    EnqueuedTask,
    NewTask,
    TaskCall,
    TaskState,
    TaskStatus,
)

T = TypeVar("T")


class FakeAccess:
    """Takes the place of an App's connections: `app.access = FakeAccess()`."""

    is_live = True

    def __init__(self) -> None:
        self.tasks: dict[bytes, tuple[str, NewTask]] = {}
        """Queue and task by id."""
        self.statuses: dict[bytes, TaskStatus] = {}
        self.enqueues: list[Enqueue] = []
        self.asked: list[bytes] = []
        """The task of each question, in order."""
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
        if self.problems:
            raise self.problems.pop(0)
        match call:
            case Enqueue(queue=queue, tasks=tasks):
                self.enqueues.append(call)
                return Enqueued([self._enqueue(queue, each) for each in tasks])
            case TaskCall(task_id=task_id):
                self.asked.append(task_id)
                self.on_asked(task_id)
                if task_id not in self.statuses:
                    raise UnknownTask("no such task")
                return self.statuses[task_id]
            case _:
                raise NotImplementedError(call)

    def _enqueue(self, queue: str, task: NewTask) -> EnqueuedTask:
        created = task.id not in self.tasks
        self.tasks[task.id] = queue, task
        self.statuses.setdefault(
            task.id,
            TaskStatus(task.id, queue, TaskState.READY, 5, 0, 0, 0, 5, None, None, [], 0, 0, None),
        )
        return EnqueuedTask(task.id, TaskState.READY, created)

    # ------------------------------------------------------------ what a test tells

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
