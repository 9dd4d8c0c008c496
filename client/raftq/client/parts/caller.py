"""What every part of the asyncio client builds on: one call, its deadline, its typed answer."""

import threading
from collections.abc import Callable, Sequence
from random import Random, SystemRandom
from typing import TypeVar, cast
from uuid import UUID

from raftq.client.calling import Calls
from raftq.client.durations import Duration, seconds
from raftq.client.keywords.new_tasks import task_id
from raftq.client.random_bits import RandomBits
from raftq.protocol import limits
from raftq.protocol.calls import Call
from raftq.protocol.control import Cancel, Confirm
from raftq.protocol.errors import error_from_code
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import Done, Enqueued, Reply, Settled, SettledTask, Swept
from raftq.protocol.statuses import TaskStatus
from raftq.protocol.uuid7 import Uuid7

R = TypeVar("R", bound=Reply)
_REFUSALS = {
    "lease_lost": "the lease is over or was never granted; its task is not this worker's any more",
    "cancelled": "the task was cancelled while it ran: stop, for its result is refused",
    "unknown_task": "there is no such task",
    "forgotten_task": "the task finished, and its outcome is not kept any more",
    "key_taken": "the unique key of a follow-up is another live task's",
}


class Caller:
    """Executes calls; the parts of `AsyncClient` are made of it."""

    def _begin(
        self, calls: Calls, timeout: Duration, random: Random, wall_ms: Callable[[], int]
    ) -> None:
        self._calling = calls
        self._timeout = seconds(timeout)
        is_real = isinstance(random, SystemRandom)
        self._new_id = Uuid7(wall_ms, RandomBits() if is_real else random.getrandbits)
        self._id_lock = threading.Lock()  # `Client` makes ids on its callers' threads.
        self._last_index = 0

    def new_id(self) -> bytes:
        """Return a new UUIDv7, greater than those before; safe on any thread."""
        with self._id_lock:
            return self._new_id()

    @property
    def last_index(self) -> int:
        """The newest log index of which an answer told this client, of a write or of a read.

        A stale read that gives it as `min_index` sees all that this client wrote and read, and
        any node can answer it. It may travel to other programs.
        """
        return self._last_index

    async def _call(self, call: Call, kind: type[R], timeout: Duration | None) -> R:
        limit = self._timeout if timeout is None else seconds(timeout)
        reply = await self._calling.call(call, limit)
        if isinstance(reply, Enqueued | Settled | Done | Swept):
            self._last_index = max(self._last_index, reply.index)
        elif isinstance(reply, TaskStatus):
            self._last_index = max(self._last_index, reply.applied_index)
        return cast(R, reply)

    async def _control(
        self,
        kind: type[Cancel] | type[Confirm],
        ids: Sequence[UUID | bytes],
        timeout: Duration | None,
    ) -> list[SettledTask]:
        """Do one thing with each of many tasks, as many in each call as it may carry."""
        settled: list[SettledTask] = []
        for at in range(0, len(ids), limits.TASKS_PER_CONTROL_MAX):
            some = [task_id(each) for each in ids[at : at + limits.TASKS_PER_CONTROL_MAX]]
            settled += (await self._call(kind(some), Settled, timeout)).items
        return settled


def single(items: Sequence[SettledTask]) -> TaskState:
    """Return the state of the only item, or raise its error."""
    item = items[0]
    if item.state is None or item.error_code:
        code, state = item.error_code, item.state
        text = _REFUSALS.get(code, f"the task is {state}, which does not allow it")
        raise error_from_code(code, text, {} if state is None else {"state": str(state)})
    return item.state
