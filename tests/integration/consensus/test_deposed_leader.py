"""A leader that was deposed between two ticks proposes nothing any more."""

from pathlib import Path

from tests.support.replicas import Group, run_group, until


def test_an_entry_proposed_after_a_newer_leader_was_heard_goes_nowhere(tmp_path: Path) -> None:
    async def body(group: Group) -> None:
        leader = await group.leader()
        parts = leader.running.parts
        peer = next(node for node in group.members if node != leader.node)
        await until(lambda: parts.proposer.is_idle, "the founding of the cluster")
        last_index = parts.log.last_index
        parts.engine.heartbeat(peer, parts.engine.term + 1, 0)
        # The timer may do this before the pump has noticed the newer leader.
        parts.proposer.send_time()
        assert parts.proposer.is_idle
        assert parts.log.last_index == last_index
        await group.leader()

    run_group(tmp_path, body)
