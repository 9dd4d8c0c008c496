"""Members are added, removed and replaced while the cluster works."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.support.replicas import Group, Member, free_ports, run_group, until

from raftq.consensus.raft.probation import Memory
from raftq.protocol.commands import Enqueue
from raftq.protocol.errors import Conflict, NotLeader, RaftqError, RemovedFromCluster
from raftq.protocol.options import NewTask

Change = Callable[[Member, float], Awaitable[None]]


def enqueue(number: int) -> Enqueue:
    return Enqueue("q", [NewTask(number.to_bytes(16, "big"), b"payload")])


async def change(group: Group, what: Change, seconds: float = 20.0) -> None:
    """Ask whoever leads, again and again, as a client would."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds
    while True:
        await until(lambda: any(r.is_leader for r in group.running), "a leader")
        try:
            return await what(leader_of(group), min(ends_at, loop.time() + 3))
        except Conflict:
            raise
        except RaftqError:
            if loop.time() >= ends_at:
                raise


async def grow(group: Group, node: str) -> Member:
    """Start a node that joins, add it, and wait until it votes."""
    group.ports[node] = free_ports(1)[0]
    member = group.members[node] = Member(group, node)
    await member.start(joins=True)
    await add(group, node)
    await until(lambda: votes(group, node), f"{node} votes", 30)
    return member


async def add(group: Group, node: str) -> None:
    address = f"127.0.0.1:{group.ports[node]}"
    await change(group, lambda leader, until_: leader.running.add_member(node, address, until_))


async def remove(group: Group, node: str) -> None:
    await change(group, lambda leader, until_: leader.running.remove_member(node, until_))


def votes(group: Group, node: str) -> bool:
    return all(node in replica.members.voters for replica in group.running)


async def stopped(member: Member) -> None:
    """Wait until a removed node has stopped, and clear it away."""
    error = await asyncio.wait_for(asyncio.shield(member.running.failed), 30)
    assert isinstance(error, RemovedFromCluster)
    await member.stop()


def test_three_nodes_grow_to_five_under_load_and_survive_two_failures(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        await group.leader()
        done: list[int] = []

        async def load() -> None:
            for number in range(1, 10_000):
                await group.propose(enqueue(number))
                done.append(number)

        running = asyncio.create_task(load())
        await grow(group, "n4")
        await grow(group, "n5")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert len(done) > 10
        for node in ("n1", "n2"):
            await group.members[node].stop()
        await group.propose(enqueue(20_000))
        await group.equal()
        ready = group.running[0].machine.queue("q").counts["ready"]
        assert ready in (len(done) + 1, len(done) + 2)  # The last one may have been in flight.

    run_group(tmp_path, body)


def test_a_dead_node_is_replaced_by_one_with_another_id(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        await group.propose(enqueue(1))
        await group.equal()
        dead = next(m for m in group.members.values() if m is not leader_of(group))
        await dead.stop()
        await remove(group, dead.node)
        await grow(group, "n4")
        await group.leader()
        assert all(len(replica.members.voters) == 3 for replica in group.running)
        await dead.start()
        await stopped(dead)

    run_group(tmp_path, body)


def leader_of(group: Group) -> Member:
    """Return who leads; of two who believe so, the newer one."""
    leading = [m for m in group.members.values() if m.replica and m.running.is_leader]
    return max(leading, key=lambda member: member.running.view().term)


def test_a_removed_leader_hands_over_and_stops(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        leader = await group.leader()
        with pytest.raises(NotLeader):
            await leader.running.remove_member(leader.node, asyncio.get_running_loop().time() + 5)
        await remove(group, leader.node)
        await stopped(leader)
        await group.propose(enqueue(1))
        assert leader.node not in group.running[0].members.members

    run_group(tmp_path, body)


def test_a_cluster_shrinks_to_one_node_and_grows_again(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        await group.propose(enqueue(1))
        await group.equal()  # A node that never knew the cluster's id cannot be told by it.
        for node in ("n2", "n3"):
            await remove(group, node)
            await stopped(group.members[node])
        assert group.members["n1"].running.members.voters == ("n1",)
        await group.propose(enqueue(2))
        await grow(group, "n4")
        await group.propose(enqueue(3))
        await group.equal()

    run_group(tmp_path, body)


def test_no_change_may_leave_the_leader_without_a_majority(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        leader = await group.leader()
        down, up = [m for m in group.members.values() if m is not leader]
        await down.stop()
        await until(lambda: not leader.running.view().reachable[down.node], "the link is gone")
        with pytest.raises(Conflict, match="no majority"):
            await remove(group, up.node)
        await remove(group, down.node)

    run_group(tmp_path, body)


def test_an_empty_folder_under_the_same_id_counts_again_once_it_has_caught_up(
    tmp_path: Path,
) -> None:
    async def body(group: Group) -> None:
        await group.propose(enqueue(1))
        await group.equal()
        member = next(m for m in group.members.values() if m is not leader_of(group))
        await member.stop()
        shutil.rmtree(member.folder)
        await member.start()
        membership = member.running.parts.membership
        await until(lambda: membership.probation.memory is Memory.LOST, "it knows that it forgot")
        await until(lambda: membership.probation.memory is Memory.KEPT, "its probation ended")
        assert not membership.probation.may_vote(0)
        await until(
            lambda: not any(r.parts.membership.trust.untrusted for r in group.running),
            "everybody trusts it",
        )
        await leader_of(group).stop()
        await group.propose(enqueue(2))

    run_group(tmp_path, body)


def test_members_that_restart_go_by_the_list_in_their_log(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        await grow(group, "n4")
        for member in group.members.values():
            await member.stop()
        del group.ports["n4"]  # The configuration still names three.
        for member in group.members.values():
            if member.node != "n4":
                await member.start()
        await group.leader()
        assert all(replica.members.voters == ("n1", "n2", "n3", "n4") for replica in group.running)

    run_group(tmp_path, body)
