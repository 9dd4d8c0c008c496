"""What a node says of its own past when it meets a peer."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

from raftq.consensus.membership import Introduction, Membership
from raftq.consensus.peers.links import Links
from raftq.consensus.peers.messages import (
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
from raftq.consensus.raft.members import ENTRY_MEMBERS, MemberList
from raftq.consensus.raft.probation import Memory

ADDRESSES = {"n1": "a:1", "n2": "b:1", "n3": "c:1"}
THREE = MemberList.of_voters(ADDRESSES)


class Disk:
    """What n3 has written down: it is on probation."""

    cluster_id = "c1"
    is_on_probation = True
    votes_after_term = 0

    def begin_probation(self) -> None:
        self.is_on_probation = True

    def end_probation(self, term: int) -> None:
        self.is_on_probation, self.votes_after_term = False, term


def entry(members: MemberList) -> bytes:
    """Return the log entry that puts a list in force."""
    return bytes([ENTRY_MEMBERS]) + members.entry()


def ignore(_what: object) -> None:
    """Be a PySyncObj that counts nobody, and links that follow nothing."""


def membership(
    sent: list[tuple[str, PeerMessage]], end: Callable[[str], None] = lambda _: None
) -> Membership:
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
        cast(Links, SimpleNamespace(reachable=lambda: {"n1": True}, end=end, set_peers=ignore)),
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


def test_a_guest_whose_list_was_overtaken_is_told_that_it_was_removed() -> None:
    sent: list[tuple[str, PeerMessage]] = []
    ended: list[str] = []
    of_n3 = membership(sent, ended.append)
    hello = PeerHello(1, "n4", "n3", "c1", "boot", {}, members_index=4)
    assert of_n3.refuse(hello) is None, "it may be the leader that brings the newer list"
    of_n3.meet("n4", hello)
    of_n3.follow()
    assert not sent and not ended
    of_n3.history.added(6, entry(THREE))
    of_n3.follow()
    assert (sent, ended) == ([("n4", NotMember("c1", 6))], ["n4"])


def test_a_guest_that_the_newer_list_names_stays() -> None:
    ended: list[str] = []
    of_n3 = membership([], ended.append)
    of_n3.meet("n4", PeerHello(1, "n4", "n3", "c1", "boot", {}, members_index=4))
    of_n3.history.added(6, entry(MemberList.of_voters({**ADDRESSES, "n4": "d:1"})))
    of_n3.follow()
    assert not ended
