"""Scenarios made for one rule each: what random faults meet too rarely, and what a run must not do.

Here, unlike in `fault_trials.py`, the faults are arranged, and each trial may demand something of
its own, like that an untroubled leader stays.
"""

import asyncio
from pathlib import Path
from typing import Final

from raftq.protocol.errors import StorageError
from raftq.testing.memory_files import Keep
from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.node import SimNode

_LOYAL: Final = ("reader1", "reader2", "reader3", "worker1", "worker2")
"""Clients that stay with a leader that is cut off."""


async def the_leader(cluster: SimCluster, seconds: float = 5.0) -> SimNode | None:
    """Return the node that leads, once one does."""
    deadline = cluster.world.now + seconds
    while cluster.world.now < deadline:
        leading = [n for n in cluster.nodes if n.replica is not None and n.replica.is_leader]
        if leading:
            return max(leading, key=_term)
        await asyncio.sleep(0.01)
    return None


def _term(node: SimNode) -> int:
    return node.replica.parts.engine.term if node.replica is not None else 0


def separate(cluster: SimCluster, ours: list[SimNode], theirs: list[SimNode]) -> None:
    """Let nothing pass between two sides."""
    for first in ours:
        for second in theirs:
            cluster.network.block(first.name, second.name)
            cluster.network.block(second.name, first.name)


def others(cluster: SimCluster, node: SimNode) -> list[SimNode]:
    """Return all nodes but one, in random order."""
    rest = [each for each in cluster.nodes if each is not node]
    cluster.random.shuffle(rest)
    return rest


async def rejoin(cluster: SimCluster) -> None:
    """A follower that was out of reach comes back, or hears nothing while it can speak: the leader
    that the majority follows stays."""
    await asyncio.sleep(1.0)
    for _ in range(3):
        leader = await the_leader(cluster)
        if leader is None:
            return
        term, follower = _term(leader), others(cluster, leader)[0]
        way = cluster.random.choice(("out of reach", "deaf", "deaf to the leader"))
        cluster.world.note(f"{follower.name} is {way}")
        for other in others(cluster, follower):
            if way != "deaf to the leader" or other is leader:
                cluster.network.block(other.name, follower.name)
            if way == "out of reach":
                cluster.network.block(follower.name, other.name)
        await asyncio.sleep(cluster.random.uniform(1.0, 2.5))
        cluster.network.heal()
        await asyncio.sleep(1.0)
        replica = leader.replica
        stays = replica is not None and replica.is_leader and _term(leader) == term
        cluster.expect(stays, "disturbed", f"{leader.name} lost term {term} to {follower.name}")


async def deposed(cluster: SimCluster) -> None:
    """A leader is cut off from the others, not from its clients: it steps down, and until then it
    answers nothing that is not true any more."""
    await asyncio.sleep(1.0)
    for _ in range(3):
        leader = await the_leader(cluster)
        if leader is None:
            return
        term = _term(leader)
        cluster.world.note(f"{leader.name} is cut off")
        separate(cluster, [leader], others(cluster, leader))
        if cluster.random.random() < 0.7:
            for other in others(cluster, leader):  # They know at once, the leader does not.
                cluster.network.give_up(other.name, leader.name)
        for client in cluster.clients:
            if client.name not in _LOYAL:
                cluster.network.break_connections(client.name, leader.name)
                cluster.network.block(client.name, leader.name)
        await asyncio.sleep(1.6)
        believes = leader.replica is not None and leader.replica.is_leader
        cluster.expect(
            not (believes and _term(leader) == term),
            "stubborn",
            f"{leader.name} still leads term {term} 1.6 s after it lost its majority",
        )
        cluster.network.heal()
        await asyncio.sleep(1.0)


async def steady(cluster: SimCluster) -> None:
    """Workers that extend in time keep their leases while leaders are killed or stand still."""
    await asyncio.sleep(1.5)
    end = cluster.world.now + cluster.plan.seconds
    while cluster.world.now < end:
        leader = await the_leader(cluster)
        if leader is not None and leader.process is not None:
            if cluster.random.random() < 0.5:
                leader.kill()
                await asyncio.sleep(0.5)
                leader.start()
            else:
                cluster.world.note(f"{leader.name} is frozen")
                leader.process.pause()
                await asyncio.sleep(1.2)
                leader.process.resume()
        await asyncio.sleep(3.0)


async def short_freezes(cluster: SimCluster) -> None:
    """The leader stands still, too short for an election: the time that it missed ages no lease
    whose extension waits at its door."""
    await asyncio.sleep(3.2)
    for _ in range(5):
        leader = await the_leader(cluster)
        if leader is not None and leader.process is not None:
            leader.process.pause()
            await asyncio.sleep(cluster.random.uniform(0.36, 0.4))
            leader.process.resume()
        await asyncio.sleep(0.7)


async def takeovers(cluster: SimCluster) -> None:
    """Leaders die while disks are slow, so that the next one leads long before it has committed
    anything: until then it may not answer reads."""
    await asyncio.sleep(0.8)
    for _ in range(4):
        for node in cluster.nodes:
            node.disk.slowness = 100.0
        await asyncio.sleep(cluster.random.uniform(0.3, 0.8))
        leader = await the_leader(cluster)
        if leader is None:
            return
        for client in cluster.random.sample(cluster.clients, 4):
            client.kill()  # Its calls are under way, and their answers find nobody.
            client.start(cluster.plan.load.call_timeout)
            await asyncio.sleep(0.06)
        leader.kill()
        await asyncio.sleep(0.6)
        leader.start()
        await asyncio.sleep(0.5)


async def no_majority(cluster: SimCluster) -> None:
    """No node reaches another for longer than calls last: what was under way may have happened."""
    await asyncio.sleep(0.8)
    for _ in range(3):
        leader = await the_leader(cluster)
        for client in cluster.clients[::2]:
            if leader is not None:  # These reach the leader only through another node.
                cluster.network.block(client.name, leader.name)
                cluster.network.break_connections(client.name, leader.name)
        for node in cluster.nodes:
            node.disk.slowness = cluster.random.choice((1.0, 60.0))
        await asyncio.sleep(1.5)
        leader = await the_leader(cluster)
        if leader is not None:  # Entries reach the others, and their acks do not come back.
            for other in others(cluster, leader):
                cluster.network.block(other.name, leader.name)
            await asyncio.sleep(cluster.random.uniform(0.02, 0.1))
        breaks = cluster.random.random() < 0.6
        for node in cluster.nodes:
            for other in others(cluster, node):
                if breaks:
                    cluster.network.break_connections(node.name, other.name)
            separate(cluster, [node], others(cluster, node))
        await asyncio.sleep(cluster.random.uniform(2.2, 2.8))
        for node in cluster.nodes:
            node.disk.slowness = 1.0
        cluster.network.heal()
        await asyncio.sleep(cluster.random.uniform(1.0, 1.5))


async def left_behind(cluster: SimCluster) -> None:
    """A candidate raises its term and is cut off before anybody votes; the leader goes on in the
    older term, and must learn of the newer one to have the candidate back."""
    await asyncio.sleep(1.0)
    for _ in range(3):
        leader = await the_leader(cluster)
        if leader is None:
            return
        term, rest = _term(leader), others(cluster, leader)
        separate(cluster, [leader], rest)
        deadline = cluster.world.now + 0.8
        ahead: list[SimNode] = []
        while not ahead and cluster.world.now < deadline:
            await asyncio.sleep(0.0002)
            ahead = [node for node in rest if _term(node) > term]
        cluster.network.heal()
        for node in ahead[:1]:
            cluster.world.note(f"{node.name} is left alone in term {_term(node)}")
            separate(cluster, [node], others(cluster, node))
        await asyncio.sleep(1.0)
        cluster.network.heal()
        await asyncio.sleep(1.0)


async def failed_sync(cluster: SimCluster) -> None:
    """A sync fails, and a little later the power goes: what was not synced is acknowledged by
    nobody, and no node goes on as if it had been."""
    await asyncio.sleep(0.8)
    for _ in range(4):
        node = cluster.random.choice(cluster.nodes)
        cluster.world.note(f"{node.name} a sync fails")
        node.disk.syncs_to_fail = 1
        await asyncio.sleep(cluster.random.uniform(0.02, 0.4))
        node.disk.syncs_to_fail = 0
        node.lose_power(cluster.random.choice((Keep.NOTHING, Keep.EVERYTHING)))
        await asyncio.sleep(0.2)
        node.start()
        await asyncio.sleep(cluster.random.uniform(0.3, 0.8))


async def rot_in_the_majority(cluster: SimCluster) -> None:
    """The newest entries are on a leader and on a follower whose disk rots; the leader goes away.
    The follower must not take the damage for the torn end of a write, and lead without them."""
    await asyncio.sleep(1.0)
    for _ in range(2):
        leader = await the_leader(cluster)
        if leader is None:
            return
        await settled(cluster)
        rotten, *absent = others(cluster, leader)
        separate(cluster, absent, [leader, rotten])
        await asyncio.sleep(cluster.random.uniform(0.3, 0.6))
        for node in absent:  # Nothing that was sent to them arrives any more.
            for other in (leader, rotten):
                cluster.network.break_connections(node.name, other.name)
                cluster.network.give_up(node.name, other.name)
        leader.kill()
        if rotten.is_up:
            rotten.lose_power(Keep.EVERYTHING)
        rot_newest(cluster, rotten)
        cluster.network.heal()
        rotten.start()
        await asyncio.sleep(1.5)
        leader.start()
        if isinstance(rotten.failure, StorageError):
            await asyncio.sleep(2.0)
            rotten.wipe()
            rotten.start()
        await caught_up(cluster, rotten)
        await asyncio.sleep(0.5)


async def usurpers(cluster: SimCluster) -> None:
    """A voter loses power right after it voted, and is asked by another candidate of that term."""
    await asyncio.sleep(1.0)
    for _ in range(3):
        leader = await the_leader(cluster)
        if leader is None:
            return
        rival, *rest = others(cluster, leader)
        # The rival hears of nothing; the others elect one of theirs in the next term.
        separate(cluster, [rival], [leader, *rest])
        leader.kill()
        leader.start()
        voters = {node.name: _term(node) for node in (leader, *rest)}
        deadline = cluster.world.now + 4.0
        winner: SimNode | None = None
        while winner is None and cluster.world.now < deadline:
            await asyncio.sleep(0.001)
            for node in (leader, *rest):
                if node.replica is not None and node.replica.parts.engine.is_leader:
                    winner = node if _term(node) > voters[node.name] or winner else winner
        if winner is not None:
            cluster.world.note(f"{winner.name} has won; its voters lose power")
            for node in (leader, *rest):
                if node is not winner:
                    node.lose_power(Keep.NOTHING)
                    node.start()
            cluster.network.heal()
            separate(cluster, [winner], others(cluster, winner))
            await asyncio.sleep(2.0)
        cluster.network.heal()
        await asyncio.sleep(1.0)


async def lagging_power(cluster: SimCluster) -> None:
    """Followers that need snapshots lose power while they get them, then everybody does."""
    await asyncio.sleep(0.8)
    end = cluster.world.now + cluster.plan.seconds
    while cluster.world.now < end:
        leader = await the_leader(cluster)
        if leader is None:
            return
        node = others(cluster, leader)[0]
        separate(cluster, [node], others(cluster, node))
        await asyncio.sleep(cluster.random.uniform(0.5, 1.2))
        cluster.network.heal()
        await asyncio.sleep(cluster.random.uniform(0.0, 0.4))
        victims = [node] if cluster.random.random() < 0.6 else list(cluster.nodes)
        for victim in victims:
            victim.lose_power(cluster.random.choice((Keep.NOTHING, cluster.random)))
        await asyncio.sleep(cluster.random.uniform(0.05, 0.3))
        for victim in victims:
            victim.start()
        await asyncio.sleep(cluster.random.uniform(0.2, 0.8))


async def divergence(cluster: SimCluster) -> None:
    """A leader goes on alone, with its clients; then it comes back with a long wrong tail, and is
    sent entries, or a snapshot, by another one."""
    await asyncio.sleep(0.8)
    for _ in range(3):
        leader = await the_leader(cluster)
        if leader is None:
            return
        cluster.world.note(f"{leader.name} goes on alone")
        rest = others(cluster, leader)
        separate(cluster, [leader], rest)
        await asyncio.sleep(cluster.random.uniform(0.2, 0.7))
        leader.kill()
        if cluster.random.random() < 0.5:
            await asyncio.sleep(cluster.random.uniform(0.2, 1.5))
        leader.start()
        second = await the_leader(cluster)
        if second is not None and second is not leader and cluster.random.random() < 0.7:
            # The next leader begins to offer entries from its own end, far beyond the wrong tail.
            await asyncio.sleep(cluster.random.uniform(0.2, 0.6))
            second.kill()
            second.start()
        await asyncio.sleep(cluster.random.uniform(0.7, 1.2))
        cluster.network.heal()
        await asyncio.sleep(cluster.random.uniform(0.3, 0.8))


async def bit_rot(cluster: SimCluster) -> None:
    """A bit that was synced changes while a node is down: the node notices and stays down, until
    the operator gives it an empty disk; or the bit did not matter."""
    await asyncio.sleep(1.2)
    for _ in range(3):
        leader = await the_leader(cluster)
        if leader is None:
            return
        node = others(cluster, leader)[0]
        await settled(cluster)
        node.lose_power(Keep.EVERYTHING)
        flip(cluster, node)
        node.start()
        await asyncio.sleep(0.8)
        if isinstance(node.failure, StorageError):
            node.wipe()
            node.start()
        await caught_up(cluster, node)
        await asyncio.sleep(0.3)


async def settled(cluster: SimCluster) -> None:
    """Wait until every node is nearly level with the leader."""
    for _ in range(50):
        indexes = [n.replica.parts.engine.applied_index for n in cluster.nodes if n.replica]
        if len(indexes) == len(cluster.nodes) and max(indexes) - min(indexes) < 10:
            return
        await asyncio.sleep(0.05)


async def caught_up(cluster: SimCluster, node: SimNode) -> None:
    """Wait until a node says that it is ready."""
    deadline = cluster.world.now + 20.0
    while cluster.world.now < deadline:
        await asyncio.sleep(0.1)
        if node.replica is not None and node.replica.view().not_ready_reason is None:
            return


def flip(cluster: SimCluster, node: SimNode) -> None:
    """Change a bit of a file of a node."""
    files = node.disk.files
    folders = [(node.path, 1), (node.path / "journal", 4), (node.path / "snapshots", 4)]
    paths = [folder / name for folder, weight in folders for name in files.names(folder) * weight]
    path = cluster.random.choice([path for path in paths if files.read(path)])
    _flip(cluster, node, path, 0)


def rot_newest(cluster: SimCluster, node: SimNode) -> None:
    """Change a bit in the second half of a node's newest segment."""
    folder = node.path / "journal"
    newest = folder / node.disk.files.names(folder)[-1]
    _flip(cluster, node, newest, len(node.disk.files.read(newest)) // 2)


def _flip(cluster: SimCluster, node: SimNode, path: Path, start: int) -> None:
    bit = cluster.random.randrange(8 * start, 8 * len(node.disk.files.read(path)))
    cluster.world.note(f"{node.name} bit {bit} of {path} rots")
    node.disk.rot(path, bit)
