"""What a node says of its own past when it meets a peer."""

from types import SimpleNamespace
from typing import cast

from raftq.consensus.membership import Introduction, Membership
from raftq.consensus.peers.links import Links
from raftq.consensus.peers.messages import PeerHello, PeerMessage, ProbationEnded, ProbationProven
from raftq.consensus.raft.elector import Elector
from raftq.consensus.raft.engine import Engine
from raftq.consensus.raft.guard import Guard
from raftq.consensus.raft.member_history import MemberHistory
from raftq.consensus.raft.members import MemberList
from raftq.consensus.raft.probation import Memory
from raftq.consensus.raft.roll import Roll

THREE = MemberList.of_voters({"n1": "a:1", "n2": "b:1", "n3": "c:1"})


class Disk:
    """What n3 has written down: it is on probation."""

    cluster_id = "c1"
    is_on_probation = True
    votes_after_term = 0

    def begin_probation(self) -> None:
        self.is_on_probation = True

    def end_probation(self, term: int) -> None:
        self.is_on_probation, self.votes_after_term = False, term


def ignore(_roll: Roll) -> None:
    """Be a PySyncObj that counts nobody."""


def membership(sent: list[tuple[str, PeerMessage]]) -> Membership:
    """Return that of n3, which follows n1 in term 5 and has a link to n1 only."""

    def send(peer: str, message: PeerMessage) -> bool:
        sent.append((peer, message))
        return True

    def stop_with(error: BaseException) -> None:
        raise error

    introduction = Introduction("n3", "boot", {}, {})
    made = Membership(introduction, MemberHistory(THREE), Disk(), lambda: 5, send, stop_with)
    log = SimpleNamespace(last_index=9, sync_each=False)
    engine = SimpleNamespace(log=log, set_roll=ignore, commit_index=9, term=5, leader="n1")
    made.join(
        cast(Engine, engine),
        cast(Elector, SimpleNamespace()),
        cast(Guard, SimpleNamespace()),
        cast(Links, SimpleNamespace(reachable=lambda: {"n1": True})),
    )
    return made


def test_a_peer_that_was_met_while_the_probation_ended_hears_of_its_end() -> None:
    sent: list[tuple[str, PeerMessage]] = []
    of_n3 = membership(sent)
    said = of_n3.introduce("n2")
    of_n3.on_message("n1", ProbationProven(5))
    assert said.memory is Memory.LOST and sent == [("n1", ProbationEnded())]
    sent.clear()
    of_n3.meet("n2", PeerHello(1, "n2", "n3", "c1", "boot", {}))
    assert sent == [("n2", ProbationEnded())]


def test_a_node_on_probation_says_nothing_of_its_end() -> None:
    sent: list[tuple[str, PeerMessage]] = []
    membership(sent).meet("n2", PeerHello(1, "n2", "n3", "c1", "boot", {}))
    assert not sent
