"""The asyncio client: every call, in its form for one item and its form for a batch.

How a call finds a node that serves it is in `raftq.client.calling`.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from random import Random, SystemRandom
from types import TracebackType
from typing import Self, TypeVar, cast
from uuid import UUID

from raftq.client.calling import Calling, Calls
from raftq.client.credentials import credentials
from raftq.client.durations import Duration, milliseconds, seconds
from raftq.client.endpoints import Endpoints, parse_addresses
from raftq.client.giving_back import GivingBack
from raftq.client.random_bits import RandomBits
from raftq.protocol import limits
from raftq.protocol.errors import error_from_code
from raftq.protocol.messages import (
    Ack,
    AckItem,
    AddMember,
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
    RemoveMember,
    Reply,
    Requeue,
    RequeueItem,
    Settled,
    SettledTask,
    TaskCall,
    TaskState,
    TaskStatus,
    TransferLeadership,
)
from raftq.protocol.uuid7 import Uuid7

R = TypeVar("R", bound=Reply)


class AsyncClient:
    """A client of one cluster. Connects when first used; use it in `async with`, or close it.

    Args:
        addresses: `"raftq://host:port,host:port"`, or a list of `host:port`; any nodes will do.
        timeout: How long a call may take, unless the call says otherwise. A lease call may wait
            for tasks on top of it.
        name: Who this is, for the nodes' logs.
        token: Lets this client in where nodes ask for one; `raftq token new` makes it.
        tls_ca: A file with the CA that signed the nodes' certificates, or `"system"` for those
            that this machine trusts. With it the connections are encrypted, and the nodes must
            prove the host names in their addresses; without it they are plain.
        random: Chooses among nodes, jitters pauses and makes ids.
        wall_ms: Wall clock of new ids, milliseconds since 1970.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        timeout: Duration = 10.0,
        name: str = "python",
        token: str | None = None,
        tls_ca: str | os.PathLike[str] | None = None,
        random: Random | None = None,
        wall_ms: Callable[[], int] | None = None,
    ) -> None:
        chance = random or SystemRandom()
        endpoints = Endpoints(parse_addresses(addresses), chance, _loop_time)
        calling = Calling(endpoints, name, chance, credentials(token, tls_ca))
        self._begin(calling, timeout, chance, wall_ms or now_ms)

    @classmethod
    def over(
        cls,
        calls: Calls,
        *,
        random: Random,
        wall_ms: Callable[[], int],
        timeout: Duration = 10.0,
    ) -> Self:
        """Return a client whose calls are executed by something else than a cluster's nodes.

        For tests: `raftq.testing` has a broker in memory that takes the place of a cluster.
        """
        client = cls.__new__(cls)
        client._begin(calls, timeout, random, wall_ms)
        return client

    def _begin(
        self, calls: Calls, timeout: Duration, random: Random, wall_ms: Callable[[], int]
    ) -> None:
        self._calling = calls
        self._timeout = seconds(timeout)
        self._giving_back = GivingBack(calls)
        is_real = isinstance(random, SystemRandom)
        self._new_id = Uuid7(wall_ms, RandomBits() if is_real else random.getrandbits)
        self._id_lock = threading.Lock()  # `Client` makes ids on its callers' threads.

    def new_id(self) -> bytes:
        """Return a new UUIDv7, greater than those before; safe on any thread."""
        with self._id_lock:
            return self._new_id()

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
        """Close every connection; calls that are open end with an error. Harmless when repeated."""
        await self._giving_back.finish()
        await self._calling.close()

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
        new = [NewTask(self.new_id(), task) if isinstance(task, bytes) else task for task in tasks]
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

        A call that is cancelled gives back what it was granted before it ends, which takes a
        moment: up to two seconds if the cluster does not answer.
        """
        names = [queues] if isinstance(queues, str) else list(queues)
        call = LeaseCall(
            names,
            count,
            milliseconds(lease),
            worker,
            self.new_id().hex() if request_id is None else request_id,
            milliseconds(wait),
        )
        try:
            return (await self._call(call, Leased, timeout)).leases
        except asyncio.CancelledError:
            await self._giving_back.give_back(call)
            raise

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
        item = FailItem(token, error_text(error))
        return _single(await self.fail_many([item], timeout=timeout))

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

    async def add_member(
        self, node: str, peer_address: str, *, timeout: Duration | None = None
    ) -> ClusterStatus:
        """Add a node to the cluster and return how it is then.

        The node gets the log as a learner, and becomes a voter when it has caught up. Of a member,
        the address is replaced. Repeating the call changes nothing.

        Args:
            node: Its id.
            peer_address: Where the other nodes reach it, as `host:port`.
            timeout: For this call; the client's own if None.

        Raises:
            Conflict: There is no room, or the address is another member's.
        """
        return await self._call(AddMember(node, peer_address), ClusterStatus, timeout)

    async def remove_member(self, node: str, *, timeout: Duration | None = None) -> ClusterStatus:
        """Remove a member from the cluster and return how it is then; its process stops.

        Raises:
            Conflict: Too few voters would be left, or within reach of the leader.
        """
        return await self._call(RemoveMember(node), ClusterStatus, timeout)

    async def transfer_leadership(
        self, to: str | None = None, *, timeout: Duration | None = None
    ) -> ClusterStatus:
        """Hand leadership to a voter, or to the one that is furthest along.

        Raises:
            Conflict: `to` is no voter.
            NotReady: It cannot take over now.
        """
        return await self._call(TransferLeadership(to), ClusterStatus, timeout)

    # ------------------------------------------------------------ one call

    async def _call(self, call: Call, kind: type[R], timeout: Duration | None) -> R:
        limit = self._timeout if timeout is None else seconds(timeout)
        return cast(R, await self._calling.call(call, limit))


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


def error_text(error: str) -> str:
    """Return a reason of failure as it may be recorded: bounded, and valid Unicode."""
    return error[: limits.ERROR_TEXT_CHARACTERS_MAX].encode(errors="replace").decode()


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def now_ms() -> int:
    """Return the wall clock, milliseconds since 1970."""
    return time.time_ns() // 1_000_000
