"""Disks that lose power, are slow, fail and fill up."""

from typing import Final

from raftq.protocol import limits
from raftq.testing.chaos.arena import Arena
from raftq.testing.chaos.faults.fault import Fault, Need
from raftq.testing.chaos.nodes import ChaosNode
from raftq.testing.chaos.shim import Sync

_SHIM: Final = frozenset({Need.SHIM})
_DISKS: Final = frozenset({Need.DISKS})


def _some_node(arena: Arena, round_number: int) -> ChaosNode:
    return arena.leader() if round_number % 2 == 0 else arena.followers()[0]


def power_cut(arena: Arena, round_number: int) -> None:
    """Cut the power of one node."""
    node = _some_node(arena, round_number)
    arena.note(f"{node.id} loses power")
    node.power_off()
    arena.hold(arena.random.uniform(0.5, 2.0))
    node.power_on()


def power_cut_all(arena: Arena, _round: int) -> None:
    """Cut the power of every node at the same moment, as far as that goes."""
    arena.note("everybody loses power")
    for node in arena.nodes:
        node.pause()
    for node in arena.nodes:
        node.power_off()
    arena.hold(arena.random.uniform(0.0, 0.5))
    for node in arena.nodes:
        node.power_on()


def slow_syncs(arena: Arena, round_number: int) -> None:
    """Let each sync take half a second: on the leader, on a follower, on a majority."""
    leader, *followers = arena.leader(), *arena.followers()
    victims = ([leader], followers[:1], [leader, followers[0]])[round_number % 3]
    arena.note(f"syncs are slow on {', '.join(node.id for node in victims)}")
    for node in victims:
        assert node.shim is not None
        node.shim.slow_syncs(0.5)
    arena.hold(5.0)


def failing_syncs(arena: Arena, round_number: int) -> None:
    """Let syncs fail on one node, which must stop; what it had not synced is lost if it has a disk
    of its own."""
    node = _some_node(arena, round_number)
    assert node.shim is not None
    arena.note(f"syncs fail on {node.id}")
    arena.may_end.add(node.id)
    node.shim.set_sync(Sync.FAILS)
    ended = arena.wait_for(lambda: not node.is_running, 5.0)
    arena.note(f"{node.id} has ended: {ended}")
    arena.expect(ended, "went-on", f"{node.id} goes on after a failed sync")
    node.shim.heal()
    if node.disk is not None:
        node.power_off()
        node.power_on()
    else:
        node.start()
    arena.hold(1.0)


def _fill(arena: Arena, victims: list[ChaosNode], round_number: int) -> None:
    """Leave less than the reserve, then nothing; in every third round nothing at once, so that
    writes are on their way when the disk is full."""
    names = ", ".join(node.id for node in victims)
    arena.may_end.update(node.id for node in victims)
    if round_number % 3 != 2:
        _leave(victims, limits.DISK_RESERVE_BYTES // 2)
        arena.note(f"less than the reserve is left on {names}")
        arena.hold(3.0)
    _leave(victims, 0)
    arena.note(f"nothing is left on {names}")
    arena.wait_for(lambda: any(not node.is_running for node in victims), 3.0)
    arena.hold(1.5)


def _leave(victims: list[ChaosNode], left_bytes: int) -> None:
    for node in victims:
        assert node.disk is not None
        node.disk.fill(left_bytes)


def disk_full(arena: Arena, round_number: int) -> None:
    """Fill the disk of one node, in two steps."""
    _fill(arena, [_some_node(arena, round_number)], round_number)


def disk_full_majority(arena: Arena, round_number: int) -> None:
    """The same with two of three nodes."""
    leader, *followers = arena.leader(), *arena.followers()
    victims = followers if round_number % 2 else [leader, followers[0]]
    _fill(arena, victims, round_number)


FAULTS: Final = (
    Fault("power-cut", "one node loses power, and all unsynced writes", power_cut, _DISKS),
    Fault("power-cut-all", "every node loses power at once", power_cut_all, _DISKS),
    Fault("slow-fsync", "each fsync takes 500 ms more", slow_syncs, _SHIM),
    Fault("failing-fsync", "fsync fails on one node, and loses the writes", failing_syncs, _SHIM),
    Fault("disk-full", "the disk of one node fills up", disk_full, _DISKS),
    Fault(
        "disk-full-majority", "the disks of two of three nodes fill up", disk_full_majority, _DISKS
    ),
)
