"""Processes that are killed, frozen and restarted."""

import signal
from pathlib import Path
from typing import Final

from raftq.testing.chaos.arena import Arena, Plan
from raftq.testing.chaos.faults.fault import Fault, Need
from raftq.testing.chaos.nodes import STOP_SECONDS, ChaosNode


def _kill(arena: Arena, victims: list[ChaosNode], *, seconds: float) -> None:
    arena.note(f"killing {', '.join(node.id for node in victims)}")
    for node in victims:
        node.kill_at_once()
    arena.hold(seconds)
    for node in victims:
        node.start()


def kill_leader(arena: Arena, _round: int) -> None:
    """Kill the leader, twice: the second time the one that was elected."""
    for _ in range(2):
        _kill(arena, [arena.leader()], seconds=arena.random.uniform(0.3, 2.0))
        arena.hold(1.5)


def kill_follower(arena: Arena, _round: int) -> None:
    """Kill each follower in turn."""
    for node in arena.followers():
        _kill(arena, [node], seconds=arena.random.uniform(0.5, 1.5))
        arena.cluster.wait_ready()


def kill_majority(arena: Arena, round_number: int) -> None:
    """Kill a majority, with the leader in it or not."""
    followers = arena.followers()
    count = len(arena.nodes) // 2 + 1
    victims = followers[:count]
    if round_number % 2 == 0:
        victims = [arena.leader(), *followers][:count]
    _kill(arena, victims, seconds=arena.random.uniform(0.5, 2.0))


def kill_all(arena: Arena, _round: int) -> None:
    """Kill every node at once."""
    _kill(arena, list(arena.nodes), seconds=arena.random.uniform(0.0, 1.0))


def _freeze(arena: Arena, node: ChaosNode, round_number: int) -> None:
    seconds = (5.0, 12.0, 30.0)[round_number % 3]
    arena.note(f"freezing {node.id} for {seconds:g} s")
    node.pause()
    arena.hold(seconds)
    node.resume()


def freeze_leader(arena: Arena, round_number: int) -> None:
    """Stop the leader's process for seconds, then let it go on as if nothing had been."""
    _freeze(arena, arena.leader(), round_number)


def freeze_follower(arena: Arena, round_number: int) -> None:
    """The same with a follower."""
    _freeze(arena, arena.followers()[0], round_number)


def rolling_restart(arena: Arena, _round: int) -> None:
    """SIGTERM each node in turn, the leader among them, and start it again."""
    for node in arena.nodes:
        arena.note(f"restarting {node.id}")
        node.send(signal.SIGTERM)
        code = node.wait_end(STOP_SECONDS)
        arena.expect(code == 0, "unclean-stop", f"{node.id} ended with {code}")
        node.start()
        arena.cluster.wait_ready()


def empty_disk(arena: Arena, _round: int) -> None:
    """Kill a follower, empty its disk, start it again under the same id."""
    node = arena.followers()[0]
    arena.note(f"{node.id} loses its disk")
    node.kill_at_once()
    arena.hold(1.0)
    node.wipe()
    node.start()
    arena.cluster.wait_ready()


def kill_in_compaction(arena: Arena, round_number: int) -> None:
    """Kill a node while it writes a snapshot, alone or with the process that writes."""
    _kill_when(arena, "current.snapshot.new", arena.nodes, round_number, "writes a snapshot")


def kill_in_install(arena: Arena, round_number: int) -> None:
    """Kill a node while it receives a snapshot from the leader."""
    node = arena.followers()[0]
    arena.note(f"{node.id} stays away until it needs a snapshot")
    node.kill_at_once()
    snapshot = arena.leader().folder / "snapshots" / "current.snapshot"
    before = _identity(snapshot)
    written = arena.wait_for(lambda: _identity(snapshot) != before, _TRIES_SECONDS)
    arena.expect(written, "not-hit", f"no snapshot was written within {_TRIES_SECONDS:g} s")
    arena.hold(_CUT_SECONDS)
    node.start()
    _kill_when(arena, "current.snapshot.1.tmp", [node], round_number, "receives a snapshot")


def _identity(path: Path) -> int:
    """Return what changes when a file is replaced; 0 if there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


_CUT_SECONDS: Final = 3.0
"""After this the leader has cut its log behind a snapshot that it wrote."""
_TRIES_SECONDS: Final = 20.0


def _kill_when(
    arena: Arena, name: str, nodes: list[ChaosNode], round_number: int, what: str
) -> None:
    """Kill the first of the nodes in whose snapshot folder a file of this name shows up."""
    for node in nodes:
        assert node.shim is not None
        node.shim.slow_syncs(0.05)  # So that the file is there for long enough to be seen.
    found: list[ChaosNode] = []

    def shows_up() -> bool:
        found.extend(node for node in nodes if (node.folder / "snapshots" / name).exists())
        return bool(found)

    if not arena.wait_for(shows_up, _TRIES_SECONDS, poll=0.001):
        arena.expect(False, "not-hit", f"no node {what} within {_TRIES_SECONDS:g} s")
        return
    node = found[0]
    arena.hold(arena.random.uniform(0.0, 0.04))
    arena.note(f"{node.id} is killed while it {what}")
    if round_number % 2:
        node.kill_alone()
    else:
        node.kill_at_once()
    for other in nodes:
        assert other.shim is not None
        other.shim.heal()
    node.start()
    arena.hold(1.0)


_COMPACTING: Final = Plan(snapshot_entries=150)
FAULTS: Final = (
    Fault("kill-leader", "SIGKILL of the leader, twice", kill_leader),
    Fault("secured", "the same where all speak TLS", kill_leader, plan=Plan(is_secured=True)),
    Fault("kill-follower", "SIGKILL of each follower in turn", kill_follower),
    Fault("kill-majority", "SIGKILL of two of three nodes at once", kill_majority),
    Fault("kill-all", "SIGKILL of every node at once", kill_all),
    Fault("freeze-leader", "SIGSTOP of the leader for 5, 12 and 30 s", freeze_leader),
    Fault("freeze-follower", "SIGSTOP of a follower for 5, 12 and 30 s", freeze_follower),
    Fault("rolling-restart", "SIGTERM and start of each node in turn", rolling_restart),
    Fault("empty-disk", "a follower comes back with an empty disk", empty_disk),
    Fault(
        "kill-in-compaction",
        "SIGKILL of a node that writes a snapshot",
        kill_in_compaction,
        frozenset({Need.SHIM}),
        _COMPACTING,
    ),
    Fault(
        "kill-in-install",
        "SIGKILL of a node that receives a snapshot",
        kill_in_install,
        frozenset({Need.SHIM}),
        _COMPACTING,
    ),
)
