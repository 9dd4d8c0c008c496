"""Each rule about nodes: the history that breaks it, and the nearest one that does not."""

from dataclasses import dataclass

import pytest

from raftq.core.machine import Machine
from raftq.protocol import codec
from raftq.protocol.commands import Enqueue, Entry
from raftq.protocol.options import NewTask
from raftq.protocol.versions import ENTRY_VERSION
from raftq.testing.checks import check_nodes
from raftq.testing.facts import (
    AppliedEntry,
    ClusterFacts,
    LeaderSeen,
    LogSeen,
    NodeEvent,
    NodeSeen,
    NodeStarted,
    SnapshotInstalled,
)


@dataclass(frozen=True)
class Case:
    rule: str
    broken: list[NodeEvent]
    correct: list[NodeEvent]


def _applied(
    node: str, index: int, term: int = 1, crc: int = 7, state: str = "s", node_term: int = 1
) -> AppliedEntry:
    return AppliedEntry(1.0, node, index, term, crc, state, node_term)


CASES = {
    "one leader per term": Case(
        "two-leaders",
        [LeaderSeen(1, "n1", 2), LeaderSeen(2, "n2", 2)],
        [LeaderSeen(1, "n1", 2), LeaderSeen(2, "n1", 2), LeaderSeen(3, "n2", 3)],
    ),
    "one leader per term, by its log": Case(
        "two-leaders",
        [LeaderSeen(1, "n1", 2), LogSeen(2, "n2", 1, [1], [1], 2)],
        [LeaderSeen(1, "n1", 2), LogSeen(2, "n2", 1, [1], [1], None)],
    ),
    "equal index and term, equal entry": Case(
        "log-matching",
        [LogSeen(1, "n1", 1, [1, 1], [5, 6]), LogSeen(1, "n2", 1, [1, 1], [5, 7])],
        [LogSeen(1, "n1", 1, [1, 1], [5, 6]), LogSeen(1, "n2", 1, [1, 2], [5, 7])],
    ),
    "equal index and term, equal entries before": Case(
        "log-matching",
        [LogSeen(1, "n1", 1, [1, 3], [5, 6]), LogSeen(1, "n2", 1, [2, 3], [4, 6])],
        [LogSeen(1, "n1", 1, [2, 3], [4, 6]), LogSeen(1, "n2", 2, [3], [6])],
    ),
    "a later leader has what was committed": Case(
        "leader-completeness",
        [_applied("n1", 2, node_term=2), LogSeen(2, "n2", 1, [1], [7], 3)],
        [_applied("n1", 2, node_term=2), LogSeen(2, "n2", 1, [1, 1], [7, 7], 3)],
    ),
    "a later leader has the committed entry, not another": Case(
        "leader-completeness",
        [_applied("n1", 1, node_term=2), LogSeen(2, "n2", 1, [2], [7], 3)],
        # It led an earlier term than that of the commit: it need not have it.
        [_applied("n1", 1, node_term=2), LogSeen(2, "n2", 1, [2], [7], 2)],
    ),
    "equal entries at equal indexes": Case(
        "applied-divergence",
        [_applied("n1", 1), _applied("n2", 1, crc=8)],
        [_applied("n1", 1), _applied("n2", 1), _applied("n2", 2, crc=8)],
    ),
    "equal entries across a restart": Case(
        "applied-divergence",
        [_applied("n1", 1), NodeStarted(2, "n1"), _applied("n1", 1, term=2)],
        [_applied("n1", 1), NodeStarted(2, "n1"), _applied("n1", 1)],
    ),
    "equal entries, whatever term the harness missed": Case(
        "applied-divergence",
        [_applied("n1", 1), _applied("n2", 1, term=0, crc=8)],
        [_applied("n1", 1), _applied("n2", 1, term=0)],
    ),
    "equal states at equal indexes": Case(
        "state-divergence",
        [_applied("n1", 1, state="s"), _applied("n2", 1, state="t")],
        [_applied("n1", 1, state="s"), _applied("n2", 2, state="t")],
    ),
    "a snapshot has the state of its index": Case(
        "state-divergence",
        [_applied("n1", 4, state="s"), SnapshotInstalled(1, "n2", 4, "t")],
        [_applied("n1", 4, state="s"), SnapshotInstalled(1, "n2", 4, "s")],
    ),
    "nothing is applied twice": Case(
        "applied-twice",
        [_applied("n1", 1), _applied("n1", 2), _applied("n1", 2)],
        [_applied("n1", 1), _applied("n1", 3), NodeStarted(2, "n1"), _applied("n1", 1)],
    ),
    "nothing that is in an installed snapshot is applied": Case(
        "applied-twice",
        [SnapshotInstalled(1, "n1", 5, "s"), _applied("n1", 5)],
        [SnapshotInstalled(1, "n1", 5, "s"), _applied("n1", 6)],
    ),
    "a snapshot does not move a node back": Case(
        "regress",
        [_applied("n1", 5), SnapshotInstalled(1, "n1", 4, "s")],
        [_applied("n1", 5), SnapshotInstalled(1, "n1", 6, "s")],
    ),
    "the commit index does not go back": Case(
        "regress",
        [NodeSeen(1, "n1", 1, 5, 5), NodeSeen(2, "n1", 1, 4, 5)],
        [NodeSeen(1, "n1", 1, 5, 5), NodeSeen(2, "n2", 1, 4, 4)],
    ),
    "the applied index does not go back": Case(
        "regress",
        [NodeSeen(1, "n1", 1, 5, 5), NodeSeen(2, "n1", 1, 5, 4)],
        [NodeSeen(1, "n1", 1, 5, 5), NodeStarted(2, "n1"), NodeSeen(3, "n1", 1, 0, 0)],
    ),
    "the term does not go back, not even by a restart": Case(
        "regress",
        [NodeSeen(1, "n1", 3, 5, 5), NodeStarted(2, "n1"), NodeSeen(3, "n1", 2, 5, 5)],
        [
            NodeSeen(1, "n1", 3, 5, 5),
            NodeStarted(2, "n1", is_wiped=True),
            NodeSeen(3, "n1", 2, 5, 5),
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rule_catches_its_violation_and_passes_the_nearest_correct_run(name: str) -> None:
    case = CASES[name]
    assert {each.rule for each in check_nodes(ClusterFacts(case.broken))} == {case.rule}
    assert check_nodes(ClusterFacts(case.correct)) == []


def _machine(payload: bytes) -> Machine:
    machine = Machine()
    enqueue = Enqueue("q", [NewTask(b"a" * 16, payload)])
    machine.apply(codec.encode(Entry(ENTRY_VERSION, 0, 1, [enqueue])))
    return machine


def test_final_states_at_equal_indexes_are_equal() -> None:
    facts = ClusterFacts()
    facts.keep_machine("n1", 3, _machine(b"x"))
    facts.keep_machine("n2", 3, _machine(b"x"))
    assert check_nodes(facts) == []
    facts.keep_machine("n2", 3, _machine(b"y"))
    assert [each.rule for each in check_nodes(facts)] == ["state-divergence"]
    facts.keep_machine("n2", 4, _machine(b"y"))
    assert check_nodes(facts) == []
