"""Who this node counts, talks to and lets in: the member list of its log, put in force.

Follows the log: each change of the list in force reaches the engine, the elector and the guard at
once, in the middle of the change of the log, so that nothing is ever counted by an older list. The
links follow in the next pump; they also serve who is leaving until the change is committed.

Not here: which changes are made (`member_changes.py`).
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from raftq.consensus.peers.links import Links, Refusal
from raftq.consensus.peers.messages import (
    MembershipMessage,
    NotMember,
    PeerHello,
    PeerMessage,
    ProbationEnded,
    ProbationProven,
)
from raftq.consensus.raft.elector import Elector
from raftq.consensus.raft.engine import Engine
from raftq.consensus.raft.guard import Guard
from raftq.consensus.raft.member_history import MemberHistory
from raftq.consensus.raft.members import MemberList
from raftq.consensus.raft.probation import Memory, Probation, Promises, Trust
from raftq.consensus.raft.roll import Roll, call_roll
from raftq.protocol import limits
from raftq.protocol.addresses import Address, parse_address
from raftq.protocol.errors import RemovedFromCluster
from raftq.protocol.versions import PEER_PROTOCOL_VERSION

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Introduction:
    """What this node says of itself in each hello, and the configured addresses of all members."""

    node: str
    boot_id: str
    facts: Mapping[str, str]
    addresses: Mapping[str, str]


class Membership:
    """The member list in force on one node; implements the peering's `Gate`.

    Args:
        introduction: Who this node is.
        history: The lists in the log.
        promises: What is written down on the disk.
        term: Returns the newest term that this node took part in.
        send: Sends a message to a peer; False if there is no link.
        stop_with: Stops this node because of an error.
    """

    def __init__(
        self,
        introduction: Introduction,
        history: MemberHistory,
        promises: Promises,
        term: Callable[[], int],
        send: Callable[[str, PeerMessage], bool],
        stop_with: Callable[[BaseException], None],
    ) -> None:
        self._me = introduction
        self.history = history
        self._promises = promises
        self._send = send
        self._stop_with = stop_with
        self.probation = Probation(promises, term)
        self.trust = Trust()
        self.roll = call_roll(introduction.node, history.current, ())
        self._linked: MemberList | None = None
        self._guests: dict[str, int] = {}
        """Who was let in for a newer list than this node's, with that list's index."""

    def join(self, engine: Engine, elector: Elector, guard: Guard, links: Links) -> None:
        """Give the parts that follow the list, and let them follow."""
        self._engine = engine
        self._elector = elector
        self._guard = guard
        self._links = links
        self._apply(self.roll)
        self.history.on_change = self.refresh

    # ------------------------------------------------------------ facts

    @property
    def current(self) -> MemberList:
        """The list in force."""
        return self.history.current

    @property
    def is_settled(self) -> bool:
        """Whether the list in force is committed, as far as this node knows."""
        return self.history.index <= self._engine.commit_index

    @property
    def is_member(self) -> bool:
        """Whether the list in force names this node."""
        return self._me.node in self.current.members

    def has_majority(self, members: MemberList, reachable: Mapping[str, bool]) -> bool:
        """Tell whether this node reaches a majority of a list's voters whose answers count."""
        roll = call_roll(self._me.node, members, self.trust.untrusted)
        return roll.decides([peer for peer, is_up in reachable.items() if is_up])

    # ------------------------------------------------------------ following the log

    def refresh(self) -> None:
        """Count by the list in force and by who is trusted, from now on."""
        roll = call_roll(self._me.node, self.current, self.trust.untrusted)
        if roll != self.roll:
            self._apply(roll)

    def _apply(self, roll: Roll) -> None:
        self.roll = self._elector.roll = self._guard.roll = roll
        self._engine.log.sync_each = roll.is_alone and roll.is_voter
        self._engine.set_roll(roll)

    def follow(self) -> bool:
        """Let the links follow, from the pump; tell whether the list in force changed."""
        index, committed = self.history.at(self._engine.commit_index)
        if committed is self.current and committed is self._linked and not self._guests:
            return False  # As nearly always; what follows is not for every turn of the loop.
        linked = committed
        if committed is not self.current:
            linked = MemberList({**committed.members, **self.current.members})
        if self._guests:
            self._part_with_guests(index, linked)
        before, self._linked = self._linked, linked
        if linked == before:
            return False
        for peer in before.members if before is not None else ():
            if peer not in linked.members and self._promises.cluster_id is not None:
                self._send(peer, NotMember(self._promises.cluster_id, self.history.index))
        self._links.set_peers(
            {
                peer: self._addresses(peer, member.address)
                for peer, member in linked.members.items()
                if peer != self._me.node
            }
        )
        _log.info("members_changed", extra={"members": ", ".join(sorted(linked.members))})
        return True

    def _part_with_guests(self, index: int, linked: MemberList) -> None:
        """Tell guests whose list has been overtaken, and who are not in it, that they were removed.

        One that has meanwhile brought or learned a newer list still is welcome when it comes again.
        """
        overtaken = [guest for guest, claimed in self._guests.items() if claimed < index]
        for guest in overtaken:
            del self._guests[guest]
            if guest not in linked.members and self._promises.cluster_id is not None:
                self._send(guest, NotMember(self._promises.cluster_id, index))
                self._links.end(guest)

    def _addresses(self, peer: str, address: str) -> list[Address]:
        """Return where to try to reach a peer: by the list, and by this node's configuration,
        which alone is right when every node has moved."""
        configured = self._me.addresses.get(peer, "")
        return [parse_address(each) for each in dict.fromkeys((address, configured)) if each]

    # ------------------------------------------------------------ Gate

    def introduce(self, peer: str) -> PeerHello:
        """Return this node's hello for a peer."""
        return PeerHello(
            PEER_PROTOCOL_VERSION,
            self._me.node,
            peer,
            self._promises.cluster_id,
            self._me.boot_id,
            dict(self._me.facts),
            self.history.index,
            self.probation.memory,
        )

    def refuse(self, hello: PeerHello) -> Refusal | None:
        """Refuse nodes of another cluster, and nodes that are no members.

        A sender that goes by a newer list is let in though this node's list lacks it: it may be the
        leader that will bring the newer list.
        """
        ours, sender = self._promises.cluster_id, hello.sender
        if hello.cluster_id is not None and ours is not None and hello.cluster_id != ours:
            return Refusal(
                f"{sender} belongs to cluster {hello.cluster_id}, this node to {ours}: one of them "
                "has a data folder of another cluster"
            )
        if self._links_to(sender):
            return None
        if hello.cluster_id is not None and hello.members_index > self.history.index:
            return None
        farewell = None
        committed = self.history.at(self._engine.commit_index)
        if ours is not None and hello.cluster_id is not None and sender not in committed[1].members:
            farewell = NotMember(ours, committed[0])
        return Refusal(
            f"{sender} is no member; the members are {', '.join(self.current.members)}: add it "
            "with `raftq cluster add`, or check the cluster setting of both",
            farewell,
        )

    def _links_to(self, peer: str) -> bool:
        linked = self._linked or self.current
        return peer in linked.members or peer in self.current.members

    def meet(self, peer: str, hello: PeerHello) -> None:
        """Learn from a hello who may have forgotten something: the peer, or this node."""
        self.probation.meet(hello.cluster_id)
        if not self._links_to(peer):
            self._guests[peer] = hello.members_index
            if len(self._guests) > limits.MEMBERS_MAX:  # More are no members of anything.
                del self._guests[next(iter(self._guests))]
        cluster_id, last_index = self._promises.cluster_id, self._engine.log.last_index
        self.trust.meet(peer, hello.memory, cluster_id, last_index)
        if hello.memory is Memory.LOST:
            _log.warning("peer_on_probation", extra={"peer": peer})
        if self._promises.votes_after_term and not self._promises.is_on_probation:
            # Our hello may have left before the end, and the end was told when there was no link.
            self._send(peer, ProbationEnded())
        self.refresh()

    def on_message(self, peer: str, message: MembershipMessage) -> None:
        """Handle what a peer says of membership."""
        match message:
            case NotMember():
                self._on_not_member(peer, message)
            case ProbationProven(term=term):
                if term == self._engine.term and self._engine.leader == peer:
                    self.probation.end(term)
                    for each in self._links.reachable():
                        self._send(each, ProbationEnded())
            case ProbationEnded():
                self.trust.trust(peer)
                self.refresh()

    def _on_not_member(self, peer: str, message: NotMember) -> None:
        """Stop if this node was removed; a node that waits to be added goes on waiting."""
        is_ours = message.cluster_id == self._promises.cluster_id
        if is_ours and message.members_index > self.history.index:
            self._stop_with(
                RemovedFromCluster(
                    f"{self._me.node} was removed from the cluster, says {peer}: to use it again, "
                    f"add it with `raftq cluster add {self._me.node} HOST:PORT` and start it"
                )
            )

    # ------------------------------------------------------------ leading

    def on_leadership(self) -> None:
        """Begin to lead."""
        self.trust.on_leadership(self._engine.log.last_index)

    def end_probations(self) -> None:
        """Tell who has caught up that it may vote again; to be called by a leader's timer."""
        for peer in self.trust.untrusted:
            matched = self._guard.matched.get(peer, 0)
            if self.trust.proven(peer, self._engine.read_index, matched):
                self._send(peer, ProbationProven(self._engine.term))

    def needs_entry(self) -> bool:
        """Tell whether an entry should be proposed so that somebody's probation can end."""
        reachable = self._links.reachable()
        return any(
            reachable.get(peer) for peer in self.trust.untrusted
        ) and self.trust.waits_for_entry(self._engine.log.last_index)
