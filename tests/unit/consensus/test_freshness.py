"""What a node knows about how far behind it may be."""

from raftq.consensus.freshness import Freshness


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.freshness = Freshness(lambda: self.now)

    def look(self, messages: int, commit_index: int, applied_index: int) -> int | None:
        self.freshness.look(
            leads=False, messages=messages, commit_index=commit_index, applied_index=applied_index
        )
        return self.freshness.lag_ms


def test_a_node_that_heard_no_leader_knows_nothing() -> None:
    bench = Bench()
    assert bench.look(0, 0, 7) is None


def test_lag_counts_from_the_message_whose_commit_index_is_applied() -> None:
    bench = Bench()
    assert bench.look(1, 10, 10) == 0
    bench.now += 2.0
    assert bench.look(1, 10, 10) == 2_000, "silence makes it grow"
    assert bench.look(2, 10, 10) == 0


def test_lag_grows_while_a_told_commit_index_is_not_applied() -> None:
    bench = Bench()
    bench.look(1, 10, 10)
    bench.now += 1.0
    assert bench.look(2, 20, 15) == 1_000
    bench.now += 1.0
    assert bench.look(2, 20, 19) == 2_000
    bench.now += 1.0
    assert bench.look(2, 20, 20) == 2_000, "it was told two seconds ago"


def test_a_leader_was_up_to_date_until_it_lost_leadership() -> None:
    bench = Bench()
    bench.freshness.look(leads=True, messages=0, commit_index=0, applied_index=3)
    bench.now += 0.5
    assert bench.look(0, 0, 3) == 500
