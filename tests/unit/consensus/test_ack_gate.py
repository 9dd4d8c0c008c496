"""No ack before the disk."""

from pathlib import Path

import pytest

from raftq.consensus.peers.messages import NextIndex
from raftq.consensus.raft.ack_gate import AckGate
from raftq.storage.files import RealFiles
from raftq.storage.journal import Journal


class Bench:
    """A gate on a real journal, with what it let through."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.journal = Journal.open(RealFiles(), folder)
        self.sent: list[NextIndex] = []
        self.counted: list[NextIndex] = []
        self.gate = AckGate(
            self.journal,
            lambda _peer, ack: self.sent.append(ack),
            lambda _peer, ack: self.counted.append(ack),
        )

    def append(self, index: int) -> None:
        self.journal.append(index, 1, b"x")

    def sync(self, term: int = 1) -> None:
        job = self.journal.begin_sync()
        assert job is not None
        job.run()
        self.journal.finish_sync(job)
        self.gate.on_durable(term)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "journal")


def ack(next_index: int, term: int = 1) -> NextIndex:
    return NextIndex(term, next_index, success=True, reset=False)


def test_a_success_leaves_after_its_entries_are_durable(bench: Bench) -> None:
    bench.append(1)
    bench.gate.outgoing("n1", ack(2))
    assert bench.sent == []
    bench.sync()
    assert bench.sent == [ack(2)]


def test_a_refusal_leaves_at_once(bench: Bench) -> None:
    bench.append(1)
    refusal = NextIndex(1, 1, success=False, reset=True)
    bench.gate.outgoing("n1", refusal)
    assert bench.sent == [refusal]


def test_an_ack_waits_for_everything_written_before_it(bench: Bench) -> None:
    bench.append(1)
    job = bench.journal.begin_sync()
    assert job is not None
    bench.append(2)
    bench.gate.outgoing("n1", ack(3))
    job.run()
    bench.journal.finish_sync(job)
    bench.gate.on_durable(1)
    assert bench.sent == []
    bench.sync()
    assert bench.sent == [ack(3)]


def test_a_held_ack_of_an_older_term_is_never_sent(bench: Bench) -> None:
    bench.append(1)
    bench.gate.outgoing("n1", ack(2))
    bench.sync(term=2)
    assert bench.sent == []


def test_a_follower_is_not_counted_above_the_leader_s_own_disk(bench: Bench) -> None:
    bench.append(1)
    assert not bench.gate.incoming("n2", ack(2))
    assert bench.counted == []
    bench.sync()
    assert bench.counted == [ack(2)]


def test_a_parked_ack_of_an_older_term_is_not_counted(bench: Bench) -> None:
    bench.append(1)
    bench.gate.incoming("n2", ack(2))
    bench.sync(term=2)
    assert bench.counted == []


def test_acks_of_a_broken_connection_are_forgotten(bench: Bench) -> None:
    bench.append(1)
    bench.gate.incoming("n2", ack(2))
    bench.gate.outgoing("n2", ack(2))
    bench.gate.forget("n2")
    bench.sync()
    assert bench.counted == [] and bench.sent == []


def test_a_truncated_and_rewritten_index_is_not_durable_by_its_number(bench: Bench) -> None:
    bench.append(1)
    bench.append(2)
    bench.sync()
    bench.journal.truncate_after(1)
    bench.append(2)
    assert not bench.gate.incoming("n2", ack(3))
    bench.sync()
    assert bench.counted == [ack(3)]
