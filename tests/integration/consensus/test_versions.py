"""What becomes of a node that does not know the version of an entry."""

from pathlib import Path
from typing import cast

import pytest
from tests.support.machines import task_id
from tests.support.replicas import Group, Member, run_group, until

from raftq.consensus import proposer
from raftq.consensus.raft import entry_versions
from raftq.consensus.raft.guard import Guard
from raftq.protocol.commands import Enqueue
from raftq.protocol.errors import OutcomeUnknown, StorageError, UnavailableError
from raftq.protocol.options import NewTask
from raftq.protocol.replies import Enqueued
from raftq.testing.sim.patching import original

BRIEF_SECONDS = 1.5


class Versions:
    """Makes some nodes of this process ones of an older version.

    Everybody begins with entries of version 1; `upgrade_leader` makes all that lead write the
    present version from then on.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._old: set[Guard] = set()
        self._known: set[Guard] | None = None
        monkeypatch.setattr(proposer, "ENTRY_VERSION", 1)
        append = original(Guard, "_append")
        assert callable(append)

        def by_version(guard: Guard, *arguments: object) -> None:
            with monkeypatch.context() as patch:
                if self._is_old(guard):
                    patch.setattr(entry_versions, "ENTRY_VERSIONS_READABLE", (1,))
                append(guard, *arguments)

        monkeypatch.setattr(Guard, "_append", by_version)

    def _is_old(self, guard: Guard) -> bool:
        return guard in self._old or (self._known is not None and guard not in self._known)

    def make_old(self, member: Member) -> None:
        self._old.add(member.running.parts.guard)

    def start_only_old(self, group: Group) -> None:
        """Make all nodes old that are started from now on."""
        self._known = {replica.parts.guard for replica in group.running}

    def upgrade_leader(self) -> None:
        self._monkeypatch.setattr(proposer, "ENTRY_VERSION", 2)


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Versions:
    return Versions(monkeypatch)


async def enqueue(group: Group, number: int, seconds: float = 10.0) -> None:
    reply = await group.propose(Enqueue("q", [NewTask(task_id(number), b"x")]), seconds)
    assert isinstance(reply, Enqueued)


async def stopped(member: Member) -> StorageError:
    """Wait until a node has stopped; return why."""
    failed = member.running.failed
    await until(failed.done, f"{member.node} stops")
    error = failed.result()
    assert isinstance(error, StorageError) and "newer version of raftq" in error.message
    assert "upgrade this node" in error.message
    return error


def matched(leader: Member, member: Member) -> int:
    """Return up to which entry a leader has heard acks of a follower."""
    return leader.running.followers_matched().get(member.node, 0)


def test_a_node_that_does_not_know_an_entry_stops_and_the_others_go_on(
    tmp_path: Path, versions: Versions
) -> None:
    async def body(group: Group) -> None:
        leader = await group.leader()
        old = next(each for each in group.members.values() if each is not leader)
        await enqueue(group, 1)
        await group.equal()
        versions.make_old(old)
        await enqueue(group, 2)  # Of version 1: the two work together.
        await group.equal()
        versions.upgrade_leader()
        await enqueue(group, 3)
        error = await stopped(old)
        refused = cast("int", error.facts["index"])
        assert old.running.parts.log.last_index < refused
        assert matched(leader, old) < refused
        await enqueue(group, 4)
        await old.stop()
        await old.start()  # The new version.
        await group.equal()
        for number in (1, 2, 3, 4):
            assert old.running.machine.task(task_id(number)) is not None

    run_group(tmp_path, body)


def test_with_two_such_nodes_nothing_is_committed_and_nothing_is_lost(
    tmp_path: Path, versions: Versions
) -> None:
    async def body(group: Group) -> None:
        leader = await group.leader()
        olds = [each for each in group.members.values() if each is not leader]
        await enqueue(group, 1)
        await group.equal()
        for old in olds:
            versions.make_old(old)
        versions.upgrade_leader()
        committed = leader.running.view().commit_index
        with pytest.raises((UnavailableError, OutcomeUnknown)):
            await enqueue(group, 2, BRIEF_SECONDS)
        for old in olds:
            await stopped(old)
        assert leader.running.view().commit_index == committed
        assert leader.running.machine.task(task_id(2)) is None
        for old in olds:
            await old.stop()
            await old.start()  # The new version.
        await enqueue(group, 2)
        await group.equal()
        for member in group.members.values():
            machine = member.running.machine
            assert machine.task(task_id(1)) is not None and machine.task(task_id(2)) is not None
            assert machine.queue("q").enqueued == 2

    run_group(tmp_path, body)


def test_an_old_node_that_is_not_upgraded_stops_again_and_has_kept_nothing(
    tmp_path: Path, versions: Versions
) -> None:
    async def body(group: Group) -> None:
        leader = await group.leader()
        old = next(each for each in group.members.values() if each is not leader)
        versions.make_old(old)
        versions.upgrade_leader()
        await enqueue(group, 1)
        first = await stopped(old)
        await old.stop()
        versions.start_only_old(group)
        await old.start()
        second = await stopped(old)
        assert second.facts["index"] == first.facts["index"]
        assert old.running.parts.log.last_index < cast("int", second.facts["index"])

    run_group(tmp_path, body)
