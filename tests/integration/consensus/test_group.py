"""Three real members on loopback: elections, replication, restarts, snapshots."""

import asyncio
import shutil
from pathlib import Path

import pytest
from tests.support.asyncs import turns
from tests.support.machines import task_id
from tests.support.replicas import Group, Member, run_group, until

from raftq.consensus.replica import RaftReplica
from raftq.protocol import limits
from raftq.protocol.commands import Ack, AckItem, Enqueue, Lease
from raftq.protocol.errors import NotLeader, OutcomeUnknown, UnavailableError
from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask
from raftq.protocol.replies import CommandReply, Enqueued, Leased, Settled


def enqueue(number: int, count: int = 1, size: int = 32) -> Enqueue:
    tasks = [NewTask(task_id(number * 1_000 + each), b"p" * size) for each in range(count)]
    return Enqueue("q", tasks)


def follower_of(group: Group, leader: Member) -> Member:
    return next(member for member in group.members.values() if member is not leader)


def deadline(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def test_an_entry_is_applied_on_every_member(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        leader = await group.leader()
        reply = await leader.running.propose(enqueue(1), deadline())
        assert isinstance(reply, Enqueued) and reply.tasks[0].created
        await group.equal()
        assert all(r.machine.queue("q").counts["ready"] == 1 for r in group.running)

    run_group(tmp_path, body)


def test_commands_of_one_turn_share_an_entry_and_keep_their_order(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        leader = (await group.leader()).running
        await group.propose(enqueue(0))
        before = leader.view().applied_index
        await asyncio.gather(*(leader.propose(enqueue(n), deadline()) for n in range(1, 101)))
        assert leader.view().applied_index - before == 1
        reply = await leader.propose(Lease(["q"], 200, 1_000, "w", "r"), deadline())
        assert isinstance(reply, Leased)
        assert [task.task_id for task in reply.leases] == [task_id(n * 1_000) for n in range(101)]

    run_group(tmp_path, body)


def test_a_leader_that_applies_its_entries_turn_by_turn_goes_on_leading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "APPLY_BYTES_PER_TURN", 1)

    async def body(group: Group) -> None:
        member = await group.leader()
        leader = member.running
        await group.propose(enqueue(0))
        told = len(member.recorder.leaders)
        for number in range(1, 200, 4):
            replies: list[asyncio.Future[CommandReply]] = []
            for each in range(number, number + 4):
                replies.append(leader.propose(enqueue(each), deadline()))
                await turns(3)
            assert all(isinstance(each, Enqueued) for each in await asyncio.gather(*replies))
        assert len(member.recorder.leaders) == told, "it told that it led no more"

    run_group(tmp_path, body)


def test_a_follower_forwards_to_the_leader(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        leader = await group.leader()
        follower = follower_of(group, leader).running
        with pytest.raises(NotLeader):
            await follower.propose(enqueue(1), deadline())
        reply = await follower.forward(enqueue(1), deadline())
        assert isinstance(reply, Enqueued) and reply.tasks[0].created
        with pytest.raises(NotLeader):
            await leader.running.forward(enqueue(1), deadline())

    run_group(tmp_path, body)


def test_a_read_barrier_passes_on_the_leader_only(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        leader = await group.leader()
        await leader.running.read_barrier(deadline())
        follower = follower_of(group, leader).running
        with pytest.raises(NotLeader):
            await follower.read_barrier(deadline())

    run_group(tmp_path, body)


def test_without_a_majority_the_leader_steps_down_and_nothing_is_accepted(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        leader = await group.leader()
        for member in group.members.values():
            if member is not leader:
                await member.stop()
        with pytest.raises((OutcomeUnknown, UnavailableError)):
            await leader.running.propose(enqueue(1), deadline(3))
        await until(lambda: leader.running.view().leader is None, "the leader to step down", 2)
        assert leader.running.view().not_ready_reason == "no leader"
        with pytest.raises(NotLeader):
            await leader.running.read_barrier(deadline(1))

    run_group(tmp_path, body)


def test_a_new_leader_is_found_and_the_old_one_follows_it(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        old = await group.leader()
        await group.propose(enqueue(1))
        await old.stop()
        await group.propose(enqueue(2))
        new = await group.leader()
        assert new is not old
        await old.start()
        await group.leader()
        await group.equal()
        assert old.running.machine.queue("q").counts["ready"] == 2

    run_group(tmp_path, body)


def test_restarting_every_member_keeps_every_acknowledged_task(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        for number in range(50):
            await group.propose(enqueue(number, count=3))
        await group.stop()
        await group.start()
        await group.leader()
        await group.equal()
        assert group.running[0].machine.queue("q").counts["ready"] == 150
        group.running[0].machine.check_invariants()

    run_group(tmp_path, body)


# PySyncObj leaves the snapshot file that it has sent to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_empty_member_catches_up_from_a_snapshot(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        late = follower_of(group, await group.leader())
        await late.stop()
        shutil.rmtree(late.folder)
        for number in range(120):
            await group.propose(enqueue(number, count=20, size=200))
        leader = (await group.leader()).running
        await until(lambda: leader.parts.snapshotter.written_total > 0, "a snapshot")
        assert leader.parts.log.first_index > 1
        await late.start()
        assert late.running.view().not_ready_reason is not None
        await until(lambda: late.running.view().not_ready_reason is None, "the late member")
        await group.equal()
        assert late.running.machine.queue("q").counts["ready"] == 2_400
        reply = await group.propose(Lease(["q"], 5, 10_000, "w", "r1"))
        assert isinstance(reply, Leased)
        done = await group.propose(Ack([AckItem(reply.leases[0].token, b"r")]))
        assert isinstance(done, Settled) and done.items[0].state is TaskState.DONE
        await group.equal()

    run_group(tmp_path, body, snapshot_entries=40)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_snapshot_arrives_though_its_follower_cannot_take_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_PART_BYTES", 1_024)

    async def body(group: Group) -> None:
        behind = follower_of(group, await group.leader())
        await group.propose(enqueue(0))
        await behind.stop()
        for number in range(1, 30):
            await group.propose(enqueue(number, size=4_000))
        leader = (await group.leader()).running
        await until(lambda: leader.parts.log.first_index > 10, "a cut log")
        pauses = pause_every(leader, monkeypatch, parts=40)
        await behind.start()
        await group.equal()
        assert pauses

    run_group(tmp_path, body, snapshot_entries=10, snapshot_bytes=1_000)


def pause_every(leader: RaftReplica, patch: pytest.MonkeyPatch, parts: int) -> list[str]:
    """Report a peer as congested, for a moment, after so many parts of a snapshot each time."""
    peering = leader.parts.peering
    send, sent, pauses = peering.snapshot_chunk, list[int](), list[str]()

    def send_and_pause(peer: str, term: int, chunk: tuple[bytes, bool, bool]) -> None:
        send(peer, term, chunk)
        sent.append(len(chunk[0]))
        if len(sent) % parts == 0:
            pauses.append(peer)
            peering.on_congestion(peer, True)
            asyncio.get_running_loop().call_later(0.1, peering.on_congestion, peer, False)

    patch.setattr(peering, "snapshot_chunk", send_and_pause)
    return pauses


def test_members_restart_from_snapshot_and_log(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        for number in range(130):
            await group.propose(enqueue(number))
        await until(
            lambda: all(each.parts.snapshotter.written_total for each in group.running),
            "a snapshot on every member",
        )
        await group.equal()
        hashes = {replica.machine.content_hash() for replica in group.running}
        await group.stop()
        await group.start()
        await group.leader()
        await group.equal()
        assert {replica.machine.content_hash() for replica in group.running} == hashes
        assert all(r.parts.log.first_index > 1 for r in group.running)

    run_group(tmp_path, body, snapshot_entries=40)


def test_leadership_is_handed_over_on_request(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        old = await group.leader()
        await group.propose(enqueue(1))
        assert await old.running.transfer_leadership(deadline())
        new = await group.leader()
        assert new is not old
        await group.propose(enqueue(2))
        assert not await new.running.transfer_leadership(0.0)

    run_group(tmp_path, body)


def test_one_member_alone_is_a_cluster_that_syncs(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        await group.propose(enqueue(1))
        replica = group.running[0]
        journal = replica.parts.log.journal
        assert journal.durable_index == replica.view().commit_index
        await replica.read_barrier(deadline())
        await group.stop()
        await group.start()
        await group.leader()
        assert group.running[0].machine.queue("q").counts["ready"] == 1

    run_group(tmp_path, body, size=1)


def test_five_members_survive_two_failures(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        await group.propose(enqueue(1))
        await (await group.leader()).stop()
        await group.propose(enqueue(2))
        await (await group.leader()).stop()
        await group.propose(enqueue(3))
        await group.equal()
        assert group.running[0].machine.queue("q").counts["ready"] == 3

    run_group(tmp_path, body, size=5)


def test_members_know_each_other_s_facts(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        await group.leader()
        await until(lambda: len(group.running[0].member_facts()) == 3, "facts of all members")
        assert group.running[0].member_facts()["n3"] == {"native": "n3.example:7601"}

    run_group(tmp_path, body)


def test_a_member_of_another_cluster_is_refused(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        await group.propose(enqueue(1))
        stranger = follower_of(group, await group.leader())
        await stranger.stop()
        other = Group(tmp_path / "other")
        await other.start()
        await other.propose(enqueue(9))
        await other.equal()
        await other.stop()
        shutil.rmtree(stranger.folder)
        shutil.copytree(other.folder / stranger.node, stranger.folder)
        await stranger.start()
        await asyncio.sleep(0.5)
        reachable = stranger.running.view().reachable
        assert [node for node, is_up in reachable.items() if is_up] == [stranger.node]
        await group.propose(enqueue(2))

    run_group(tmp_path / "first", body)
