"""One member of a Raft group, driven from the event loop.

A message, a proposal, a finished fsync or the timer wakes the pump, once for each turn of the loop:
elections, PySyncObj's tick (commit, apply, answer, send), new proposals, then the next fsync.
An error that makes this node unfit stops it at once: it falls silent, and `failed` tells the
process.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from raftq.consensus.contract import CallHandler, ReplicaListener, ReplicaView
from raftq.consensus.falling_due import due_seconds, schedule_is_due, time_is_due
from raftq.consensus.freshness import Freshness
from raftq.consensus.handover import hand_over
from raftq.consensus.member_changes import MemberChanges
from raftq.consensus.parts import Disk, Parts, ReplicaConfig, Surroundings
from raftq.consensus.raft.members import MemberList
from raftq.consensus.snapshot_due import snapshot_is_due
from raftq.consensus.timer import Timer
from raftq.core.applied import Applied
from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.protocol.calls import Call
from raftq.protocol.commands import Command, FoundCluster
from raftq.protocol.errors import Conflict, NoLeader, NotLeader
from raftq.protocol.replies import CommandReply, Reply

_log = logging.getLogger(__name__)

_ENTRIES_BEHIND_MAX: Final = 1_000
"""A follower that lacks more committed entries than this is not ready."""


class RaftReplica:
    """A replica; implements `contract.Replica`. Construct it inside the running event loop.

    Args:
        config: Who this member is.
        disk: Its opened files.
        around: Network, clocks and chance.
    """

    def __init__(self, config: ReplicaConfig, disk: Disk, around: Surroundings) -> None:
        self.config = config
        self._loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[BaseException] = self._loop.create_future()
        """Gets the error that stopped this node."""
        self.parts = Parts(config, disk, around, self)
        self.changes = MemberChanges(config.node, self, self.parts.membership)
        self._now = around.clock
        self._random = around.random
        self._listener: ReplicaListener | None = None
        self._timer = Timer(self._loop, self._on_timer)
        self._pump_is_scheduled = False
        self._is_running = False
        self._is_handing_over = False
        self._waits_for_disk = False
        """Whether the log must come to rest, because this node becomes the only voter."""
        self._leads = False
        self._known: tuple[str | None, int, bool] = (None, 0, False)
        self._caught_up_term = 0
        self._freshness = Freshness(around.clock)

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Load what is on disk, then join the peers."""
        self._is_running = True
        self.parts.engine.tick()  # Loads the snapshot into the machine.
        self.parts.state.check_identity()
        self.parts.membership.follow()
        await self.parts.links.start(self.parts.peering)
        self._on_timer()

    async def stop(self) -> None:
        """Leave the peers and let the running fsync end. Leadership is not handed over here."""
        self._fall_silent()
        await self.parts.forwarder.stop()
        await self.parts.links.stop()
        await self.parts.commit.drain()

    def stop_with(self, error: BaseException) -> None:
        """Fall silent because this node cannot be trusted any more."""
        if not self.failed.done():
            _log.critical("replica_stopped", exc_info=error)
            self.failed.set_result(error)
            self.parts.peering.is_silent = True
            self._fall_silent()

    def _fall_silent(self) -> None:
        self._is_running = self._leads = False
        self._timer.cancel()
        self.parts.proposer.lose_leadership()

    # ------------------------------------------------------------ contract.Replica

    @property
    def machine(self) -> Machine:
        """The replicated state; see the contract."""
        return self.parts.state.machine

    @property
    def base_index(self) -> int:
        """Where the machine began; see the contract."""
        return self.parts.state.base_index

    @property
    def wall_ms(self) -> int:
        """The cluster's wall time; see the contract."""
        return self.parts.clock.wall_ms

    @property
    def is_leader(self) -> bool:
        """Whether this node leads and may propose; see the contract."""
        return self._leads

    def attach(self, listener: ReplicaListener, handler: CallHandler) -> None:
        """Set who is told of changes and who executes forwarded calls."""
        self._listener = listener
        self.parts.forwarder.serve(handler)

    def propose(self, command: Command, deadline: float) -> "asyncio.Future[CommandReply]":
        """Replicate a command; see the contract."""
        if not self._leads or self._is_handing_over:
            raise self.not_leader()
        return self.parts.proposer.submit(command, deadline)

    async def read_barrier(self, deadline: float) -> None:
        """Confirm leadership; see the contract."""
        if not self._leads:
            raise self.not_leader()
        confirmed: asyncio.Future[bool] = self._loop.create_future()

        def on_confirmed(is_leader: bool) -> None:
            if not confirmed.done():
                confirmed.set_result(is_leader)

        self.parts.elector.confirm_read(on_confirmed)
        self.wake()
        try:
            async with asyncio.timeout_at(deadline):
                is_leader = await confirmed
        except TimeoutError:
            raise NoLeader("leadership was not confirmed before the deadline") from None
        if not is_leader:
            raise self.not_leader()

    async def forward(self, call: Call, deadline: float) -> Reply:
        """Have the leader execute a call; see the contract."""
        leader = self._leader()
        if leader is None:
            raise NoLeader("the cluster has no leader at the moment")
        if leader == self.config.node:
            raise NotLeader(f"{leader} is taking over", leader=leader)
        return await self.parts.forwarder.forward(leader, call, deadline)

    async def transfer_leadership(self, deadline: float, to: str | None = None) -> bool:
        """Hand leadership over; see the contract."""
        voters = self.parts.membership.current.voters
        if to is not None and to not in voters:
            raise Conflict(f"{to} is no voter; the voters are {', '.join(voters)}")
        if to == self.config.node:
            return self._leads
        if self.parts.engine.is_leader and self.parts.membership.roll.counted:
            self._is_handing_over = True
            try:
                await hand_over(self, deadline, to)
            finally:
                self._is_handing_over = False
        return self.follows_another() if to is None else self._leader() == to

    async def add_member(self, node: str, address: str, deadline: float) -> None:
        """Add a node to the cluster; see the contract."""
        await self.changes.add(node, address, deadline)

    async def remove_member(self, node: str, deadline: float) -> None:
        """Remove a member from the cluster; see the contract."""
        await self.changes.remove(node, deadline)

    def view(self) -> ReplicaView:
        """Return what this node knows right now."""
        links = self.parts.links.reachable()
        others = self.parts.membership.roll.others
        reachable = {self.config.node: True, **{peer: links.get(peer, False) for peer in others}}
        engine = self.parts.engine
        return ReplicaView(
            node=self.config.node,
            leader=self._leader(),
            is_leader=self._leads,
            has_quorum=self.has_quorum(),
            term=engine.term,
            commit_index=engine.commit_index,
            applied_index=engine.applied_index,
            log_entries=len(self.parts.log),
            reachable=reachable,
            not_ready_reason=self._not_ready_reason(),
            lag_ms=0 if self._leads else self._freshness.lag_ms,
        )

    @property
    def members(self) -> MemberList:
        """The member list in force."""
        return self.parts.membership.current

    def member_facts(self) -> Mapping[str, Mapping[str, str]]:
        """Return what each member said about itself when it was last met."""
        return {self.config.node: self.config.facts, **self.parts.peering.facts}

    def not_leader(self) -> NotLeader:
        """Return the error of a call that only the leader can serve."""
        return NotLeader(f"{self.config.node} does not lead", leader=self._leader())

    def _leader(self) -> str | None:
        """Return the leader if it is this node or there is a link to it."""
        leader = self.parts.engine.leader
        if leader == self.config.node:
            return leader if self.parts.engine.is_leader else None
        if leader is None or not self.parts.links.is_linked(leader):
            return None
        return leader

    def _not_ready_reason(self) -> str | None:
        if self.failed.done():
            return f"stopped: {self.failed.result()}"
        leader = self._leader()
        if not self._is_running:
            return "not running"
        if leader is None:
            return "no leader" if self.parts.membership.roll.is_voter else "not a member yet"
        if leader == self.config.node:
            return None if self._leads else "taking over leadership"
        if self.parts.elector.silence > 2 * self.config.times.timeout:
            return f"the leader {leader} is silent"
        behind = self.parts.guard.leader_commit_index - self.parts.engine.applied_index
        if self._caught_up_term != self.parts.engine.term or behind > _ENTRIES_BEHIND_MAX:
            return f"catching up: {max(behind, 0)} entries behind"
        return None

    # ------------------------------------------------------------ the pump

    def wake(self) -> None:
        """Run the pump once in this turn of the loop."""
        if not self._pump_is_scheduled:
            self._pump_is_scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_is_scheduled = False
        if not self._is_running:
            return
        parts = self.parts
        try:
            rounds = parts.elector.rounds_begun
            parts.elector.tick()
            if parts.elector.rounds_begun != rounds:
                parts.guard.send_news(repeated=True)  # In one packet with the heartbeats.
            parts.engine.tick()
            self._follow_leadership()
            if parts.engine.applied_index < min(parts.engine.commit_index, parts.log.last_index):
                self.wake()  # More was committed than one turn of the loop applies.
            if parts.membership.follow() and self._listener is not None:
                self._listener.on_leader_changed(self.view())
            if self._leads and not self._waits_for_disk:
                parts.proposer.flush()
                if parts.membership.roll.is_alone and not parts.proposer.is_idle:
                    self.wake()  # A node alone hears no acks that would wake it.
            if not parts.log.sync_each:
                parts.commit.start()
            if self._is_running and self._timer.is_open:
                self._timer.plan(None if self._is_busy() else self._due_seconds())
        except Exception as error:
            self.stop_with(error)

    def _on_timer(self) -> None:
        """Do what only time brings: elections, deadlines, due tasks, snapshots."""
        if not self._is_running:
            return
        try:
            self._look()
        finally:
            if not self._pump_is_scheduled:
                self._pump()  # It plans the next look.

    def _look(self) -> None:
        now = self._now()
        parts = self.parts
        parts.peering.resume(now)
        parts.guard.send_news()
        parts.proposer.expire(now)
        if self._leads:
            parts.clock.look()
            self._waits_for_disk = self._waits_for_disk and self.changes.is_busy
            is_resting = self._is_handing_over or self._waits_for_disk
            if not is_resting and time_is_due(self.machine, parts.clock):
                parts.proposer.send_time()
            parts.membership.end_probations()
            if not is_resting and parts.membership.needs_entry():
                parts.proposer.send_time()
            if not is_resting and schedule_is_due(self.machine, parts.clock) and self._listener:
                self._listener.on_schedules_due()
            self.changes.promote()
        if snapshot_is_due(parts, self.config):
            parts.engine.request_snapshot()

    def _is_busy(self) -> bool:
        """Tell whether something is under way that the timer must look at often."""
        parts = self.parts
        if self._known[0] is None or parts.engine.is_leader != self._leads:
            return True  # An election, or a leader that cannot be reached.
        if not parts.snapshotter.is_idle or parts.peering.has_paused:
            return True
        if not self._leads:
            return False
        if self._is_handing_over or self.changes.is_busy or self.members.learners:
            return True
        is_told = parts.proposer.is_idle and not parts.guard.has_news
        return not is_told or bool(parts.membership.trust.untrusted)

    def _due_seconds(self) -> float:
        """Return how long nothing falls due, as far as is known now."""
        seconds = self.parts.elector.due_at - self._now()
        if self._leads:
            seconds = min(seconds, due_seconds(self.machine, self.parts.clock))
        return seconds

    def on_durable(self) -> None:
        """A sync ended: acks may leave."""
        if self._is_running:
            self.parts.guard.on_durable()
            self.wake()

    def on_entry(self, index: int, entry: bytes) -> Applied:
        """Apply a committed entry and tell the listener."""
        applied = self.parts.state.apply(index, entry)
        self.parts.clock.applied(self.machine.wall_now_ms)
        if self._listener is not None:
            self._listener.on_applied(applied)
        return applied

    # ------------------------------------------------------------ leadership

    def on_role_changed(self) -> None:
        """PySyncObj changed its role; called in the middle of its work."""
        if self.parts.engine.is_leader:
            self.parts.guard.on_leadership()
            self.parts.membership.on_leadership()

    def _follow_leadership(self) -> None:
        """Notice what the last tick changed, and tell the listener."""
        engine, guard = self.parts.engine, self.parts.guard
        if engine.applied_index >= guard.leader_commit_index > 0:
            self._caught_up_term = engine.term
        self._freshness.look(
            leads=self._leads,
            messages=guard.commit_indexes_told,
            commit_index=guard.leader_commit_index,
            applied_index=engine.applied_index,
        )
        led_this_term = self._leads and self._known[1] == engine.term
        leads = engine.is_leader and (led_this_term or self._may_begin())
        known = (self._leader(), engine.term, leads)
        if known == self._known:
            return
        self._known, self._leads = known, leads
        if leads and not led_this_term:
            self.parts.clock.start()
            self._found_cluster()
        elif not leads:
            self._waits_for_disk = False
            self.parts.clock.stop()
            self.parts.proposer.lose_leadership()
        if self._listener is not None:
            self._listener.on_leader_changed(self.view())

    def _may_begin(self) -> bool:
        """Tell whether an elected leader has applied what is committed, with an entry of its own
        among it, and knows the time. Later it may be behind for some turns, and leads on."""
        index = self.parts.engine.read_index
        has_applied = index is not None and self.parts.engine.applied_index >= index
        return has_applied and self.parts.clock.is_known

    def _found_cluster(self) -> None:
        if self.machine.cluster_id is None:
            cluster_id = f"{self._random.getrandbits(128):032x}"
            deadline = self._now() + limits.TIMEOUT_MS_DEFAULT / 1_000
            founded = self.parts.proposer.submit(FoundCluster(cluster_id), deadline)
            founded.add_done_callback(lambda done: done.cancelled() or done.exception())

    # ------------------------------------------------------------ member_changes.Leader

    def may_change_members(self) -> bool:
        """Whether a change of the members may be proposed."""
        has_own_entry = self.parts.engine.read_index is not None
        may = self._leads and has_own_entry and self.parts.membership.is_settled
        return may and not self._is_handing_over

    def reachable(self) -> Mapping[str, bool]:
        """Return for each peer whether a link to it is up."""
        return self.parts.links.reachable()

    def lag(self, peer: str) -> int:
        """Return how many committed entries a peer is not known to have."""
        return self.parts.engine.commit_index - self.parts.guard.matched.get(peer, 0)

    def propose_members(self, members: MemberList, done: Callable[[bool], None]) -> bool:
        """Append a member list; False if the disk must come to rest first.

        A node that becomes the only voter counts what it appends at once, so nothing that it
        appended before may still be on its way to the disk.
        """
        becomes_alone = len(members.voters) == 1 and not self.parts.membership.roll.is_alone
        self._waits_for_disk = becomes_alone and not self.parts.log.journal.is_idle
        if not self._waits_for_disk:
            self.parts.engine.propose_members(members, done)
        self.wake()
        return not self._waits_for_disk

    # ------------------------------------------------------------ handover.Leading

    def follows_another(self) -> bool:
        """Whether another member leads, as far as this one knows."""
        leader = self._leader()
        return leader is not None and leader != self.config.node

    def proposals_are_idle(self) -> bool:
        """Whether nothing waits to be committed."""
        return self.parts.proposer.is_idle

    def followers_matched(self) -> Mapping[str, int]:
        """Return what each reachable follower that may lead has acknowledged."""
        matched, reachable = self.parts.guard.matched, self.parts.links.reachable()
        counted = self.parts.membership.roll.counted
        return {peer: matched.get(peer, 0) for peer in counted if reachable.get(peer)}

    def last_index(self) -> int:
        """Return the newest log index."""
        return self.parts.log.last_index

    def has_quorum(self) -> bool:
        """Whether a majority of the voters can be reached."""
        membership = self.parts.membership
        return membership.has_majority(membership.current, self.parts.links.reachable())

    def ask_to_lead(self, peer: str) -> bool:
        """Have a follower start an election at once."""
        asked = self.parts.engine.transfer_to(peer)
        self.wake()
        return asked

    def now(self) -> float:
        """Return the clock of deadlines."""
        return self._now()
