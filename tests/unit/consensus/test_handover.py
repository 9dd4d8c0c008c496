"""Leadership transfer against a scripted leader."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from raftq.consensus.handover import hand_over


@dataclass
class ScriptedLeader:
    """A leader whose followers behave as told; its clock is the loop's."""

    matched: Mapping[str, int]
    log_index: int = 10
    is_idle: bool = True
    reaches_majority: bool = True
    asked: list[str] = field(default_factory=list[str])
    obeys: bool = True

    def proposals_are_idle(self) -> bool:
        return self.is_idle

    def follows_another(self) -> bool:
        return self.obeys and bool(self.asked)

    def followers_matched(self) -> Mapping[str, int]:
        return self.matched

    def last_index(self) -> int:
        return self.log_index

    def has_quorum(self) -> bool:
        return self.reaches_majority

    def ask_to_lead(self, peer: str) -> bool:
        self.asked.append(peer)
        return True

    def now(self) -> float:
        return asyncio.get_running_loop().time()


async def transfer(leader: ScriptedLeader, seconds: float) -> float:
    """Return how long the handover took."""
    begun = leader.now()
    await hand_over(leader, begun + seconds)
    return leader.now() - begun


def test_the_follower_that_is_furthest_along_is_asked() -> None:
    leader = ScriptedLeader({"n1": 9, "n2": 10})
    assert asyncio.run(transfer(leader, 5)) < 5
    assert leader.asked == ["n2"]


def test_nobody_is_asked_while_proposals_are_in_flight_or_entries_are_missing() -> None:
    busy = ScriptedLeader({"n1": 10}, is_idle=False)
    behind = ScriptedLeader({"n1": 9})
    assert asyncio.run(transfer(busy, 0.05)) >= 0.05
    assert asyncio.run(transfer(behind, 0.05)) >= 0.05
    assert busy.asked == behind.asked == []


def test_a_follower_that_does_not_take_over_is_asked_again() -> None:
    leader = ScriptedLeader({"n1": 10}, obeys=False)
    asyncio.run(transfer(leader, 0.4))
    assert leader.asked == ["n1", "n1"]


def test_a_handover_without_a_majority_is_given_up_long_before_the_deadline() -> None:
    leader = ScriptedLeader({}, reaches_majority=False)
    assert asyncio.run(transfer(leader, 60)) < 10
