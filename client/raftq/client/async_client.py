"""The asyncio client: one call, one deadline, any node.

The retry rule: a call is tried on the leader if it is known, else on the node that failed least.
When a node cannot be reached, answers that it cannot serve the call now, or is silent for longer
than `PATIENCE_SECONDS` (plus what the call itself may wait), the call is tried on another one with
the same ids, until its deadline. Errors of the request are raised at once.
"""

import asyncio
import time
from collections.abc import Sequence
from random import Random, SystemRandom
from types import TracebackType
from typing import Final, TypeVar, cast
from uuid import UUID

from raftq.client.connection import Connection, open_connection
from raftq.client.durations import Duration, milliseconds, seconds
from raftq.client.endpoints import Address, Endpoints, parse_addresses
from raftq.protocol import limits
from raftq.protocol.errors import (
    CommitTimeout,
    InvalidRequest,
    NoLeader,
    OutcomeUnknown,
    RaftqError,
    ShuttingDown,
    UnavailableError,
    error_from_code,
)
from raftq.protocol.messages import (
    Ack,
    AckItem,
    Call,
    ClusterCall,
    ClusterStatus,
    Consistency,
    Enqueue,
    Enqueued,
    EnqueuedTask,
    Extend,
    ExtendItem,
    Fail,
    FailItem,
    LeaseCall,
    Leased,
    LeasedTask,
    NewTask,
    QueueCall,
    QueueStatus,
    Reply,
    Requeue,
    RequeueItem,
    Settled,
    SettledTask,
    TaskCall,
    TaskState,
    TaskStatus,
)
from raftq.protocol.uuid7 import Uuid7

PATIENCE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.01
_PAUSE_MAX_SECONDS: Final = 0.2
_READS: Final = (TaskCall, QueueCall, ClusterCall)
R = TypeVar("R", bound=Reply)


class AsyncClient:
    """A client of one cluster. Connects when first used; use it in `async with`, or close it.

    Args:
        addresses: `"raftq://host:port,host:port"`, or a list of `host:port`; any nodes will do.
        timeout: How long a call may take, unless the call says otherwise. A lease call may wait
            for tasks on top of it.
        name: Who this is, for the nodes' logs.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        timeout: Duration = 10.0,
        name: str = "python",
    ) -> None:
        self._random: Random = SystemRandom()
        self._endpoints = Endpoints(parse_addresses(addresses), self._random)
        self._timeout = seconds(timeout)
        self._name = name
        self._connections: dict[Address, Connection] = {}
        self._opening: dict[Address, asyncio.Lock] = {}
        self._is_closed = False
        self.new_id = Uuid7(lambda: time.time_ns() // 1_000_000, self._random.getrandbits)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; calls that are still open end with ConnectionLost."""
        self._is_closed = True
        for connection in list(self._connections.values()):
            connection.close()
        self._connections.clear()
        await asyncio.sleep(0)

    # ------------------------------------------------------------ producing

    def new_task(
        self,
        payload: bytes,
        *,
        id: UUID | None = None,
        priority: int = limits.PRIORITY_DEFAULT,
        delay: Duration = 0,
        attempts_max: int = limits.ATTEMPTS_MAX_DEFAULT,
    ) -> NewTask:
        """Return a task for `enqueue_many`; it gets a UUIDv7 unless an id is given."""
        task_id = self.new_id() if id is None else id.bytes
        return NewTask(task_id, payload, priority, milliseconds(delay), attempts_max)

    async def enqueue(
        self,
        queue: str,
        payload: bytes,
        *,
        id: UUID | None = None,
        priority: int = limits.PRIORITY_DEFAULT,
        delay: Duration = 0,
        attempts_max: int = limits.ATTEMPTS_MAX_DEFAULT,
        timeout: Duration | None = None,
    ) -> EnqueuedTask:
        """Add one task; when this returns, it is on the disks of a majority.

        Args:
            queue: The queue's name.
            payload: What the worker gets.
            id: Give one to be able to repeat the whole call safely.
            priority: 0 (first) to 9.
            delay: Earliest start from now.
            attempts_max: Failures after which the task is dead.
            timeout: For this call.

        Raises:
            OutcomeUnknown: It may be enqueued; repeat with the same id.
            RaftqError: See docs/reference/errors.md.
        """
        task = self.new_task(
            payload, id=id, priority=priority, delay=delay, attempts_max=attempts_max
        )
        return (await self.enqueue_many(queue, [task], timeout=timeout))[0]

    async def enqueue_many(
        self, queue: str, tasks: Sequence[NewTask | bytes], *, timeout: Duration | None = None
    ) -> list[EnqueuedTask]:
        """Add tasks, all or none, in order; plain bytes become tasks with defaults."""
        new = [self.new_task(task) if isinstance(task, bytes) else task for task in tasks]
        if not new:
            return []
        return (await self._call(Enqueue(queue, new), Enqueued, timeout)).tasks

    # ------------------------------------------------------------ working

    async def lease(
        self,
        queues: str | Sequence[str],
        *,
        worker: str,
        count: int = 1,
        lease: Duration = limits.LEASE_MS_DEFAULT / 1_000,
        wait: Duration = 0,
        request_id: str | None = None,
        timeout: Duration | None = None,
    ) -> list[LeasedTask]:
        """Take up to `count` tasks; wait up to `wait` for the first one.

        Args:
            queues: One queue or several, tried in this order.
            worker: The worker's name.
            count: The most tasks wanted.
            lease: How long the tasks are this worker's; extend it while they run.
            wait: How long to wait if nothing is ready.
            request_id: Repeating a call with the same one returns the same leases.
            timeout: For this call, on top of `wait`.
        """
        names = [queues] if isinstance(queues, str) else list(queues)
        call = LeaseCall(
            names,
            count,
            milliseconds(lease),
            worker,
            request_id or self.new_id().hex(),
            milliseconds(wait),
        )
        return (await self._call(call, Leased, timeout)).leases

    async def ack(
        self, token: int, result: bytes | None = None, *, timeout: Duration | None = None
    ) -> TaskState:
        """Record a task as done.

        Raises:
            LeaseLost: The lease is over; the task is not this worker's any more.
        """
        return _single(await self.ack_many([AckItem(token, result)], timeout=timeout))

    async def ack_many(
        self, items: Sequence[AckItem], *, timeout: Duration | None = None
    ) -> list[SettledTask]:
        """Record tasks as done; each item is judged on its own (see its `error_code`)."""
        return (await self._call(Ack(list(items)), Settled, timeout)).items if items else []

    async def fail(self, token: int, error: str, *, timeout: Duration | None = None) -> TaskState:
        """Record a failed run; the state returned tells whether it will be tried again.

        Raises:
            LeaseLost: The lease is over.
        """
        text = error[: limits.ERROR_TEXT_CHARACTERS_MAX]
        return _single(await self.fail_many([FailItem(token, text)], timeout=timeout))

    async def fail_many(
        self, items: Sequence[FailItem], *, timeout: Duration | None = None
    ) -> list[SettledTask]:
        """Record failed runs; each item is judged on its own."""
        return (await self._call(Fail(list(items)), Settled, timeout)).items if items else []

    async def requeue(
        self, token: int, *, delay: Duration = 0, timeout: Duration | None = None
    ) -> TaskState:
        """Give a lease back; no attempt is burnt.

        Raises:
            LeaseLost: The lease is over.
        """
        item = RequeueItem(token, milliseconds(delay))
        return _single(await self.requeue_many([item], timeout=timeout))

    async def requeue_many(
        self, items: Sequence[RequeueItem], *, timeout: Duration | None = None
    ) -> list[SettledTask]:
        """Give leases back; each item is judged on its own."""
        return (await self._call(Requeue(list(items)), Settled, timeout)).items if items else []

    async def extend(
        self, token: int, lease: Duration, *, timeout: Duration | None = None
    ) -> TaskState:
        """Prolong a lease to `lease` from now.

        Raises:
            LeaseLost: The lease is over.
        """
        item = ExtendItem(token, milliseconds(lease))
        return _single(await self.extend_many([item], timeout=timeout))

    async def extend_many(
        self, items: Sequence[ExtendItem], *, timeout: Duration | None = None
    ) -> list[SettledTask]:
        """Prolong leases; each item is judged on its own."""
        return (await self._call(Extend(list(items)), Settled, timeout)).items if items else []

    # ------------------------------------------------------------ looking

    async def task(
        self,
        id: UUID | bytes,
        *,
        consistency: Consistency = Consistency.LINEARIZABLE,
        timeout: Duration | None = None,
    ) -> TaskStatus:
        """Return a task's state and result.

        Raises:
            UnknownTask: There is none, or it finished long ago and was forgotten.
        """
        task_id = id.bytes if isinstance(id, UUID) else id
        return await self._call(TaskCall(task_id, consistency), TaskStatus, timeout)

    async def queue(
        self,
        name: str,
        *,
        consistency: Consistency = Consistency.LINEARIZABLE,
        timeout: Duration | None = None,
    ) -> QueueStatus:
        """Return a queue's counts."""
        return await self._call(QueueCall(name, consistency), QueueStatus, timeout)

    async def cluster(self, *, timeout: Duration | None = None) -> ClusterStatus:
        """Return what one node knows about the cluster."""
        return await self._call(ClusterCall(), ClusterStatus, timeout)

    # ------------------------------------------------------------ one call

    async def _call(self, call: Call, kind: type[R], timeout: Duration | None) -> R:
        loop = asyncio.get_running_loop()
        begun_at = loop.time()
        wait = call.wait_ms / 1_000 if isinstance(call, LeaseCall) else 0.0
        deadline = begun_at + wait + (self._timeout if timeout is None else seconds(timeout))
        wait_ends_at = begun_at + wait
        may_have_happened = False
        tries = 0
        while True:
            address = self._endpoints.choose()
            pause = min(_PAUSE_SECONDS * 2**tries, _PAUSE_MAX_SECONDS)
            try:
                reply = await self._try(address, call, deadline, wait_ends_at)
            except UnavailableError as error:
                last: RaftqError = error
                if isinstance(error, NoLeader | ShuttingDown):
                    self._endpoints.failed(address)
                retry_after_ms = error.facts.get("retry_after_ms")
                if isinstance(retry_after_ms, int):
                    pause = max(pause, retry_after_ms / 1_000)
            except OutcomeUnknown as error:
                may_have_happened = may_have_happened or not isinstance(call, _READS)
                self._endpoints.failed(address)
                last = error
            else:
                self._endpoints.succeeded(address)
                return cast(R, reply)
            tries += 1
            pause *= 0.5 + self._random.random()
            if loop.time() + pause >= deadline:
                raise _at_deadline(last, may_have_happened)
            await asyncio.sleep(pause)

    async def _try(
        self, address: Address, call: Call, deadline: float, wait_ends_at: float
    ) -> object:
        """Send a call to one node and wait for its answer, but not longer than it deserves."""
        loop = asyncio.get_running_loop()
        connection = self._connections.get(address)
        if connection is None or connection.is_lost:
            connection = await self._connect(address, deadline)
        now = loop.time()
        wait_left = max(wait_ends_at - now, 0.0)
        if isinstance(call, LeaseCall) and call.wait_ms:
            call = LeaseCall(
                call.queues,
                call.count,
                call.lease_ms,
                call.worker,
                call.request_id,
                int(wait_left * 1_000),
            )
        timeout_ms = int((deadline - now - wait_left) * 1_000)
        future = connection.call(call, min(max(timeout_ms, 1), limits.TIMEOUT_MS_MAX))
        try:
            async with asyncio.timeout_at(min(deadline, now + wait_left + PATIENCE_SECONDS)):
                return await future
        except TimeoutError:
            raise CommitTimeout(f"{address[0]}:{address[1]} did not answer in time") from None

    async def _connect(self, address: Address, deadline: float) -> Connection:
        if self._is_closed:
            raise InvalidRequest("this client is closed")
        lock = self._opening.setdefault(address, asyncio.Lock())
        async with lock:
            known = self._connections.get(address)
            if known is not None and not known.is_lost:
                return known
            remaining = deadline - asyncio.get_running_loop().time()
            connection, hello = await open_connection(
                address,
                self._name,
                min(max(remaining, 0.001), PATIENCE_SECONDS),
                lambda method, params: self._on_notification(address, method, params),
                lambda: self._endpoints.failed(address),
            )
            self._connections[address] = connection
            self._endpoints.learn(hello.nodes, hello.leader)
            return connection

    def _on_notification(self, address: Address, method: str, params: list[object]) -> None:
        match method, params:
            case "leader", [str() | None as leader, int()]:
                self._endpoints.set_leader(leader)
            case "shutting_down", _:
                self._endpoints.failed(address)
            case _:
                pass  # A newer server may say more.


def _single(items: list[SettledTask]) -> TaskState:
    """Return the state of the only item, or raise its error."""
    item = items[0]
    if item.state is None:
        raise error_from_code(
            item.error_code,
            "the lease is over or was never granted; its task is not this worker's any more",
            {},
        )
    return item.state


def _at_deadline(last: RaftqError, may_have_happened: bool) -> RaftqError:
    if may_have_happened and not isinstance(last, OutcomeUnknown):
        return CommitTimeout(
            f"no answer before the deadline; an earlier try may have succeeded ({last.message})"
        )
    return last
