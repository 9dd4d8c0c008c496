"""The part of the asyncio client that enqueues: at once, or in two steps."""

from collections.abc import Sequence
from typing import Unpack
from uuid import UUID

from raftq.client.durations import Duration
from raftq.client.keywords.new_tasks import (
    Parts,
    PreparedKeywords,
    TaskKeywords,
    enqueue_parts,
    make_task,
    new_tasks,
)
from raftq.client.parts.caller import Caller, single
from raftq.protocol.commands import Enqueue, EnqueueParts
from raftq.protocol.control import Confirm
from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask
from raftq.protocol.replies import Enqueued, EnqueuedTask, SettledTask


class Producing(Caller):
    """Enqueues tasks."""

    def new_task(self, payload: bytes, **options: Unpack[TaskKeywords]) -> NewTask:
        """Return a task for `enqueue_many`; it gets a UUIDv7 unless an id is given.

        Args:
            payload: What the worker gets.
            options: See `TaskKeywords`.

        Raises:
            InvalidRequest: There is no such option, or a value is not written as it must be.
        """
        return make_task(self.new_id(), payload, options)

    async def enqueue(
        self,
        queue: str,
        payload: bytes,
        *,
        timeout: Duration | None = None,
        **options: Unpack[TaskKeywords],
    ) -> EnqueuedTask:
        """Add one task; when this returns, it is on the disks of a majority.

        Args:
            queue: The queue's name.
            payload: What the worker gets.
            timeout: For this call.
            options: See `TaskKeywords`; give an `id` to be able to repeat the whole call safely.

        Raises:
            KeyTaken: Another live task has the unique key.
            QueueFull, RateLimited: A quota is used up, and was until the deadline.
            OutcomeUnknown: It may be enqueued; repeat with the same id.
            RaftqError: See docs/reference/errors.md.
        """
        task = self.new_task(payload, **options)
        return (await self.enqueue_many(queue, [task], timeout=timeout))[0]

    async def enqueue_many(
        self, queue: str, tasks: Sequence[NewTask | bytes], *, timeout: Duration | None = None
    ) -> list[EnqueuedTask]:
        """Add tasks, all or none, in order; plain bytes become tasks with defaults."""
        new = new_tasks(tasks, self.new_id)
        if not new:
            return []
        return (await self._call(Enqueue(queue, new), Enqueued, timeout)).tasks

    async def enqueue_parts(
        self, parts: Parts, *, timeout: Duration | None = None
    ) -> list[EnqueuedTask]:
        """Add tasks to several queues, all or none; a task may depend on one before it.

        Args:
            parts: Queue → tasks, or pairs of these; a queue may come again.
            timeout: For this call.

        Returns:
            What became of each, in the order of the parts and their tasks.
        """
        sent = enqueue_parts(parts, self.new_id)
        if not sent:
            return []
        return (await self._call(EnqueueParts(sent), Enqueued, timeout)).tasks

    # ------------------------------------------------------------ in two steps

    async def prepare(
        self,
        queue: str,
        payload: bytes,
        *,
        confirm_within: Duration,
        check_queue: str | None = None,
        timeout: Duration | None = None,
        **options: Unpack[PreparedKeywords],
    ) -> EnqueuedTask:
        """Add a task that no worker gets before it is confirmed.

        Prepare it, commit in a database of yours, confirm. If the program dies between, the task
        expires, or its check goes to a worker that looks at that database.

        Args:
            queue: Where it goes when it is confirmed.
            payload: What the worker gets.
            confirm_within: How long it waits for that.
            check_queue: Where it goes if it was not confirmed in time: a worker there decides
                between `confirm` and `cancel`. Without one the task expires.
            timeout: For this call.
            options: As of `enqueue`.
        """
        told: TaskKeywords = {
            **options,
            "confirm_within": confirm_within,
            "check_queue": check_queue,
        }
        task = make_task(self.new_id(), payload, told)
        return (await self.enqueue_many(queue, [task], timeout=timeout))[0]

    async def confirm(self, id: UUID | bytes, *, timeout: Duration | None = None) -> TaskState:
        """Let a prepared task go on; repeating it is harmless.

        Raises:
            UnknownTask: There is none.
            Conflict: It expired, was cancelled or is dead.
        """
        return single(await self.confirm_many([id], timeout=timeout))

    async def confirm_many(
        self, ids: Sequence[UUID | bytes], *, timeout: Duration | None = None
    ) -> list[SettledTask]:
        """Let prepared tasks go on; each is judged on its own (see its `error_code`)."""
        return await self._control(Confirm, ids, timeout)
