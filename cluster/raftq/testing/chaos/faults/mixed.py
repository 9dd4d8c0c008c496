"""Several faults at once, chosen by chance."""

from collections.abc import Callable
from typing import Final

from raftq.testing.chaos.arena import Arena, Plan
from raftq.testing.chaos.faults import disks, networks, processes
from raftq.testing.chaos.faults.fault import Fault, Need
from raftq.testing.chaos.network import Network
from raftq.testing.chaos.switch import Way


def mixed(arena: Arena, round_number: int) -> None:
    """On a lossy, slow network: kills, cuts, freezes and power cuts of a minority, one after the
    other, each before the cluster has got over the last."""
    network = _network(arena)
    acts: list[Callable[[], None]] = [
        lambda: _kill_one(arena),
        lambda: disks.power_cut(arena, arena.random.randrange(2)),
        lambda: _freeze_one(arena),
        lambda: _cut_one(arena),
    ]
    arena.random.shuffle(acts)
    for act in acts:
        network.impair(Way(loss=0.02, delay_ms=1, jitter_ms=15))
        act()
        arena.hold(arena.random.uniform(0.2, 1.2))


def all_at_once(arena: Arena, round_number: int) -> None:
    """Cut the leader off, then cut the power of everybody: the cut-off leader comes back with a
    tail of its own."""
    networks.partition_leader(arena, round_number)
    disks.power_cut_all(arena, round_number)
    arena.hold(1.0)
    processes.kill_leader(arena, round_number)


def _network(arena: Arena) -> Network:
    assert arena.network is not None
    return arena.network


def _kill_one(arena: Arena) -> None:
    node = arena.random.choice(arena.nodes)
    arena.note(f"{node.id} is killed")
    node.kill_at_once()
    arena.hold(arena.random.uniform(0.0, 0.8))
    node.start()


def _freeze_one(arena: Arena) -> None:
    node = arena.random.choice(arena.nodes)
    arena.note(f"{node.id} is frozen")
    node.pause()
    arena.hold(arena.random.uniform(0.5, 2.0))
    node.resume()


def _cut_one(arena: Arena) -> None:
    node = arena.random.choice(arena.nodes)
    arena.note(f"{node.id} is cut off")
    _network(arena).separate([node.id], [other.id for other in arena.nodes if other is not node])
    arena.hold(arena.random.uniform(0.5, 2.5))
    _network(arena).heal()


_EVERYTHING: Final = frozenset({Need.NETWORK, Need.DISKS})
FAULTS: Final = (
    Fault("mixed", "kills, cuts, freezes, power cuts on a bad network", mixed, _EVERYTHING),
    Fault(
        "cut-then-power",
        "the leader is cut off, then all lose power, then the leader dies",
        all_at_once,
        _EVERYTHING,
        Plan(snapshot_entries=200),
    ),
)
