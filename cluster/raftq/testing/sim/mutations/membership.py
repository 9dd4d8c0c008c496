"""Mutations of membership changes and of probation."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, cast

from raftq.consensus import membership as membership_module
from raftq.consensus.member_changes import MemberChanges
from raftq.consensus.membership import Membership
from raftq.consensus.raft.engine import Engine
from raftq.consensus.raft.member_history import MemberHistory
from raftq.consensus.raft.members import MemberList
from raftq.consensus.raft.probation import Memory, Probation, Trust
from raftq.consensus.raft.roll import Roll, call_roll
from raftq.consensus.replica import RaftReplica
from raftq.testing.sim.mutations.mutation import Inside, Mutation
from raftq.testing.sim.patching import Patch, original


def _one_at_a_time() -> list[Patch]:
    def settled(self: Inside) -> bool:
        return True

    return [(Membership, "is_settled", property(settled))]


def _own_term_first() -> list[Patch]:
    def may_change(self: Inside) -> bool:
        return bool(self.parts.engine.is_leader and self.parts.membership.is_settled)

    def leads(self: Inside) -> bool:
        return bool(self.parts.engine.is_leader)

    return [
        (RaftReplica, "may_change_members", may_change),
        (RaftReplica, "is_leader", property(leads)),
    ]


def _learners_count() -> list[Patch]:
    def generous(node: str, members: MemberList, untrusted: Inside) -> Roll:
        roll = call_roll(node, members, untrusted)
        learners = tuple(each for each in members.learners if each != node)
        return replace(roll, counted=(*roll.counted, *learners))

    def never(self: Inside) -> None:
        """Leave learners what they are, so that they count for long."""

    return [(membership_module, "call_roll", generous), (MemberChanges, "promote", never)]


def _list_in_log() -> list[Patch]:
    tick = cast("Callable[[Inside], None]", original(Engine, "tick"))

    def newest(self: Inside) -> tuple[int, MemberList]:
        """Return what is committed, as far as this node knows."""
        known = getattr(self, "applied_index", 0)
        return cast("tuple[int, MemberList]", self.at(known))

    def tick_and_apply(self: Inside) -> None:
        tick(self)
        history = self.log.members
        if getattr(history, "applied_index", 0) != self.applied_index:
            history.applied_index = self.applied_index
            history.on_change()

    return [(MemberHistory, "_newest", newest), (Engine, "tick", tick_and_apply)]


def _probation() -> list[Patch]:
    def kept(self: Inside) -> Memory:
        return Memory.KEPT

    def trusted(self: Inside) -> tuple[str, ...]:
        return ()

    return [
        (Probation, "memory", property(kept)),
        (Probation, "may_campaign", property(lambda _: True)),
        (Trust, "untrusted", property(trusted)),
    ]


def _farewell() -> list[Patch]:
    def deaf(self: Inside, peer: str, message: object) -> None:
        """Go on."""

    def everybody(self: Inside, hello: object) -> None:
        return None

    def keep_guests(self: Inside, index: int, linked: object) -> None:
        """End no link."""

    return [
        (Membership, "_on_not_member", deaf),
        (Membership, "refuse", everybody),
        (Membership, "_part_with_guests", keep_guests),
    ]


MUTATIONS: Final[dict[str, Mutation]] = {
    "members-one-at-a-time": Mutation(
        "a change of the members does not wait for the one before", _one_at_a_time, ("hasty",), 5
    ),
    "members-own-term": Mutation(
        "a new leader changes the members before an entry of its term is committed",
        _own_term_first,
        ("membership",),
    ),
    "learners-count": Mutation(
        "a learner's answers count like a voter's", _learners_count, ("learners-word",)
    ),
    "list-in-log": Mutation(
        "a member list is in force when it is applied, not when it is in the log",
        _list_in_log,
        ("membership",),
    ),
    "probation": Mutation(
        "a node that comes back with an empty disk votes at once", _probation, ("forgetful",)
    ),
    "farewell": Mutation(
        "a removed node is not told, and is listened to", _farewell, ("membership",)
    ),
}
