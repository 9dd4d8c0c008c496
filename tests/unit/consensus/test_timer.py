"""When a replica looks at what time brings: often while it works, seldom at rest."""

import pytest

from raftq.consensus.timer import BUSY_SECONDS, RESTING_SECONDS, Timer
from raftq.testing.sim.loop import Clock, new_process
from raftq.testing.sim.network import HostNetwork, SimNetwork
from raftq.testing.sim.world import World


class Replica:
    """Looks, remembers when, and plans as it is told."""

    def __init__(self) -> None:
        self.world = World("timer")
        network = SimNetwork(self.world)
        self.loop = new_process(
            self.world, "n1", Clock(self.world, "n1", 0.0), HostNetwork(network, "n1")
        )
        network.hosts_up.add("n1")
        self.timer = Timer(self.loop, self._look)
        self.looks: list[float] = []
        self.due_seconds: float | None = None

    def _look(self) -> None:
        self.looks.append(self.world.now)
        self.timer.plan(self.due_seconds)

    def looked_after(self) -> float:
        """Return how long it takes to the next look."""
        began, seen = self.world.now, len(self.looks)
        self.world.run(began + 1.0)
        return self.looks[seen] - began


@pytest.fixture
def replica() -> Replica:
    return Replica()


def test_while_something_is_under_way_looks_are_frequent(replica: Replica) -> None:
    replica.timer.plan(None)
    replica.world.run(1.01 * 10 * BUSY_SECONDS)
    assert len(replica.looks) == 10


@pytest.mark.parametrize(
    ("due_seconds", "expected"),
    [
        (0.05, 0.05),
        (0.003, 0.003),
        (7.0, RESTING_SECONDS),
        (float("inf"), RESTING_SECONDS),
        (0.0, BUSY_SECONDS),
        (-3.0, BUSY_SECONDS),
    ],
)
def test_at_rest_the_next_look_is_when_something_falls_due(
    replica: Replica, due_seconds: float, expected: float
) -> None:
    replica.timer.plan(due_seconds)
    assert replica.looked_after() == pytest.approx(expected, abs=1e-3)


def test_what_begins_during_a_rest_brings_the_look_forward(replica: Replica) -> None:
    replica.timer.plan(7.0)
    assert replica.timer.is_open
    replica.timer.plan(None)
    assert not replica.timer.is_open
    assert replica.looked_after() == pytest.approx(BUSY_SECONDS, abs=1e-3)


def test_a_planned_look_is_never_put_off(replica: Replica) -> None:
    replica.timer.plan(0.05)
    replica.timer.plan(0.09)
    replica.due_seconds = 0.06
    assert replica.looked_after() == pytest.approx(0.05, abs=1e-3)
    assert replica.looks[1] - replica.looks[0] == pytest.approx(0.06, abs=1e-3)


def test_a_cancelled_timer_looks_no_more(replica: Replica) -> None:
    replica.timer.plan(0.05)
    replica.timer.cancel()
    replica.world.run(1.0)
    assert replica.looks == []
