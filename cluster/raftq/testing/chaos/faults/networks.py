"""Networks that are cut, one-way, flapping, slow and lossy."""

from typing import Final

from raftq.testing.chaos.arena import Arena
from raftq.testing.chaos.faults.fault import Fault, Need
from raftq.testing.chaos.network import CUT, Network
from raftq.testing.chaos.switch import Way

_NETWORK: Final = frozenset({Need.NETWORK})


def _network(arena: Arena) -> Network:
    assert arena.network is not None
    return arena.network


def partition_leader(arena: Arena, _round: int) -> None:
    """Cut the leader, and the clients beside it, off from the rest."""
    leader, rest = arena.leader().id, [node.id for node in arena.followers()]
    arena.note(f"{leader} is cut off")
    _network(arena).separate([leader], rest)
    arena.hold(arena.random.uniform(4.0, 7.0))


def one_way(arena: Arena, round_number: int) -> None:
    """Let the leader hear nobody, be heard by nobody, or one follower hear nobody."""
    network, leader = _network(arena), arena.leader().id
    for other in (node.id for node in arena.followers()):
        if round_number % 3 == 0:
            network.set_way(other, leader, CUT)
        elif round_number % 3 == 1:
            network.set_way(leader, other, CUT)
        else:
            network.set_way(leader, other, CUT)
            break
    arena.note(f"one way of {leader} is cut, variant {round_number % 3}")
    arena.hold(arena.random.uniform(4.0, 6.0))


def split(arena: Arena, _round: int) -> None:
    """Cut every node off from every other: nobody may write."""
    arena.note("every node is alone")
    _network(arena).separate(*([node.id] for node in arena.nodes))
    arena.hold(arena.random.uniform(3.0, 5.0))


def flapping(arena: Arena, round_number: int) -> None:
    """Cut a node off and back, again and again."""
    node = arena.leader() if round_number % 2 == 0 else arena.followers()[0]
    rest = [other.id for other in arena.nodes if other is not node]
    arena.note(f"the link of {node.id} flaps")
    for _ in range(8):
        _network(arena).separate([node.id], rest)
        arena.hold(arena.random.uniform(0.1, 0.9))
        _network(arena).heal()
        arena.hold(arena.random.uniform(0.1, 0.7))


def slow(arena: Arena, _round: int) -> None:
    """Delay and reorder every packet, up to 120 ms one way."""
    arena.note("the network is slow")
    _network(arena).impair(Way(delay_ms=20, jitter_ms=100, doubled=0.02))
    arena.hold(6.0)


def lossy(arena: Arena, _round: int) -> None:
    """Lose every tenth packet, and let TCP make stalls of it."""
    arena.note("the network is lossy")
    _network(arena).impair(Way(loss=0.1, delay_ms=1, jitter_ms=5))
    arena.hold(6.0)


def cut_loose(arena: Arena, _round: int) -> None:
    """Let one pair of nodes not see each other, both seeing the third."""
    first, second = arena.leader(), arena.followers()[0]
    arena.note(f"{first.id} and {second.id} do not see each other")
    _network(arena).separate([first.id], [second.id])
    arena.hold(arena.random.uniform(4.0, 6.0))


FAULTS: Final = (
    Fault("partition-leader", "the leader is cut off from the rest", partition_leader, _NETWORK),
    Fault("partition-pair", "leader and one follower cut off from each other", cut_loose, _NETWORK),
    Fault("partition-one-way", "packets pass in one direction only", one_way, _NETWORK),
    Fault("split", "every node is cut off from every other", split, _NETWORK),
    Fault("flapping-link", "a node is cut off and back, eight times", flapping, _NETWORK),
    Fault("slow-network", "20 to 120 ms one way, reordered, 2 % doubled", slow, _NETWORK),
    Fault("lossy-network", "10 % of all packets lost", lossy, _NETWORK),
)
