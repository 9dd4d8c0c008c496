"""Which list is in force, who counts by it, and when a forgetful node may vote again."""

import pytest

from raftq.consensus.raft.member_history import MemberHistory
from raftq.consensus.raft.members import (
    ENTRY_MEMBERS,
    Member,
    MemberList,
    decode_list,
    encode_list,
)
from raftq.consensus.raft.probation import Memory, Probation, Trust
from raftq.consensus.raft.roll import call_roll
from raftq.protocol.errors import StorageError

THREE = MemberList.of_voters({"n1": "a:1", "n2": "b:1", "n3": "c:1"})
FOUR = THREE.with_member("n4", Member("d:1", True))
LEARNING = THREE.with_member("n4", Member("d:1", False))


def entry(members: MemberList) -> bytes:
    return bytes([ENTRY_MEMBERS]) + members.entry()


class Disk:
    """What is written down."""

    def __init__(self) -> None:
        self.cluster_id: str | None = None
        self.is_on_probation = False
        self.votes_after_term = 0

    def begin_probation(self) -> None:
        self.is_on_probation = True

    def end_probation(self, term: int) -> None:
        self.is_on_probation, self.votes_after_term = False, term


def test_a_list_is_in_force_from_the_moment_it_is_in_the_log() -> None:
    history = MemberHistory(THREE)
    history.added(7, entry(FOUR))
    assert history.current == FOUR and history.index == 7
    assert history.at(6) == (0, THREE)


def test_a_list_that_is_cut_off_is_in_force_no_more() -> None:
    history = MemberHistory(THREE)
    history.added(7, entry(LEARNING))
    history.added(9, entry(FOUR))
    history.cut_from(8)
    assert history.current == LEARNING
    history.cut_from(7)
    assert history.current == THREE


def test_a_list_outlives_its_entry_when_the_log_is_cut_behind_a_snapshot() -> None:
    history = MemberHistory(THREE)
    history.added(7, entry(FOUR))
    history.dropped_before(20)
    assert history.at(20) == (7, FOUR) and decode_list(history.stored_at(20)) == (7, FOUR)


def test_a_received_snapshot_brings_its_list_once_its_entries_are_there() -> None:
    history, told = MemberHistory(THREE), list[MemberList]()
    history.on_change = lambda: told.append(history.current)
    history.loaded(encode_list(40, FOUR))
    history.cleared()
    assert not told, "PySyncObj cannot look at an empty log"
    history.added(50, b"\x01")
    assert told == [FOUR] and history.index == 40


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", encode_list(1, THREE).replace(b"\x93\x01", b"\x93\x02")]
)
def test_a_list_that_cannot_be_read_stops_the_node(data: bytes) -> None:
    with pytest.raises(StorageError):
        decode_list(data)


def test_a_learner_counts_nowhere_and_is_sent_the_log() -> None:
    roll = call_roll("n1", LEARNING, ())
    assert roll.counted == ("n2", "n3") and roll.others == ("n2", "n3", "n4")
    assert roll.majority == 2 and not roll.decides(["n4"]) and roll.decides(["n3"])
    assert not call_roll("n4", LEARNING, ()).is_voter


def test_a_voter_on_probation_counts_in_the_majority_s_size_and_not_in_it() -> None:
    roll = call_roll("n1", THREE, ["n2"])
    assert roll.majority == 2 and roll.absent == ("n2",)
    assert not roll.decides(["n2"]) and roll.decides(["n3"])
    assert not call_roll("n1", MemberList.of_voters({"n1": "", "n2": ""}), ["n2"]).is_alone


def test_an_empty_node_that_meets_a_cluster_may_not_vote_until_its_probation_ended() -> None:
    disk = Disk()
    probation = Probation(disk, lambda: 0)
    probation.meet("c1")
    assert probation.memory is Memory.LOST
    assert not probation.may_vote(99) and not probation.may_campaign
    probation.end(5)
    assert probation.may_campaign and probation.may_vote(6)
    assert not probation.may_vote(5), "it may have voted in that term in its former life"


def test_where_no_cluster_exists_yet_everybody_votes() -> None:
    probation = Probation(Disk(), lambda: 0)
    probation.meet(None)
    assert probation.memory is Memory.FRESH and probation.may_vote(1)


def test_a_node_that_took_part_in_founding_is_not_on_probation() -> None:
    probation = Probation(Disk(), lambda: 1)
    probation.meet("c1")
    assert probation.memory is Memory.KEPT and probation.may_vote(2)


def test_only_an_entry_from_after_the_contact_ends_a_probation() -> None:
    trust = Trust()
    trust.meet("n2", Memory.LOST, "c1", last_index=10)
    assert trust.untrusted == ("n2",) and trust.waits_for_entry(10)
    assert not trust.proven("n2", 10, 10), "it was there before"
    assert not trust.proven("n2", None, 11), "no entry of this term is committed"
    assert not trust.proven("n2", 12, 10), "it does not hold the entry"
    assert trust.proven("n2", 11, 11)
    trust.on_leadership(20)
    assert not trust.proven("n2", 11, 11), "a new leader begins anew"
    trust.trust("n2")
    assert not trust.untrusted


def test_a_probation_ends_under_load_too() -> None:
    trust = Trust()
    trust.meet("n2", Memory.LOST, "c1", last_index=10)
    assert trust.proven("n2", 900, 850), "a distant node is always some entries behind"


def test_a_fresh_node_is_trusted_only_while_the_cluster_is_being_founded() -> None:
    trust = Trust()
    trust.meet("n2", Memory.FRESH, None, 1)
    assert not trust.untrusted
    trust.meet("n2", Memory.FRESH, "c1", 1)
    assert trust.untrusted == ("n2",)
    trust.meet("n2", Memory.KEPT, "c1", 1)
    assert not trust.untrusted
