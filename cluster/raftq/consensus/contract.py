"""What the layers above may ask of replication: the `Replica` seam.

Nothing above this package knows PySyncObj, terms of votes or peers' sockets. The production
implementation is `raftq.consensus.replica.RaftReplica`; tests use `tests/support/fake_replica.py`.
All deadlines are instants of the running event loop's clock (`loop.time()`), in seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from raftq.core.applied import Applied
from raftq.core.machine import Machine
from raftq.protocol.calls import Call
from raftq.protocol.commands import Command
from raftq.protocol.replies import CommandReply, Reply


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """What this node knows about its group at this moment; cheap to make, never waits."""

    node: str
    leader: str | None
    is_leader: bool
    """True only while this node leads, has applied its own term's first entry and may propose."""
    has_quorum: bool
    term: int
    commit_index: int
    applied_index: int
    log_entries: int
    reachable: Mapping[str, bool]
    """For every member, itself included: is there a live connection to it?"""
    not_ready_reason: str | None
    """None if the node serves linearizable traffic; otherwise why not, in words."""
    lag_ms: int | None = None
    """How long ago the machine was known to lack nothing that was committed, without the travel
    time of one message; 0 on a leader, which steps down soon after it loses its majority. None if
    it was never known."""


class ReplicaListener(Protocol):
    """Told on the event loop, synchronously; must not raise and must not wait."""

    def on_applied(self, applied: Applied) -> None:
        """Called after each applied entry, on every node."""

    def on_leader_changed(self, view: ReplicaView) -> None:
        """Called when this node gains or loses leadership, or learns of another leader."""

    def on_schedules_due(self) -> None:
        """Called on the leader every few tens of milliseconds while a schedule's tick has come and
        is not judged yet."""


CallHandler = Callable[[Call, float], Awaitable[Reply]]
"""(call, deadline) -> reply; raises RaftqError."""


class Replica(Protocol):
    """One member of one Raft group."""

    @property
    def machine(self) -> Machine:
        """The replicated state. Read it, never change it, never keep it across an await:
        installing a snapshot replaces it."""
        ...

    @property
    def base_index(self) -> int:
        """The log index of the snapshot that `machine` was loaded from; 0 if it began empty.
        Entries after it are told to the listener, those before it are not."""
        ...

    @property
    def wall_ms(self) -> int:
        """The cluster's wall time now, milliseconds since 1970, as far as this node knows it; a
        leader knows what its voters' clocks say."""
        ...

    @property
    def is_leader(self) -> bool:
        """The same as `view().is_leader`, for the hot path."""
        ...

    def view(self) -> ReplicaView:
        """Return what this node knows right now."""
        ...

    def propose(self, command: Command, deadline: float) -> "asyncio.Future[CommandReply]":
        """Replicate a command; the future gets the machine's reply once it is durable on a
        majority and applied here.

        Commands proposed in one turn of the loop share a log entry, in the order of the calls.

        Raises:
            NotLeader, RateLimited: Nothing happened. Raised here or set on the future.
            LeadershipLost, CommitTimeout: It may have happened; repeat with the same ids. Set on
                the future.
        """
        ...

    async def read_barrier(self, deadline: float) -> None:
        """Return once `machine` reflects every write acknowledged before this call.

        Only on the leader: its leadership is confirmed by a quorum after the call began.

        Raises:
            NotLeader, NoLeader: Leadership was not confirmed by the deadline.
        """
        ...

    async def forward(self, call: Call, deadline: float) -> Reply:
        """Have the leader's call handler execute the call, over the peer link.

        Raises:
            NoLeader, NotLeader: Nothing happened.
            ConnectionLost, CommitTimeout: It may have happened.
            RaftqError: What the leader's handler raised.
        """
        ...

    def attach(self, listener: ReplicaListener, handler: CallHandler) -> None:
        """Set who is told of changes and who executes calls that other nodes forward here."""
        ...

    async def transfer_leadership(self, deadline: float, to: str | None = None) -> bool:
        """Hand leadership to a voter, or to the one that is furthest along; true if it, or for
        None any other one, leads now.

        Raises:
            Conflict: `to` is no voter.
        """
        ...

    async def add_member(self, node: str, address: str, deadline: float) -> None:
        """Add a node; return once it is a member. The leader makes it a voter when it has caught
        up. Repeating it changes nothing; another address replaces the member's address.

        Raises:
            Conflict: There is no room, or the address is another member's.
            NotLeader, NoLeader: Nothing happened.
            LeadershipLost, CommitTimeout: It may have happened; repeat the call.
        """
        ...

    async def remove_member(self, node: str, deadline: float) -> None:
        """Remove a member; return once it is none. Repeating it changes nothing.

        Raises:
            Conflict: Too few voters would be left, or within reach.
            NotLeader, NoLeader: Nothing happened; a leader that is asked to remove itself hands
                leadership over, and its successor must be asked.
            LeadershipLost, CommitTimeout: It may have happened; repeat the call.
        """
        ...
