"""The rules that PySyncObj lacks, between it and the wire.

Every message passes here in both directions. The guard decides with public facts of PySyncObj
and with the log that we own; it does no I/O and reads no clock. What each rule prevents is said
where it stands; docs/decisions/0001-pysyncobj-hardened.md has the whole list.

Not here: who may start an election and whether a leader may answer reads (`elector.py`), and
which connection is the live one (`peer_links.py`).
"""

from collections import Counter
from typing import Protocol

from raftq.consensus.peers.messages import (
    AppendEntries,
    NextIndex,
    RaftMessage,
    RequestVote,
    SnapshotPart,
    TimeoutNow,
    Vote,
)
from raftq.consensus.raft.ack_gate import AckGate
from raftq.consensus.raft.append_rule import Acknowledge, AskAgain, Deliver, decide
from raftq.consensus.raft.entry_versions import check_versions
from raftq.consensus.raft.raft_log import RaftLog
from raftq.consensus.raft.roll import Roll
from raftq.consensus.raft.snapshot_stream import SnapshotReceiver


class Raft(Protocol):
    """What the guard asks of, and tells, the PySyncObj engine."""

    @property
    def term(self) -> int: ...
    @property
    def commit_index(self) -> int: ...
    @property
    def is_leader(self) -> bool: ...

    def deliver(self, peer: str, message: RaftMessage) -> None:
        """Hand a checked message to PySyncObj."""
        ...

    def heartbeat(self, peer: str, term: int, commit_index: int) -> None:
        """Tell PySyncObj only that `peer` leads `term`, and to move its commit index."""
        ...

    def set_next_index(self, peer: str, next_index: int) -> None:
        """Set where PySyncObj goes on sending to `peer`."""
        ...

    def touch(self, peer: str) -> None:
        """Count `peer` as heard from, for the leader's check of its quorum."""
        ...


class Wire(Protocol):
    """Where messages to peers leave."""

    def send(self, peer: str, message: RaftMessage) -> object: ...


class Guard:
    """Checks and repairs the traffic of one node."""

    def __init__(self, raft: Raft, log: RaftLog, wire: Wire) -> None:
        self._raft = raft
        self._log = log
        self._wire = wire
        self._gate = AckGate(log.journal, wire.send, self._count_ack)
        self._snapshots = SnapshotReceiver()
        self._sent_through: dict[str, int] = {}
        self._hints: dict[str, tuple[int, int]] = {}
        self._news: dict[str, AppendEntries] = {}
        self._told: dict[str, int] = {}
        """The commit index that was last sent to each follower, on this connection."""
        self._votes_seen: set[tuple[int, str]] = set()
        self._installing: tuple[int, int] | None = None
        self.roll: Roll | None = None
        """Whose votes count; None if everybody's."""
        self.leader_commit_index = 0
        """The commit index that the current leader last told, on a follower."""
        self.commit_indexes_told = 0
        """How many messages told one."""
        self.matched: dict[str, int] = {}
        """On the leader: the highest index that each follower acknowledged in this term."""
        self.refused: Counter[str] = Counter()
        """How often each rule refused or changed something."""

    # ------------------------------------------------------------ connections and disk

    def on_connection_changed(self, peer: str) -> None:
        """Forget everything that belonged to the previous connection of a peer."""
        self._gate.forget(peer)
        self.matched.pop(peer, None)
        self._snapshots.forget(peer)
        self._sent_through.pop(peer, None)
        self._hints.pop(peer, None)
        self._news.pop(peer, None)
        self._told.pop(peer, None)

    def on_leadership(self) -> None:
        """Start a leadership: what followers acknowledged in other terms no longer counts."""
        self.matched.clear()
        self._sent_through.clear()
        self._news.clear()
        self._told.clear()

    def on_durable(self) -> None:
        """Release acks after a finished sync."""
        self._gate.on_durable(self._raft.term)

    # ------------------------------------------------------------ outgoing

    def outgoing(self, peer: str, message: RaftMessage) -> None:
        """Send a message of PySyncObj's, or hold it, or correct it."""
        match message:
            case NextIndex():
                self._send_ack(peer, message)
            case AppendEntries(entries=entries):
                if not entries and message.previous_index == self._sent_through.get(peer):
                    self._news[peer] = message
                    return
                self._news.pop(peer, None)
                if entries:
                    newest = entries[-1][1]
                    self._sent_through[peer] = max(self._sent_through.get(peer, 0), newest)
                self._send_entries(peer, message)
            case _:
                self._wire.send(peer, message)

    def _send_entries(self, peer: str, message: AppendEntries) -> None:
        self._told[peer] = message.commit_index
        self._wire.send(peer, message)

    def _is_new(self, peer: str, message: AppendEntries) -> bool:
        return message.commit_index != self._told.get(peer)

    @property
    def has_news(self) -> bool:
        """Whether a follower is still to be told of a newer commit index."""
        return any(self._is_new(peer, message) for peer, message in self._news.items())

    def send_news(self, *, repeated: bool = False) -> None:
        """Send the held messages without entries; to be called by a timer.

        PySyncObj sends one to each follower after each commit. Under load the next entries carry
        the index anyway; alone it would cost every command a message and an ack more, both on
        the way of the client's answer. And it repeats the index to an idle follower.

        Args:
            repeated: Also those that tell no newer commit index. They can wait for the next round
                of heartbeats, to share its packet: the heartbeats show that the leader lives.
        """
        news, self._news = self._news, {}
        if not self._raft.is_leader:
            return
        for peer, message in news.items():
            if repeated or self._is_new(peer, message):
                self._send_entries(peer, message)
            else:
                self._news[peer] = message

    def _send_ack(self, peer: str, ack: NextIndex) -> None:
        """Send an ack; a failed snapshot install is never acknowledged as a success."""
        if self._installing is not None and ack.success:
            installed = (self._log.last_index, self._log.last_term)
            if installed != self._installing:
                self.refused["snapshot_not_installed"] += 1
                ack = NextIndex(ack.term, ack.next_index, success=False, reset=True)
        self._gate.outgoing(peer, ack)

    # ------------------------------------------------------------ incoming

    def incoming(self, peer: str, message: RaftMessage) -> None:
        """Check a peer's message and give PySyncObj what may reach it."""
        match message:
            case AppendEntries():
                self._append(peer, message)
            case SnapshotPart():
                self._snapshot_part(peer, message)
            case NextIndex():
                self._ack(peer, message)
            case Vote(term=term):
                # PySyncObj counts votes instead of voters.
                if (term, peer) in self._votes_seen:
                    self.refused["repeated_vote"] += 1
                    return
                if self.roll is not None and peer not in self.roll.counted:
                    self.refused["vote_that_does_not_count"] += 1
                    return
                self._votes_seen = {seen for seen in self._votes_seen if seen[0] >= term}
                self._votes_seen.add((term, peer))
                self._raft.deliver(peer, message)
            case RequestVote() | TimeoutNow():
                self._raft.deliver(peer, message)

    def _ack(self, peer: str, ack: NextIndex) -> None:
        """Count an ack only in the term it was given in, and only up to our own disk."""
        if ack.term != self._raft.term or not self._raft.is_leader:
            self.refused["ack_of_another_term"] += 1
            return
        if not self._gate.incoming(peer, ack):
            self._raft.touch(peer)

    def _count_ack(self, peer: str, ack: NextIndex) -> None:
        if ack.reset:
            self._sent_through.pop(peer, None)
        self._raft.deliver(peer, ack)
        if ack.success:
            self.matched[peer] = max(self.matched.get(peer, 0), ack.next_index - 1)
        if ack.success and not ack.reset:
            # PySyncObj goes back to the acknowledged index and would send what is on its way
            # again, each time; go on after what this connection already carried.
            sent_through = self._sent_through.get(peer, 0)
            if sent_through >= ack.next_index:
                self._raft.set_next_index(peer, sent_through + 1)

    def _append(self, peer: str, message: AppendEntries) -> None:
        if message.term < self._raft.term:
            self.refused["append_of_older_term"] += 1
            return
        self.leader_commit_index = message.commit_index
        self.commit_indexes_told += 1
        decision = decide(message, self._log, self._raft.commit_index)
        match decision:
            case AskAgain(next_index=next_index):
                self._ask_again(peer, message, next_index)
            case Acknowledge(last_index=last_index):
                self._hints.pop(peer, None)
                commit_index = min(message.commit_index, last_index)
                self._raft.heartbeat(peer, message.term, commit_index)
                self._reply(peer, last_index + 1, success=True, reset=False)
            case Deliver():
                check_versions(decision.message.entries)
                self._hints.pop(peer, None)
                self._raft.deliver(peer, decision.message)

    def _ask_again(self, peer: str, message: AppendEntries, next_index: int) -> None:
        """Ask for earlier entries; messages that were already on their way must not raise the
        index again, else a follower with one wrong entry never catches up."""
        hint = self._hints.get(peer)
        if hint is not None and hint[0] == message.term:
            next_index = min(next_index, hint[1])
        self._hints[peer] = (message.term, next_index)
        self.refused["append_without_match"] += 1
        self._raft.heartbeat(peer, message.term, 0)
        self._reply(peer, next_index, success=False, reset=True)

    def _snapshot_part(self, peer: str, part: SnapshotPart) -> None:
        """Take a part of a snapshot; it never moves the commit index over unverified entries."""
        if part.term < self._raft.term:
            self.refused["snapshot_of_older_term"] += 1
            return
        self.leader_commit_index = max(self.leader_commit_index, part.snapshot_index)
        held_through = self._held_through(part)
        if self._snapshots.begins(part):
            if held_through is not None:
                self._skip_snapshot(peer, part, held_through)
                return
            self._snapshots.start(peer, part)
        if not self._snapshots.accept(peer, part):
            self.refused["snapshot_part_without_stream"] += 1
            self._raft.heartbeat(peer, part.term, 0)
            return
        if part.is_last:
            if held_through is not None:
                # Another leader brought it while this stream stood still.
                self._skip_snapshot(peer, part, held_through)
                return
            self._installing = (part.snapshot_index, part.snapshot_term)
        try:
            self._raft.deliver(peer, part)
        finally:
            self._installing = None

    def _held_through(self, part: SnapshotPart) -> int | None:
        """Return up to where the log is verified if it holds what a snapshot does, else None."""
        log, index = self._log, part.snapshot_index
        if index <= self._raft.commit_index:
            return min(self._raft.commit_index, log.last_index)
        is_held = log.first_index <= index <= log.last_index
        return index if is_held and log.term_at(index) == part.snapshot_term else None

    def _skip_snapshot(self, peer: str, part: SnapshotPart, last_index: int) -> None:
        """Refuse a snapshot that holds nothing new: installing it would move the state back."""
        self.refused["snapshot_not_needed"] += 1
        self._snapshots.forget(peer)
        self._raft.heartbeat(peer, part.term, min(part.snapshot_index, last_index))
        self._reply(peer, last_index + 1, success=True, reset=True)

    def _reply(self, peer: str, next_index: int, *, success: bool, reset: bool) -> None:
        if self._raft.is_leader:
            return
        self._gate.outgoing(peer, NextIndex(self._raft.term, next_index, success, reset))
