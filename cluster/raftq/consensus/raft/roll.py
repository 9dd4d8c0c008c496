"""Who counts, as one node sees it: the member list, less those who forgot what they promised."""

from collections.abc import Collection
from dataclasses import dataclass

from raftq.consensus.raft.members import MemberList


@dataclass(frozen=True, slots=True)
class Roll:
    """Whose votes and acknowledgements count.

    Args:
        is_voter: Whether this node votes.
        voters: How many voters there are, this one included if it is one.
        counted: Ids of the other voters whose answers count.
        absent: Ids of the other voters whose answers do not count; they still make the majority
            greater.
        others: Ids of all other members: who is sent the log.
    """

    is_voter: bool
    voters: int
    counted: tuple[str, ...]
    absent: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def majority(self) -> int:
        """How many voters decide."""
        return self.voters // 2 + 1

    @property
    def is_alone(self) -> bool:
        """Whether this node is the only voter, so that nobody's answer is waited for."""
        return not self.counted and not self.absent

    def decides(self, agreeing: Collection[str]) -> bool:
        """Tell whether some other nodes and this one are a majority."""
        return sum(peer in agreeing for peer in self.counted) + self.is_voter >= self.majority


def fixed_roll(peers: Collection[str]) -> Roll:
    """Return the roll of a voter among voters who all count."""
    return Roll(True, len(peers) + 1, tuple(peers), (), tuple(peers))


def call_roll(node: str, members: MemberList, untrusted: Collection[str]) -> Roll:
    """Return who counts for a node.

    Args:
        node: This node.
        members: The list in force.
        untrusted: Who forgot what they promised.
    """
    voters = members.voters
    return Roll(
        is_voter=node in voters,
        voters=len(voters),
        counted=tuple(v for v in voters if v != node and v not in untrusted),
        absent=tuple(v for v in voters if v != node and v in untrusted),
        others=tuple(sorted(each for each in members.members if each != node)),
    )
