"""Changes of the member list, made by the leader: one at a time, learner first.

A change is proposed only when the one before is committed and an entry of the leader's own term is
committed, so that any majority of one list and any majority of the next share a voter. Source: Raft
dissertation 4.1, and the correction of 2015 (raft-dev, "bug in single-server membership changes").

A node is added as a learner, which counts nowhere; once it has caught up the leader makes it a
voter. The leader never removes itself: it hands leadership over, and its successor removes it.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from raftq.consensus.membership import Membership
from raftq.consensus.raft.members import Member, MemberList
from raftq.protocol import limits
from raftq.protocol.errors import CommitTimeout, Conflict, LeadershipLost, NoLeader, NotLeader

_POLL_SECONDS: Final = 0.005
_ENTRIES_BEHIND_MAX: Final = 64
"""A learner that lacks fewer committed entries than this is made a voter."""


class Leader(Protocol):
    """What a change needs of the replica that leads."""

    @property
    def is_leader(self) -> bool: ...
    def may_change_members(self) -> bool:
        """Whether this node leads, with an entry of its term and the list in force committed."""
        ...

    def not_leader(self) -> NotLeader: ...
    def reachable(self) -> Mapping[str, bool]: ...
    def lag(self, peer: str) -> int:
        """Return how many committed entries a peer is not known to have."""
        ...

    def propose_members(self, members: MemberList, done: Callable[[bool], None]) -> bool:
        """Append a list; False if that must wait for the disk."""
        ...

    async def transfer_leadership(self, deadline: float, to: str | None = None) -> bool: ...


class MemberChanges:
    """Adds, promotes and removes members.

    Args:
        node: This node.
        leader: The replica of this node.
        membership: The list in force.
    """

    def __init__(self, node: str, leader: Leader, membership: Membership) -> None:
        self._node = node
        self._leader = leader
        self._membership = membership
        self.is_busy = False
        """Whether a change is being proposed at somebody's request."""

    async def add(self, node: str, address: str, deadline: float) -> None:
        """Add a node as a learner, or give a member another address; again changes nothing.

        Raises:
            Conflict: There are too many members, or the address is another member's.
            NotLeader, NoLeader: Nothing happened.
            LeadershipLost, CommitTimeout: It may have happened; the same call again will tell.
        """

        def added(members: MemberList) -> MemberList | None:
            known = members.members.get(node)
            if known is not None and known.address == address:
                return None
            self._check_room(members, node, address)
            is_voter = known is not None and known.is_voter
            return members.with_member(node, Member(address, is_voter))

        await self._change(added, deadline)

    async def remove(self, node: str, deadline: float) -> None:
        """Remove a member; one that is none already is no error.

        Raises:
            Conflict: No voter, or no majority within reach, would be left.
            NotLeader, NoLeader: Nothing happened; another node leads now, if it is about itself.
            LeadershipLost, CommitTimeout: It may have happened; the same call again will tell.
        """

        def removed(members: MemberList) -> MemberList | None:
            if node not in members.members:
                return None
            fewer = members.without(node)
            if node != self._node:
                self._check_majority(node, fewer)
            elif not fewer.voters:
                raise Conflict(f"{node} is the only voter; a cluster needs one")
            return fewer

        if node == self._node and removed(self._membership.current) is not None:
            await self._leader.transfer_leadership(deadline)
            raise self._leader.not_leader()
        await self._change(removed, deadline)

    def promote(self) -> None:
        """Make a voter of a learner that has caught up; to be called by a timer."""
        if self.is_busy or not self._leader.may_change_members():
            return
        members = self._membership.current
        for learner in members.learners:
            is_up = self._leader.reachable().get(learner)
            is_trusted = learner not in self._membership.trust.untrusted
            if is_up and is_trusted and self._leader.lag(learner) < _ENTRIES_BEHIND_MAX:
                address = members.members[learner].address
                promoted = members.with_member(learner, Member(address, True))
                if self._membership.has_majority(promoted, self._leader.reachable()):
                    self._leader.propose_members(promoted, lambda _: None)
                    return

    # ------------------------------------------------------------ steps

    async def _change(
        self, change: Callable[[MemberList], MemberList | None], deadline: float
    ) -> None:
        """Wait for the change before to be committed, propose this one, and wait for it, too."""
        committed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def on_outcome(is_committed: bool) -> None:
            if not committed.done():
                committed.set_result(is_committed)

        await self._until(self._leader.may_change_members, deadline)
        self.is_busy = True
        try:
            while True:
                members = change(self._membership.current)
                if members is None or self._leader.propose_members(members, on_outcome):
                    break
                await asyncio.sleep(_POLL_SECONDS)
                await self._until(self._leader.may_change_members, deadline)
        finally:
            self.is_busy = False
        if members is not None:
            await self._outcome(committed, deadline)

    async def _until(self, holds: Callable[[], bool], deadline: float) -> None:
        while True:
            if not self._leader.is_leader:
                raise self._leader.not_leader()
            if asyncio.get_running_loop().time() >= deadline:
                raise NoLeader("another change of the members is not committed yet; try again")
            if holds():
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _outcome(self, committed: "asyncio.Future[bool]", deadline: float) -> None:
        while not committed.done():
            if not self._leader.is_leader:
                raise LeadershipLost("leadership was lost while the change was in flight")
            if asyncio.get_running_loop().time() >= deadline:
                raise CommitTimeout("the change was not committed before the deadline")
            await asyncio.sleep(_POLL_SECONDS)
        if not committed.result():
            raise self._leader.not_leader()

    def _check_room(self, members: MemberList, node: str, address: str) -> None:
        if node not in members.members and len(members.members) >= limits.MEMBERS_MAX:
            raise Conflict(
                f"the cluster has {len(members.members)} members, the limit is "
                f"{limits.MEMBERS_MAX}: remove one first",
                members_max=limits.MEMBERS_MAX,
            )
        for other, member in members.members.items():
            if other != node and member.address == address:
                raise Conflict(f"{address} is the address of {other}")

    def _check_majority(self, node: str, fewer: MemberList) -> None:
        if not self._membership.has_majority(fewer, self._leader.reachable()):
            raise Conflict(
                f"without {node}, the leader would reach no majority of the voters "
                f"{', '.join(fewer.voters)}: bring them back, or remove one that is down"
            )
