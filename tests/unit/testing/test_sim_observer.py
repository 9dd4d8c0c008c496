"""The observer's own rules catch what no record of calls shows."""

from types import SimpleNamespace
from typing import cast

from raftq.consensus.leader_clock import GRACE_MS
from raftq.consensus.raft.engine import Engine
from raftq.consensus.raft.member_history import MemberHistory
from raftq.consensus.raft.members import Member, MemberList
from raftq.consensus.raft.probation import Memory
from raftq.storage.snapshots import SnapshotMeta
from raftq.testing.sim.node import ObservedReplica
from raftq.testing.sim.observer import RIGHT_CLOCKS_MS, NodeWatch, Observer
from raftq.testing.sim.world import WALL_AT_MS, World

THREE = MemberList.of_voters({"n1": "a:1", "n2": "b:1", "n3": "c:1"})


class FakeLog:
    """A log with an entry of term 1 at each index from 1 on.

    Args:
        terms: Of the entries.
        durable: The last index that the disk has.
        members: The newest list.
    """

    def __init__(self, terms: list[int], durable: int, members: MemberList) -> None:
        self.terms = terms
        self.first_index, self.last_index = 1, len(terms)
        self.journal = SimpleNamespace(durable_index=durable)
        self.members = MemberHistory(members)

    def term_at(self, index: int) -> int:
        return self.terms[index - 1]

    def entries_from(self, index: int) -> list[SimpleNamespace]:
        entries = [SimpleNamespace(index=i + 1, term=term) for i, term in enumerate(self.terms)]
        return entries[index - 1 :]


class Bench:
    """Nodes as an observer sees them; n1 leads term 2."""

    def __init__(self, members: MemberList = THREE, wall_error_ms: float = RIGHT_CLOCKS_MS) -> None:
        self.observer = Observer(World("observer"), wall_error_ms)
        self._members = members

    def node(
        self,
        name: str,
        terms: list[int],
        durable: int | None = None,
        memory: Memory = Memory.KEPT,
        commit: int = 0,
        is_alive: bool = True,
    ) -> ObservedReplica:
        """Add a node with a log, which is all on its disk if nothing else is said."""
        log = FakeLog(terms, len(terms) if durable is None else durable, self._members)
        engine = SimpleNamespace(is_leader=name == "n1", term=2, read_index=None)
        engine.commit_index = commit
        membership = SimpleNamespace(probation=SimpleNamespace(memory=memory))
        parts = SimpleNamespace(
            log=log, engine=engine, membership=membership, clock=SimpleNamespace()
        )
        replica = SimpleNamespace(config=SimpleNamespace(node=name), parts=parts)
        watch = SimpleNamespace(replica=replica, is_alive=is_alive)
        self.observer.watches[name] = cast(NodeWatch, watch)
        return cast(ObservedReplica, replica)

    def rules(self) -> list[str]:
        return [violation.rule for violation in self.observer.violations]


def test_an_entry_on_the_disks_of_a_majority_may_be_committed() -> None:
    bench = Bench()
    leader = bench.node("n1", [1, 1, 2])
    bench.node("n2", [1, 1, 2])
    bench.node("n3", [1])
    bench.observer.on_committed(leader, 3)
    assert not bench.rules()


def test_an_entry_that_a_majority_lacks_is_not_committed() -> None:
    bench = Bench()
    leader = bench.node("n1", [1, 1, 2])
    bench.node("n2", [1, 1, 1])
    bench.node("n3", [1])
    bench.observer.on_committed(leader, 3)
    assert bench.rules() == ["commit-quorum"]


def test_an_entry_that_a_disk_lacks_counts_for_nothing() -> None:
    bench = Bench()
    leader = bench.node("n1", [1, 1, 1, 2])
    bench.node("n2", [1, 1, 1, 2], durable=3)
    bench.node("n3", [1])
    bench.observer.on_committed(leader, 4)
    assert bench.rules() == ["commit-quorum"]


def test_who_came_back_with_an_empty_disk_may_have_had_it() -> None:
    bench = Bench()
    leader = bench.node("n1", [1, 1, 2])
    bench.node("n2", [], memory=Memory.LOST)
    bench.node("n3", [1])
    bench.observer.on_committed(leader, 3)
    assert not bench.rules()


def test_learners_are_no_majority() -> None:
    learners = {"n4": Member("d:1", False), "n5": Member("e:1", False)}
    bench = Bench(MemberList({**THREE.members, **learners}))
    leader = bench.node("n1", [1, 1, 2])
    for name, terms in {"n2": [1], "n3": [1], "n4": [1, 1, 2], "n5": [1, 1, 2]}.items():
        bench.node(name, terms)
    bench.observer.on_committed(leader, 3)
    assert bench.rules() == ["commit-quorum"]


def test_a_list_waits_for_an_entry_of_the_leaders_term() -> None:
    bench = Bench()
    engine = bench.node("n1", [1]).parts.engine
    bench.observer.on_list_proposed(engine)
    assert bench.rules() == ["hasty-list"]
    settled = Bench()
    committed = SimpleNamespace(is_leader=True, term=2, read_index=3)
    settled.observer.on_list_proposed(cast(Engine, committed))
    assert not settled.rules()


def test_what_the_leader_has_is_not_cut_off() -> None:
    bench = Bench()
    bench.node("n1", [1, 1, 2])
    follower = bench.node("n2", [1, 1, 1])
    bench.observer.on_cut(follower.parts.log, 2)
    assert not bench.rules(), "its third entry is another"
    bench.observer.on_cut(follower.parts.log, 1)
    assert bench.rules() == ["matching-cut"]


def test_wall_time_is_hardly_ahead_of_the_true_time() -> None:
    bench = Bench()
    bench.observer.on_time("n1", WALL_AT_MS + 50)
    assert not bench.rules()
    bench.observer.on_time("n1", WALL_AT_MS + 51)
    assert bench.rules() == ["time-ahead"]


def test_entries_are_hardly_stamped_with_a_time_that_was() -> None:
    bench = Bench()
    clock = bench.node("n1", [1, 2]).parts.clock
    bench.node("n2", [1, 2])
    bench.observer.on_stamp(clock, WALL_AT_MS - 50)
    assert not bench.rules()
    bench.observer.on_stamp(clock, WALL_AT_MS - 51)
    assert bench.rules() == ["time-behind"]


def test_who_does_not_know_yet_that_another_leads_may_stamp_what_it_likes() -> None:
    bench = Bench()
    clock = bench.node("n1", [1, 2]).parts.clock
    another = cast(SimpleNamespace, bench.node("n2", [1, 2]).parts.engine)
    another.is_leader, another.term = True, 3
    bench.observer.on_stamp(clock, WALL_AT_MS - 51)
    assert not bench.rules()


def test_nobody_leads_who_knows_fewer_clocks_than_a_majoritys() -> None:
    bench = Bench()
    bench.observer.on_clocks("n1", 2, 2)
    assert not bench.rules()
    bench.observer.on_clocks("n1", 1, 2)
    assert bench.rules() == ["unheard"]


def test_who_is_down_had_only_what_its_log_had() -> None:
    bench = Bench()
    leader = bench.node("n1", [1, 1, 2])
    bench.node("n2", [1, 1], is_alive=False)
    bench.node("n3", [1])
    bench.observer.on_committed(leader, 2)
    assert not bench.rules()
    bench.observer.on_committed(leader, 3)
    assert bench.rules() == ["commit-quorum"]


def test_wall_time_may_be_behind_where_a_clock_was_set_wrong() -> None:
    bench = Bench(wall_error_ms=2_500)
    bench.observer.on_stamp(bench.node("n1", [1]).parts.clock, WALL_AT_MS - 60_000)
    assert not bench.rules()


def test_a_machines_times_do_not_go_back() -> None:
    bench = Bench()
    bench.observer.on_time_back("n1", (5, 7), (5, 6))
    assert bench.rules() == ["time-back"]


def test_nobody_answers_as_a_leader_before_an_entry_of_its_term_is_committed() -> None:
    bench = Bench()
    leader = bench.node("n1", [1, 1, 2], commit=2)
    bench.observer.on_leading(leader)
    assert bench.rules() == ["early-leader"]
    settled = Bench()
    settled.observer.on_leading(settled.node("n1", [1, 1, 2], commit=3))
    assert not settled.rules()


def test_leases_do_not_age_in_the_first_moments_of_a_lead() -> None:
    bench = Bench()
    bench.observer.on_grace("n1", GRACE_MS, 40)
    bench.observer.on_grace("n1", GRACE_MS / 2, 0)
    assert not bench.rules()
    bench.observer.on_grace("n1", GRACE_MS / 2, 1)
    assert bench.rules() == ["no-grace"]


def test_no_snapshot_takes_the_place_of_a_newer_one() -> None:
    bench = Bench()
    older, newer = (SnapshotMeta(i, 1, i - 1, 1, b"", b"", "", [], None) for i in (5, 6))
    bench.observer.on_snapshot_named(older, newer)
    bench.observer.on_snapshot_named(None, older)
    assert not bench.rules()
    bench.observer.on_snapshot_named(newer, older)
    assert bench.rules() == ["older-snapshot"]
