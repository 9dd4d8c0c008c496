"""Mutations of the rules between PySyncObj and the wire, and of the connections below them."""

from collections.abc import Callable
from typing import Final, cast

from pysyncobj import SyncObjConf

from raftq.consensus.peers.messages import (
    AppendEntries,
    NextIndex,
    RaftMessage,
    SnapshotPart,
)
from raftq.consensus.peers.peering import Peering
from raftq.consensus.peers.tcp_links import TcpLinks
from raftq.consensus.raft import append_rule as append_rule_module
from raftq.consensus.raft import engine as engine_module
from raftq.consensus.raft import guard as guard_module
from raftq.consensus.raft.ack_gate import AckGate
from raftq.consensus.raft.append_rule import Acknowledge, Decision, Deliver, LogView
from raftq.consensus.raft.guard import Guard
from raftq.consensus.raft.raft_log import RaftLog
from raftq.consensus.raft.snapshot_stream import SnapshotReceiver, SnapshotSender
from raftq.consensus.raft.translation import to_pysyncobj
from raftq.storage.snapshots import SnapshotStore
from raftq.testing.sim.mutations.mutation import Inside, Mutation
from raftq.testing.sim.patching import Patch, original


def _append_filter() -> list[Patch]:
    def decide(message: AppendEntries, _log: LogView, _commit_index: int) -> Decision:
        return Deliver(message)

    def delete_from(self: Inside, position: int) -> None:
        index = self._entries[position].index
        self.journal.truncate_after(index - 1)
        del self._entries[position:]

    return [
        (guard_module, "decide", decide),
        (RaftLog, "deleteEntriesFrom", delete_from),
        *_pipeline(),
    ]


def _pipeline() -> list[Patch]:
    def count_ack(self: Inside, peer: str, ack: NextIndex) -> None:
        self._raft.deliver(peer, ack)
        if ack.success:
            self.matched[peer] = max(self.matched.get(peer, 0), ack.next_index - 1)

    return [(Guard, "_count_ack", count_ack)]


def _append_hint() -> list[Patch]:
    def ask_again(self: Inside, peer: str, message: AppendEntries, next_index: int) -> None:
        self._raft.heartbeat(peer, message.term, 0)
        self._reply(peer, next_index, success=False, reset=True)

    def one_step(previous: int, log: LogView, _commit_index: int) -> int:
        return min(previous, log.last_index + 1)

    return [
        (Guard, "_ask_again", ask_again),
        (append_rule_module, "_start_of_conflict", one_step),
    ]


def _commit_clamp() -> list[Patch]:
    append = cast("Callable[[Inside, str, AppendEntries], None]", original(Guard, "_append"))

    def unclamped(self: Inside, peer: str, message: AppendEntries) -> None:
        append(self, peer, message)
        decision = append_rule_module.decide(message, self._log, self._raft.commit_index)
        if isinstance(decision, Acknowledge):
            self._raft.heartbeat(peer, message.term, message.commit_index)

    return [(Guard, "_append", unclamped)]


def _ack_term() -> list[Patch]:
    def ack(self: Inside, peer: str, message: NextIndex) -> None:
        if self._raft.is_leader and not self._gate.incoming(peer, message):
            self._raft.touch(peer)

    on_durable = cast("Callable[[Inside, int], None]", original(AckGate, "on_durable"))

    def any_term(self: Inside, current_term: int) -> None:
        for peer, parked in self._incoming.items():
            self._incoming[peer] = [
                NextIndex(current_term, each.next_index, each.success, each.reset)
                for each in parked
            ]
        self._outgoing = [
            held._replace(
                message=NextIndex(
                    current_term, held.message.next_index, held.message.success, held.message.reset
                )
            )
            for held in self._outgoing
        ]
        on_durable(self, current_term)

    return [(Guard, "_ack", ack), (AckGate, "on_durable", any_term)]


def _follower_gate() -> list[Patch]:
    def outgoing(self: Inside, peer: str, message: NextIndex) -> None:
        self._send(peer, message)

    return [(AckGate, "outgoing", outgoing)]


def _leader_gate() -> list[Patch]:
    def incoming(self: Inside, peer: str, message: NextIndex) -> bool:
        self._count(peer, message)
        return True

    return [(AckGate, "incoming", incoming)]


def _snapshot_commit() -> list[Patch]:
    translate = to_pysyncobj

    def moving(message: RaftMessage) -> dict[str, object]:
        translated = translate(message)
        if isinstance(message, SnapshotPart):
            translated["commit_index"] = message.snapshot_index
        return translated

    return [(engine_module, "to_pysyncobj", moving)]


def _snapshot_not_needed() -> list[Patch]:
    def skip(self: Inside, peer: str, part: SnapshotPart, _last_index: int) -> None:
        self._snapshots.start(peer, part)
        if self._snapshots.accept(peer, part):
            self._raft.deliver(peer, part)

    return [(Guard, "_skip_snapshot", skip)]


def _snapshot_stream() -> list[Patch]:
    def part(
        self: Inside,
        peer: str,
        term: int,
        chunk: tuple[bytes, bool, bool],
        snapshot: tuple[int, int],
    ) -> SnapshotPart:
        data, is_first, is_last = chunk
        return SnapshotPart(term, (self._boot_id, 0), not is_first, data, is_last, *snapshot)

    def accept(self: Inside, peer: str, part: SnapshotPart) -> bool:
        return True

    def verify(self: Inside, path: object) -> None:
        """Take any file."""

    return [
        (SnapshotSender, "part", part),
        (SnapshotReceiver, "accept", accept),
        (SnapshotStore, "_verify", verify),
    ]


def _snapshot_pause() -> list[Patch]:
    def pause(self: Inside, peer: str) -> None:
        """Let PySyncObj ask again at once."""

    return [(Peering, "pause", pause)]


def _batch_size() -> list[Patch]:
    def small(**settings: object) -> SyncObjConf:
        return SyncObjConf(**{**settings, "appendEntriesBatchSizeBytes": 400})

    return [(engine_module, "SyncObjConf", small)]


def _connection_epoch() -> list[Patch]:
    def supersede(self: Inside, link: Inside) -> None:
        if link.peer in self._links:
            self.receiver.on_link_down(link.peer)
        self._links[link.peer] = link

    def is_current(self: Inside, link: Inside) -> bool:
        return True

    drop = cast("Callable[[Inside, Inside], None]", original(TcpLinks, "_drop"))

    def dropped(self: Inside, link: Inside) -> None:
        if self._links.get(link.peer) is link:
            drop(self, link)
        else:
            link.close()

    return [
        (TcpLinks, "_supersede", supersede),
        (TcpLinks, "is_current", is_current),
        (TcpLinks, "_drop", dropped),
        *_ack_term(),
    ]


MUTATIONS: Final[dict[str, Mutation]] = {
    "append-filter": Mutation(
        "a follower cuts off entries that match, and an ack rewinds what was sent",
        _append_filter,
        ("crashes", "partitions", "mixed"),
    ),
    "append-hint": Mutation(
        "a follower forgets which entry it asked for, and steps back one entry at a time",
        _append_hint,
        ("wrong-tail", "divergence"),
    ),
    "commit-clamp": Mutation(
        "a leader's commit index reaches entries that were not compared",
        _commit_clamp,
        ("wrong-tail", "divergence"),
    ),
    "ack-term": Mutation("an ack counts in any term", _ack_term, ("stale-acks",), nodes=5),
    "follower-gate": Mutation(
        "a follower acknowledges before its disk", _follower_gate, ("blackout", "power-loss")
    ),
    "leader-gate": Mutation(
        "a leader counts itself before its disk", _leader_gate, ("blackout", "power-loss")
    ),
    "snapshot-commit": Mutation(
        "a snapshot's parts move the commit index",
        _snapshot_commit,
        ("divergence", "lagging", "mixed"),
    ),
    "snapshot-not-needed": Mutation(
        "an older snapshot is installed",
        _snapshot_not_needed,
        ("lagging", "mixed"),
        not_shown_because="a leader offers a snapshot of its term only to who lacks it, and parts "
        "of an older term are refused before",
        shown_by="tests/unit/consensus/test_guard.py::"
        "test_a_snapshot_older_than_what_is_committed_is_not_installed",
    ),
    "snapshot-stream": Mutation(
        "parts of snapshots have no identity, no offset and no checksum",
        _snapshot_stream,
        ("lagging", "mixed"),
    ),
    "snapshot-pause": Mutation(
        "a follower is offered the snapshot that is being written",
        _snapshot_pause,
        ("lagging", "mixed"),
    ),
    "batch-size": Mutation(
        "an entry may be larger than PySyncObj's batch", _batch_size, ("calm", "crashes")
    ),
    "connection-epoch": Mutation(
        "a superseded connection still delivers, acks of other terms included",
        _connection_epoch,
        ("stale-link",),
        nodes=5,
    ),
}
