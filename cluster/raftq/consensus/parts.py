"""How the parts of a replica are built and joined, for production and for the simulator alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from raftq.consensus.group_commit import GroupCommit, Offload
from raftq.consensus.leader_clock import LeaderClock
from raftq.consensus.membership import Introduction, Membership
from raftq.consensus.peers.forwarding import Forwarder
from raftq.consensus.peers.links import Links
from raftq.consensus.peers.peering import Peering
from raftq.consensus.proposer import Proposer
from raftq.consensus.raft.elector import ElectionTimes, Elector
from raftq.consensus.raft.engine import Engine
from raftq.consensus.raft.guard import Guard
from raftq.consensus.raft.member_history import MemberHistory
from raftq.consensus.raft.members import Member, MemberList
from raftq.consensus.raft.probation import Promises
from raftq.consensus.raft.raft_log import RaftLog
from raftq.consensus.replicated_state import Identity, ReplicatedState
from raftq.consensus.snapshotter import Background, Snapshotter
from raftq.protocol import limits
from raftq.storage.journal import Journal
from raftq.storage.snapshots import SnapshotStore
from raftq.storage.vote import VoteFile


@dataclass(frozen=True, slots=True)
class ReplicaConfig:
    """Who this member is and how it behaves.

    `members` are the ids that it is configured with, itself included, and `addresses` where their
    peers reach them, as `host:port`; a member list in the log counts instead, once there is one.
    `facts` are words about this node that all members learn (its addresses for clients).
    """

    node: str
    members: tuple[str, ...]
    times: ElectionTimes
    facts: Mapping[str, str]
    snapshot_entries: int = limits.SNAPSHOT_AFTER_ENTRIES
    snapshot_bytes: int = limits.SNAPSHOT_AFTER_BYTES
    addresses: Mapping[str, str] = field(default_factory=dict[str, str])


class NodeIdentity(Identity, Promises, Protocol):
    """What is written down about this node on its disk."""

    @property
    def bootstrap(self) -> Mapping[str, str]: ...
    @property
    def is_joining(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Disk:
    """What this member finds and keeps on its disk."""

    journal: Journal
    vote: VoteFile
    snapshots: SnapshotStore
    identity: NodeIdentity


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything that a simulator replaces: network, clocks, chance, and work beside the loop."""

    links: Links
    clock: Callable[[], float]
    """The event loop's clock, monotonic seconds."""
    wall_ms: Callable[[], int]
    random: Random
    offload: Offload
    background: Background


class Owner(Protocol):
    """What the parts tell the replica."""

    def wake(self) -> None: ...
    def stop_with(self, error: BaseException) -> None: ...
    def on_entry(self, index: int, entry: bytes) -> object: ...
    def on_role_changed(self) -> None: ...
    def on_durable(self) -> None: ...


class Parts:
    """The parts of one replica, joined. Nothing runs yet."""

    def __init__(
        self, config: ReplicaConfig, disk: Disk, around: Surroundings, owner: Owner
    ) -> None:
        boot_id = f"{around.random.getrandbits(64):016x}"
        self.state = ReplicatedState(
            disk.identity, lambda index: self.log.command_at(index), disk.journal.open_segments
        )
        history = MemberHistory(bootstrap_list(config, disk.identity))
        self.log = RaftLog(
            disk.journal,
            disk.vote,
            disk.snapshots.read_meta(),
            sync_each=False,
            members=history,
        )
        self.snapshotter = Snapshotter(
            disk.snapshots,
            history,
            self.state,
            around.background,
            around.clock,
            self._followers_passed,
        )
        self.engine = Engine(
            config.node,
            [member for member in config.members if member != config.node],
            self.log,
            owner.on_entry,
            self.snapshotter,
            heartbeat=config.times.heartbeat,
            fallback=2 * config.times.timeout,
            on_state=owner.on_role_changed,
        )
        self.peering = Peering(
            around.links,
            around.clock,
            boot_id,
            owner.wake,
            owner.stop_with,
        )
        self.guard = Guard(self.engine, self.log, self.peering)
        self.membership = Membership(
            Introduction(config.node, boot_id, config.facts, config.addresses),
            history,
            disk.identity,
            lambda: self.log.stored_term,
            self.peering.send,
            owner.stop_with,
        )
        self.clock = LeaderClock(
            around.clock,
            around.wall_ms,
            lambda: self.elector.roll.majority,
            lambda: self.elector.roll.voters,
        )
        self.elector = Elector(
            self.engine,
            self.log,
            (),
            config.times,
            around.clock,
            around.random.random,
            self.peering.send,
            self.clock,
            self.membership.probation,
        )
        self.membership.join(self.engine, self.elector, self.guard, around.links)
        self.forwarder = Forwarder(self.peering.send, around.clock)
        self.peering.join(
            self.engine,
            self.guard,
            self.elector,
            self.forwarder,
            self.membership,
            self.snapshotter.identity,
        )
        self.engine.connect_outbox(self.peering)
        self.proposer = Proposer(self.engine.propose, self.clock, owner.wake, self.state.answer)
        self.commit = GroupCommit(disk.journal, around.offload, owner.on_durable, owner.stop_with)
        self.links = around.links

    def _followers_passed(self, index: int) -> bool:
        """Tell whether cutting the log at an index leaves every connected follower served.

        Who is behind the whole log needs a snapshot in any case, and gets none while one is being
        written: waiting for it would keep it waiting for ever.
        """
        matched, reachable = self.guard.matched, self.links.reachable()
        return not self.engine.is_leader or all(
            not self.log.first_index <= matched.get(peer, 0) < index
            for peer in self.membership.roll.others
            if reachable.get(peer)
        )


def bootstrap_list(config: ReplicaConfig, identity: NodeIdentity) -> MemberList:
    """Return the members before any list is in the log.

    A node that joins knows whom to ask, and is no voter itself.
    """
    return MemberList(
        {
            node: Member(
                config.addresses.get(node, address),
                is_voter=node != config.node or not identity.is_joining,
            )
            for node, address in identity.bootstrap.items()
        }
    )
