"""Long polls on a fake replica, and tasks for them."""

import asyncio
from typing import Final
from uuid import UUID

from tests.support.fake_replica import FakeReplica

from raftq.consensus.contract import ReplicaView
from raftq.core.applied import Applied
from raftq.protocol.calls import Call, LeaseCall
from raftq.protocol.commands import Command, Enqueue, Lease
from raftq.protocol.options import NewTask, TaskOptions
from raftq.protocol.replies import Leased, Reply
from raftq.server.waiters import Waiters

SOON: Final = 5.0


class Bench:
    """Waiters on a fake replica, whose listener they are."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.replica = FakeReplica()
        self.waiters = Waiters(self.replica)
        self.replica.attach(self, self._refuse)
        self._tasks = 0
        self._requests = 0

    def on_applied(self, applied: Applied) -> None:
        self.waiters.on_ready(applied.ready)

    def on_leader_changed(self, view: ReplicaView) -> None:
        self.waiters.fail_all()

    def on_schedules_due(self) -> None: ...

    async def _refuse(self, call: Call, deadline: float) -> Reply:
        raise AssertionError("nobody forwards here")

    def enqueue(
        self,
        queue: str = "q",
        count: int = 1,
        payload: bytes = b"p",
        options: TaskOptions | None = None,
    ) -> None:
        """Apply an enqueue, as if another client had done it."""
        tasks: list[NewTask] = []
        for _ in range(count):
            self._tasks += 1
            tasks.append(NewTask(UUID(int=self._tasks).bytes, payload, options=options))
        self.replica.apply([Enqueue(queue, tasks)])

    def apply(self, *commands: Command) -> None:
        """Apply an entry, as if other clients had proposed its commands."""
        self.replica.apply(list(commands))

    def lease(
        self,
        queues: list[str] | None = None,
        count: int = 1,
        wait: float = SOON,
        request: str | None = None,
    ) -> "asyncio.Future[Leased]":
        """Ask for leases, waiting for them some seconds."""
        self._requests += 1
        request_id = request or f"r{self._requests}"
        call = LeaseCall(queues or ["q"], count, 30_000, "w", request_id, int(wait * 1_000))
        now = self.loop.time()
        return self.waiters.lease(call, now + wait + SOON, now + wait)

    @property
    def leases_proposed(self) -> int:
        """Leases that were committed."""
        return sum(isinstance(command, Lease) for command in self.replica.commands)
