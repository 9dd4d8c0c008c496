"""A cluster at rest does little."""

from collections import Counter
from pathlib import Path

import pytest
from tests.support.replicas import Group, run_group, until

from raftq.consensus.replica import RaftReplica
from raftq.protocol.commands import Enqueue
from raftq.protocol.options import NewTask

HEARTBEATS = 12


def test_an_idle_node_looks_for_what_time_brings_about_once_in_a_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Counter[str]()

    def count(replica: RaftReplica) -> None:
        resume = replica.parts.peering.resume

        def counted(now: float) -> None:
            looks[replica.config.node] += 1
            resume(now)

        monkeypatch.setattr(replica.parts.peering, "resume", counted)

    async def body(group: Group) -> None:
        leader = (await group.leader()).running
        await group.propose(Enqueue("q", [NewTask(bytes(16), b"p")]))
        await group.equal()
        for replica in group.running:
            count(replica)
        elector = leader.parts.elector
        began = elector.rounds_begun
        await until(lambda: elector.rounds_begun >= began + HEARTBEATS, "rounds of heartbeats")
        assert set(looks) == set(group.members)
        assert max(looks.values()) < 2 * HEARTBEATS, "looks each 20 ms are four in a heartbeat"

    run_group(tmp_path, body)
