"""Execute one call on any node, once or again, until its deadline.

On the leader a command is admitted and proposed, a lease may wait, a read is confirmed by a
quorum first. On another node the call is forwarded; only a wait for a result stays here, and only
a read that may be stale is answered here. Every call is idempotent by its ids or sets something to
a value, so after a leader change or a broken link it is simply tried again. (A repeated sweep does
not count what it did before, and a repeated edit counts its delay anew.) Once a try may have taken
effect, no later refusal may be reported as "nothing happened".
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from msgspec import structs

from raftq.consensus.contract import Replica, ReplicaView
from raftq.core.applied import Applied
from raftq.protocol.addresses import address_text, parse_address
from raftq.protocol.calls import (
    AddMember,
    Call,
    ClusterCall,
    LeaseCall,
    MembersCall,
    RemoveMember,
    ResultCall,
    TaskCall,
    TransferLeadership,
)
from raftq.protocol.commands import Enqueue, EnqueueParts
from raftq.protocol.control import Edit, SetSchedule
from raftq.protocol.errors import (
    CommitTimeout,
    ConnectionLost,
    LeadershipLost,
    NoLeader,
    NotLeader,
    NotReady,
    OutcomeUnknown,
    RaftqError,
    ShuttingDown,
    UnavailableError,
)
from raftq.protocol.fields import Consistency
from raftq.protocol.replies import CommandReply, Leased, Reply
from raftq.protocol.statuses import ClusterStatus, TaskStatus
from raftq.server.calls import (
    ClientCommand,
    accept,
    changes_nothing,
    is_command,
    is_read,
    wait_ms_of,
)
from raftq.server.events.hub import EventHub
from raftq.server.judging import admit, check_edit
from raftq.server.reading import Reading
from raftq.server.schedules import Firing, first_tick
from raftq.server.waiters import Waiters

_log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 0.015
"""The base of the jittered pause between two tries."""
_HANDOVER_SECONDS: Final = 3.0


class Service:
    """Executes calls; implements `ReplicaListener` and gives the replica its call handler.

    Args:
        replica: This node's replica.
        cluster_status: Returns what this node knows about the cluster.
        disk_is_full: Tells whether enqueues must be refused to keep room for acks.
        random: Jitter.
    """

    def __init__(
        self,
        replica: Replica,
        cluster_status: Callable[[], ClusterStatus],
        disk_is_full: Callable[[], bool],
        random: Random,
    ) -> None:
        self._replica = replica
        self._cluster_status = cluster_status
        self._disk_is_full = disk_is_full
        self._random = random
        self._loop = asyncio.get_running_loop()
        self.waiters = Waiters(replica)
        self.firing = Firing(replica)
        self.reading = Reading(replica)
        self.events = EventHub(replica, self.acknowledged_index)
        self._shut_down_at: float | None = None
        self._forwarded_polls: set[asyncio.Task[Reply]] = set()
        self.calls_running = 0
        self.on_leader: list[Callable[[ReplicaView], None]] = []
        """Called when the leader changes, as this node sees it."""
        replica.attach(self, self.lead)

    # ------------------------------------------------------------ shutting down

    @property
    def is_shutting_down(self) -> bool:
        """Whether this node is about to stop."""
        return self._shut_down_at is not None

    def shut_down(self, deadline: float) -> None:
        """End long polls at once, and every other call by the deadline.

        A poll is asked once more without waiting, so that a lease which was granted in this very
        moment still reaches its caller.
        """
        self._shut_down_at = deadline
        self.waiters.fail_all()
        self.reading.end_waits()
        self.events.close(ShuttingDown("this node stops; use another one"))
        for poll in self._forwarded_polls:
            poll.cancel()

    # ------------------------------------------------------------ any node

    async def execute(
        self, call: Call, deadline: float, *, may_have_happened: bool = False
    ) -> Reply:
        """Execute a client's call.

        Args:
            call: What is asked.
            deadline: The loop-clock instant at which the caller gives up.
            may_have_happened: Whether it was tried before, with an unknown outcome.

        Raises:
            NoLeader: Nothing happened by the deadline.
            NotReady: This node has not applied by then what a stale read asked for.
            ShuttingDown: Nothing happened, and this node stops.
            CommitTimeout: It may have happened; repeat with the same ids.
            RaftqError: What the call itself met.
        """
        self.calls_running += 1
        try:
            wait_ends_at = self._wait_end(call)
            return await self._try_until(
                lambda: self._try(call, deadline, wait_ends_at), call, deadline, may_have_happened
            )
        finally:
            self.calls_running -= 1

    async def acknowledged_index(self, deadline: float) -> int:
        """Return a log index by which every write was applied that was acknowledged before now.

        Raises:
            NoLeader, ShuttingDown: No leader said so by the deadline.
        """
        call = ClusterCall()
        found = await self._try_until(
            lambda: self._try_leader(call, deadline), call, deadline, may_have_happened=False
        )
        assert isinstance(found, ClusterStatus)
        return found.applied_index

    async def _try_until(
        self,
        attempt: Callable[[], Awaitable[Reply]],
        call: Call,
        deadline: float,
        may_have_happened: bool,
    ) -> Reply:
        while True:
            try:
                return await attempt()
            except (NotLeader, NoLeader) as error:
                last: RaftqError = error.with_traceback(None)
            except (LeadershipLost, ConnectionLost) as error:
                may_have_happened = may_have_happened or not changes_nothing(call)
                last = error.with_traceback(None)
            except CommitTimeout as error:
                if not changes_nothing(call):
                    raise
                raise NoLeader(error.message) from None
            except UnavailableError as error:
                if may_have_happened:
                    raise _unknown(error) from None
                raise
            pause = _PAUSE_SECONDS * (0.5 + self._random.random())
            ends_at = self._loop.time() + pause
            if ends_at >= deadline:
                raise _at_deadline(last, may_have_happened)
            if self._shut_down_at is not None and ends_at >= self._shut_down_at:
                stopped = ShuttingDown(f"this node stops; use another one ({last.message})")
                raise _unknown(last) if may_have_happened else stopped
            await asyncio.sleep(pause)

    def _wait_end(self, call: Call) -> float:
        return self._loop.time() + wait_ms_of(call) / 1_000

    async def _try(self, call: Call, deadline: float, wait_ends_at: float) -> Reply:
        if isinstance(call, ClusterCall):
            return self._cluster_status()
        if isinstance(call, LeaseCall):
            return await self._try_lease(call, deadline, wait_ends_at)
        if isinstance(call, ResultCall):
            return await self.reading.result(
                call, lambda read: self._read_task(read, deadline, wait_ends_at), wait_ends_at
            )
        if is_read(call) and call.consistency is Consistency.STALE:
            return await self.reading.stale(call, deadline)
        return await self._try_leader(call, deadline)

    async def _read_task(self, call: TaskCall, deadline: float, wait_ends_at: float) -> TaskStatus:
        status = await self._try(call, deadline, wait_ends_at)
        assert isinstance(status, TaskStatus)
        return status

    async def _try_leader(self, call: Call, deadline: float) -> Reply:
        if self._replica.is_leader:
            return await self.lead(call, deadline)
        return await self._replica.forward(call, deadline)

    async def _try_lease(self, call: LeaseCall, deadline: float, wait_ends_at: float) -> Reply:
        """Try a lease call with what is left of its wait: nothing, while shutting down."""
        left_ms = max(int((wait_ends_at - self._loop.time()) * 1_000), 0)
        call = structs.replace(call, wait_ms=0 if self.is_shutting_down else left_ms)
        if self._replica.is_leader:
            return await self.lead(call, deadline)
        if not call.wait_ms:
            return await self._replica.forward(call, deadline)
        poll = asyncio.ensure_future(self._forward(call, deadline))
        self._forwarded_polls.add(poll)
        try:
            return await poll
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.is_shutting_down and task is not None and not task.cancelling():
                raise NotLeader("this node stops waiting") from None
            raise
        finally:
            self._forwarded_polls.discard(poll)

    async def _forward(self, call: Call, deadline: float) -> Reply:
        return await self._replica.forward(call, deadline)

    # ------------------------------------------------------------ the leader

    async def lead(self, call: Call, deadline: float) -> Reply:
        """Execute a call here, as the leader; never forwards.

        Raises:
            NotLeader: This node does not lead.
        """
        if isinstance(call, LeaseCall):
            leased = await self.waiters.lease(call, deadline, self._wait_end(call))
            if not leased.leases and call.wait_ms == 0:
                # An answer that nothing waits must not come from a deposed leader.
                await self._replica.read_barrier(deadline)
            return leased
        if is_read(call):
            await self._replica.read_barrier(deadline)
            return self.reading.here(call)
        if isinstance(call, ClusterCall):
            # Clients' own are answered where they arrive; a node asks the leader for its word.
            await self._replica.read_barrier(deadline)
            return self._cluster_status()
        if isinstance(call, MembersCall):
            return await self._change_members(call, deadline)
        assert is_command(call), "every call is of one of these kinds"
        return accept(await self.propose(call, deadline))

    async def _change_members(self, call: MembersCall, deadline: float) -> ClusterStatus:
        """Execute a call about the members, and answer with how they are now."""
        replica = self._replica
        if not replica.is_leader:
            raise NotLeader("this node does not lead")
        match call:
            case AddMember(id=node, peer_address=address):
                await replica.add_member(node, address_text(parse_address(address)), deadline)
            case RemoveMember(id=node):
                await replica.remove_member(node, deadline)
            case TransferLeadership(to=to):
                # Nothing is proposed meanwhile, so a handover that cannot succeed must end soon.
                ends_at = min(deadline, self._loop.time() + _HANDOVER_SECONDS)
                if not await replica.transfer_leadership(ends_at, to):
                    raise NotReady(f"{to or 'no other voter'} cannot take over now; try again")
        return self._cluster_status()

    def begin(
        self, call: Call, deadline: float
    ) -> "asyncio.Future[CommandReply] | asyncio.Future[Leased] | None":
        """Begin a call that is one command or one wait on the leader, without a task for it.

        The future gets what the first try comes to; what `execute` would try again, the caller
        gives to `execute`. None: only `execute` can do this call.

        Raises:
            NotLeader: Nothing happened; it is for `execute`.
            RaftqError: The call itself met it; nothing happened.
        """
        if is_command(call):
            return self.propose(call, deadline)
        if isinstance(call, LeaseCall) and call.wait_ms and not self.is_shutting_down:
            return self.waiters.lease(call, deadline, self._wait_end(call))
        return None

    def propose(self, command: ClientCommand, deadline: float) -> "asyncio.Future[CommandReply]":
        """Admit a command and replicate it.

        Raises:
            NotLeader, QueueFull, DiskFull: Nothing happened.
            InvalidRequest: A schedule has no such time, or an edit contradicts itself.
        """
        if isinstance(command, Enqueue | EnqueueParts):
            if not self._replica.is_leader:
                raise NotLeader("this node does not lead")
            admit(self._replica.machine, command, self._disk_is_full)
        elif isinstance(command, SetSchedule):
            command = self._with_first_tick(command)
        elif isinstance(command, Edit):
            check_edit(command)
        return self._replica.propose(command, deadline)

    def _with_first_tick(self, command: SetSchedule) -> SetSchedule:
        if not self._replica.is_leader:
            raise NotLeader("this node does not lead")
        now_ms = max(self._replica.wall_ms, self._replica.machine.wall_now_ms)
        return structs.replace(command, next_at_ms=first_tick(command.schedule, now_ms))

    # ------------------------------------------------------------ ReplicaListener

    def on_applied(self, applied: Applied) -> None:
        """Wake who waits for a task, or for what became of one; keep its events."""
        self.events.on_applied(applied)
        self.waiters.on_ready(applied.ready)
        self.reading.results.on_applied(applied)

    def on_leader_changed(self, view: ReplicaView) -> None:
        """Send waiting leases to the new leader, and tell the clients and the log."""
        _log.info("leader_changed", extra={"leader": view.leader, "term": view.term})
        if not view.is_leader:
            self.waiters.fail_all()
        for listener in self.on_leader:
            listener(view)

    def on_schedules_due(self) -> None:
        """Fire the schedules whose tick has come."""
        self.firing.fire()


def _at_deadline(last: RaftqError, may_have_happened: bool) -> RaftqError:
    if may_have_happened:
        return _unknown(last)
    if isinstance(last, NoLeader):
        return last
    return NoLeader(f"no leader answered before the deadline ({last.message})")


def _unknown(last: RaftqError) -> OutcomeUnknown:
    if isinstance(last, OutcomeUnknown):
        return last
    return CommitTimeout(
        f"an earlier try may have succeeded; repeat with the same ids ({last.message})"
    )
