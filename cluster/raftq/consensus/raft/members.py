"""The member list: who belongs to the cluster, where, and who votes.

A list is a value; each change makes a new one, and a log entry of its own kind carries the whole of
it. A *learner* gets the log and counts in no majority; a *voter* counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from raftq.protocol.errors import StorageError

ENTRY_MEMBERS: Final = 17
"""The command type of a log entry that holds a member list."""
_FORMAT: Final = 1


class Member(msgspec.Struct, array_like=True, frozen=True):
    """One member: where its peers reach it, as `host:port`, and whether it votes."""

    address: str
    is_voter: bool


class _Stored(msgspec.Struct, array_like=True, frozen=True):
    """A list as it is written; `index` is that of its log entry, 0 for one that has none."""

    format: int
    index: int
    members: dict[str, Member]


@dataclass(frozen=True, slots=True)
class MemberList:
    """Who belongs to the cluster, by id."""

    members: Mapping[str, Member]

    @classmethod
    def of_voters(cls, addresses: Mapping[str, str]) -> "MemberList":
        """Return a list of voters."""
        return cls({node: Member(address, True) for node, address in addresses.items()})

    @property
    def voters(self) -> tuple[str, ...]:
        """Ids of the voters, sorted."""
        return tuple(sorted(node for node, each in self.members.items() if each.is_voter))

    @property
    def learners(self) -> tuple[str, ...]:
        """Ids of the learners, sorted."""
        return tuple(sorted(node for node, each in self.members.items() if not each.is_voter))

    def with_member(self, node: str, member: Member) -> "MemberList":
        """Return the list with one member added or replaced."""
        return MemberList({**self.members, node: member})

    def without(self, node: str) -> "MemberList":
        """Return the list without one member."""
        return MemberList({id_: each for id_, each in self.members.items() if id_ != node})

    def entry(self) -> bytes:
        """Return the log entry that puts this list in force, without its type."""
        return encode_list(0, self)


def encode_list(index: int, members: MemberList) -> bytes:
    """Return a list with the index of its log entry as bytes."""
    in_order = dict(sorted(members.members.items()))
    return msgspec.msgpack.encode(_Stored(_FORMAT, index, in_order))


def decode_list(data: bytes) -> tuple[int, MemberList]:
    """Return (index, list) of what `encode_list` made.

    Raises:
        StorageError: A newer version wrote it, or it is damaged: going on without knowing the
            members could elect two leaders.
    """
    try:
        stored = msgspec.msgpack.decode(data, type=_Stored)
    except msgspec.MsgspecError as error:
        raise StorageError(f"a member list in the log is unreadable: {error}") from None
    if stored.format != _FORMAT:
        raise StorageError(
            f"a member list in the log has format {stored.format}, this version knows {_FORMAT}; "
            "upgrade this node"
        )
    return stored.index, MemberList(stored.members)
