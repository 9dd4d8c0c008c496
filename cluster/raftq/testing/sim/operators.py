"""The operator of a simulated cluster: adds, removes, replaces and empties nodes, also at once.

An operator is as careless as the promises allow: asks again when an answer was lost, starts two
changes at once, lets removed nodes run, and changes members in the middle of every other fault. But
an empty disk or a dead node is dealt with before the next one: a majority keeps its disks.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from raftq.consensus.raft.probation import Memory
from raftq.consensus.replica import RaftReplica
from raftq.protocol.errors import Conflict, RaftqError, RemovedFromCluster
from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.loop import Process
from raftq.testing.sim.node import PEER_PORT, SimNode

Request = Callable[[RaftReplica, float], Awaitable[object]]
MEMBERS_MIN: Final = 3
MEMBERS_MAX: Final = 6
_TRY_SECONDS: Final = 1.5
SETTLE_SECONDS: Final = 20.0
"""Once faults have ended, the members are what the operator wants within this virtual time."""


class Operator:
    """Changes the members of one cluster.

    Args:
        cluster: The cluster; its `nodes` follow what is done.
    """

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster
        self._number = len(cluster.nodes)
        self._repairs = asyncio.Lock()
        self.retired: list[SimNode] = []
        """Nodes that were removed, and may still run."""

    # ------------------------------------------------------------ what can be done

    async def grow(self) -> SimNode | None:
        """Start another node and add it."""
        cluster = self._cluster
        if len(cluster.nodes) >= MEMBERS_MAX:
            return None
        self._number += 1
        node = cluster.new_node(f"n{self._number}")
        cluster.nodes.append(node)
        node.start()
        await self.add(node)
        return node

    async def add(self, node: SimNode) -> bool | None:
        """Add a node."""
        address = f"{node.name}:{PEER_PORT}"
        return await self.ask(
            f"add {node.name}", lambda replica, until: replica.add_member(node.name, address, until)
        )

    async def shrink(self) -> None:
        """Remove any node, perhaps the leader; it goes on running until it is told."""
        cluster = self._cluster
        if len(cluster.nodes) > MEMBERS_MIN:
            await self.retire(cluster.random.choice(cluster.nodes))

    async def retire(self, node: SimNode) -> None:
        """Remove a node, and forget it once the cluster has."""
        if node not in self._cluster.nodes:
            return  # Another change did it.
        self._cluster.nodes.remove(node)
        self.retired.append(node)
        if await self.remove(node) is False and node in self.retired:
            self.retired.remove(node)
            self._cluster.nodes.append(node)

    async def remove(self, node: SimNode) -> bool | None:
        """Remove a node."""
        return await self.ask(
            f"remove {node.name}", lambda replica, until: replica.remove_member(node.name, until)
        )

    async def transfer(self) -> None:
        """Hand leadership to any node, or to whom the leader likes."""
        chosen = self._cluster.random.choice([None, *(node.name for node in self._cluster.nodes)])
        await self.ask(
            f"transfer to {chosen}",
            lambda replica, until: replica.transfer_leadership(until, chosen),
        )

    async def empty_disk(self) -> None:
        """Replace the disk of a node by an empty one, and start it under the same id."""
        cluster = self._cluster
        async with self._repairs:
            node = cluster.random.choice(cluster.nodes)
            if len(cluster.nodes) < MEMBERS_MIN or not self._may_lose(node):
                return
            node.kill()
            node.wipe()
            node.is_joining = False
            node.start()
            await self._until(lambda: self._is_whole(node) or node not in cluster.nodes, 8.0)

    async def replace(self) -> None:
        """Let a node die for ever, add another one, and remove the dead one."""
        cluster = self._cluster
        async with self._repairs:
            dead = cluster.random.choice(cluster.nodes)
            if len(cluster.nodes) <= MEMBERS_MIN - 1 or not self._may_lose(dead):
                return
            dead.kill()
            await self.grow()
            await self.retire(dead)
            if dead in self.retired and cluster.random.random() < 0.5 and not dead.is_up:
                dead.start()  # Somebody switches it on again: it must hear that it is out.

    def _may_lose(self, node: SimNode) -> bool:
        """Tell whether a majority keeps its disks if this node's is lost now."""
        return all(self._is_whole(each) for each in self._cluster.nodes if each is not node)

    def _is_whole(self, node: SimNode) -> bool:
        """Tell whether a node votes and remembers what it promised."""
        if node.replica is None:
            return False
        membership = node.replica.parts.membership
        return membership.roll.is_voter and membership.probation.memory is Memory.KEPT

    # ------------------------------------------------------------ the end

    async def settle(self) -> None:
        """Demand that the members become what was asked for, and that who was removed stops."""
        cluster = self._cluster
        cluster.heal()
        for node in list(self.retired):
            if await self.remove(node) is False:
                cluster.expect(False, "not-settled", f"{node.name} cannot be removed")
        for node in cluster.nodes:
            if await self.add(node) is not True:
                cluster.expect(False, "not-settled", f"{node.name} cannot be added")
        wanted = {node.name for node in cluster.nodes}

        def is_settled() -> bool:
            lists = [each.replica.parts.membership for each in cluster.nodes if each.replica]
            return len(lists) == len(wanted) and all(
                set(each.current.voters) == wanted
                and each.is_settled
                and each.probation.memory is Memory.KEPT
                for each in lists
            )

        await self._until(is_settled, SETTLE_SECONDS)
        cluster.expect(is_settled(), "not-settled", f"the voters are not {sorted(wanted)}")
        await self._until(lambda: not any(map(self._is_met, self.retired)), SETTLE_SECONDS)
        for node in self.retired:
            text = f"members still talk to {node.name}, which was removed"
            cluster.expect(not self._is_met(node), "not-retired", text)
            node.kill()

    def _is_met(self, node: SimNode) -> bool:
        """Tell whether a removed node runs on although it meets members, who should have told it.

        One that was never told that it was added goes on waiting for that.
        """
        if node.replica is None or isinstance(node.failure, RemovedFromCluster):
            return False
        reachable = node.replica.parts.links.reachable()
        is_linked = any(reachable.get(each.name) for each in self._cluster.nodes)
        return is_linked or node.replica.parts.engine.is_leader

    # ------------------------------------------------------------ asking

    async def ask(self, what: str, request: Request, seconds: float = 10.0) -> bool | None:
        """Ask who leads, again and again; True when it is done, False when it was refused, None
        when nobody knows."""
        cluster = self._cluster
        deadline = cluster.world.now + seconds
        while cluster.world.now < deadline:
            leader = self._leader()
            if leader is None or leader.process is None or leader.replica is None:
                await asyncio.sleep(0.02)
                continue
            outcome = await self._ask_once(leader.process, leader.replica, request)
            if outcome is True:
                cluster.world.note(f"operator: {what}: done")
                return True
            if isinstance(outcome, Conflict):
                cluster.world.note(f"operator: {what}: {outcome.message}")
                return False
            await asyncio.sleep(0.05)
        cluster.world.note(f"operator: {what}: nobody knows")
        return None

    def _leader(self) -> SimNode | None:
        """Return who leads, in the newest term; it may be one that is being removed."""
        nodes = [*self._cluster.nodes, *self.retired]
        leading = [(n.replica.view().term, n.name, n) for n in nodes if n.replica is not None]
        leading = [each for each in leading if each[2].replica and each[2].replica.is_leader]
        return max(leading)[2] if leading else None

    async def _ask_once(
        self, process: Process, replica: RaftReplica, request: Request
    ) -> bool | RaftqError:
        outcome: list[bool | RaftqError] = []

        async def ask() -> None:
            try:
                await request(replica, process.time() + _TRY_SECONDS)
            except RaftqError as error:
                outcome.append(error)
            else:
                outcome.append(True)

        process.call_soon(lambda: process.create_task(ask(), name="operator"))
        await self._until(lambda: bool(outcome) or not process.is_alive, 2 * _TRY_SECONDS)
        return outcome[0] if outcome else False

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        deadline = self._cluster.world.now + seconds
        while not holds() and self._cluster.world.now < deadline:
            await asyncio.sleep(0.02)
