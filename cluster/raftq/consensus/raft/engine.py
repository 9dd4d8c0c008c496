"""PySyncObj 0.3.17, driven from outside: elections, log replication, commit, snapshot transfer.

PySyncObj's insides are touched in seven places, all in `pysyncobj_seam.py` and `transmissions.py`:
the module names `createJournal`, `createPoller`, `PIPE_NOTIFIER_ENABLED`, `atomicReplace` and
`Serializer`, and two private methods: `__doApplyCommand`, overridden so that nothing is ever
unpickled, and `__updateClusterConfiguration`, called when another member list is in force. Its
threads, sockets, election timer, pickles, membership changes and code versions are all switched
off.

Who is replicated to and does not count (a learner; a voter on probation) is one of PySyncObj's
read-only nodes, which it sends the log and counts nowhere. For each voter that does not count a
stand-in that never answers is among the nodes that PySyncObj counts, so that the majority stays
what the member list says.

Invariants: nothing raised by the machine reaches PySyncObj; an error that must stop the node is
kept in `failure` and raised by the next `tick`, because PySyncObj swallows exceptions.
"""

from collections.abc import Callable, Collection
from typing import Final, cast

from pysyncobj import SyncObjConf
from pysyncobj.config import FAIL_REASON
from pysyncobj.node import Node

from raftq.consensus.peers.messages import NextIndex, RaftMessage, SnapshotPart
from raftq.consensus.raft.engine_seams import Outbox, SnapshotHooks
from raftq.consensus.raft.entry_versions import ENTRY_COMMAND
from raftq.consensus.raft.members import ENTRY_MEMBERS, MemberList
from raftq.consensus.raft.pysyncobj_seam import (
    EngineTransport,
    MemberNode,
    Raft,
    check_pysyncobj,
    install_hooks,
)
from raftq.consensus.raft.raft_log import RaftLog
from raftq.consensus.raft.roll import Roll, fixed_roll
from raftq.consensus.raft.stored_entry import LogEntry
from raftq.consensus.raft.translation import append_entries, from_pysyncobj, to_pysyncobj
from raftq.consensus.raft.transmissions import Transmissions
from raftq.protocol import limits
from raftq.protocol.errors import StorageError
from raftq.storage.journal import JournalEntry

_NO_OP_COMMAND: Final = 1
_NEVER_SECONDS: Final = 1e8
"""Switches off a timer of PySyncObj's."""


class Engine:
    """One PySyncObj node as the guard and the elector see it.

    Args:
        node: This member's id.
        peers: The other members' ids.
        log: The log.
        apply: Applies one entry at an index and returns what its proposer gets.
        snapshots: Writes and reads snapshots.
        heartbeat: Seconds between messages to an idle follower.
        fallback: Seconds without a majority after which a leader steps down.
        on_state: Called after each change of role.
    """

    def __init__(
        self,
        node: str,
        peers: Collection[str],
        log: RaftLog,
        apply: Callable[[int, bytes], object],
        snapshots: SnapshotHooks,
        *,
        heartbeat: float,
        fallback: float,
        on_state: Callable[[], None],
    ) -> None:
        check_pysyncobj()
        self.failure: BaseException | None = None
        self.log = log
        self._apply = apply
        self._snapshots = snapshots
        self._nodes: dict[str, Node] = {peer: MemberNode(peer) for peer in peers}
        self._roll = fixed_roll(peers)
        self._connected: set[str] = set()
        self._transport = EngineTransport(self)
        self._outbox: Outbox | None = None

        def on_state_changed(_old: int, _new: int) -> None:
            for peer in self._nodes:
                self.forget_connection(peer)  # What was begun in another term is not gone on with.
            on_state()

        conf = SyncObjConf(
            autoTick=False,
            appendEntriesUseBatch=False,
            appendEntriesBatchSizeBytes=limits.PEER_FRAME_BYTES_MAX,
            appendEntriesPeriod=heartbeat,
            raftMinTimeout=_NEVER_SECONDS,
            raftMaxTimeout=2 * _NEVER_SECONDS,
            connectionTimeout=3 * _NEVER_SECONDS,
            leaderFallbackTimeout=fallback,
            commandsWaitLeader=False,
            logCompactionMinEntries=2**62,
            logCompactionMinTime=2**62,
            logCompactionBatchSize=limits.SNAPSHOT_PART_BYTES,
            fullDumpFile=str(snapshots.path),
            useFork=False,
            serializer=self._serialize,
            deserializer=self._deserialize,
            serializeChecker=snapshots.poll,
            onStateChanged=on_state_changed,
        )
        install_hooks(log, snapshots.path, snapshots.adopt)
        self._transmissions = Transmissions()
        self._transmissions.install()
        self._raft = Raft(self, MemberNode(node), list(self._nodes.values()), conf, self._transport)
        self._node = node

    def connect_outbox(self, outbox: Outbox) -> None:
        """Set where messages go; nothing is sent before the first tick."""
        self._outbox = outbox

    # ------------------------------------------------------------ driving

    def tick(self) -> None:
        """Let PySyncObj do what is due: commit, apply, send, compact.

        Raises:
            RaftqError: This node must stop.
        """
        self._raft.doTick(0)
        self.check()

    def check(self) -> None:
        """Raise the error, if any, that stops this node."""
        if self.failure is not None:
            raise self.failure

    def propose(self, entry: bytes, done: Callable[[object, bool], None]) -> None:
        """Append an entry and send it to the followers at once.

        `done(result, True)` follows when it was applied, `done(None, False)` if another entry
        took its place; neither, if leadership is lost first.
        """

        def on_outcome(result: object, reason: int) -> None:
            done(result, reason == FAIL_REASON.SUCCESS)

        if not self.is_leader:
            # Deposed since the last tick. PySyncObj would forward the entry to the new leader.
            done(None, False)
            return
        self._raft._applyCommand(entry, on_outcome, ENTRY_COMMAND)
        self._raft._checkCommandsToApply()

    def propose_members(self, members: MemberList, done: Callable[[bool], None]) -> None:
        """Append a member list, which is in force at once; `done(is_committed)` as in `propose`."""

        def on_outcome(_result: object, reason: int) -> None:
            done(reason == FAIL_REASON.SUCCESS)

        if not self.is_leader:
            done(False)
            return
        self._raft._applyCommand(members.entry(), on_outcome, ENTRY_MEMBERS)
        self._raft._checkCommandsToApply()

    def request_snapshot(self) -> None:
        """Write a snapshot at the next tick and cut the log behind it."""
        self._raft.forceLogCompaction()

    def transfer_to(self, peer: str) -> bool:
        """Ask a peer that has the whole log to start an election; False if it lacks some."""
        accepted: list[bool] = []
        self._raft.transferLeadership(
            self._node_of(peer), lambda _, reason: accepted.append(reason == FAIL_REASON.SUCCESS)
        )
        return accepted == [True]

    def set_connected(self, peer: str, connected: bool) -> None:
        """Tell PySyncObj whether it may send to a peer."""
        if connected == (peer in self._connected):
            return
        if connected:
            self._connected.add(peer)
        else:
            self._connected.remove(peer)
        self._report(peer, connected)

    def forget_connection(self, peer: str) -> None:
        """Send a snapshot that a peer needs from its start: what it got of it may be lost."""
        self._transmissions.end(self._node_of(peer))

    def _report(self, peer: str, connected: bool) -> None:
        """Tell PySyncObj of a connection, in the role that the peer has there, if it has one."""
        node = self._node_of(peer)
        if peer in self._roll.counted:
            self._transport.report_connected(node, connected)
        elif peer in self._roll.others:
            self._transport.report_readonly(node, connected)

    def set_roll(self, roll: Roll) -> None:
        """Count by another member list, or trust other members, from now on."""
        before = self._roll
        moved = sorted(p for p in self._connected if _role(before, p) != _role(roll, p))
        for peer in moved:
            self._report(peer, False)
        self._roll = roll
        counted = _counted_names(roll)
        self._raft.update_members([self._node_of(each) for each in counted])
        if self.is_leader:
            for added in sorted(set(counted) - set(_counted_names(before))):
                self.touch(added)
        for peer in moved:
            self._report(peer, True)

    def _node_of(self, peer: str) -> Node:
        return self._nodes.setdefault(peer, MemberNode(peer))

    # ------------------------------------------------------------ facts

    @property
    def term(self) -> int:
        """The current term."""
        return self._raft.raftCurrentTerm

    @property
    def commit_index(self) -> int:
        """The highest index known to be committed."""
        return self._raft.raftCommitIndex

    @property
    def applied_index(self) -> int:
        """The index that the machine's state reflects."""
        return self._raft.raftLastApplied

    @property
    def is_leader(self) -> bool:
        """Whether this node believes that it leads the current term."""
        return self._raft._isLeader()

    @property
    def leader(self) -> str | None:
        """The leader of the current term, if known."""
        leader = self._raft._getLeader()
        return None if leader is None else leader.id

    @property
    def read_index(self) -> int | None:
        """The commit index if an entry of this term is committed, else None."""
        commit_index = self._raft.raftCommitIndex
        log = self.log
        if log.first_index <= commit_index <= log.last_index:
            return commit_index if log.term_at(commit_index) == self.term else None
        return None

    # ------------------------------------------------------------ into PySyncObj

    def deliver(self, peer: str, message: RaftMessage) -> None:
        """Hand a checked message of a peer to PySyncObj."""
        if isinstance(message, SnapshotPart) and message.is_last:
            self._snapshots.cancel()
        if isinstance(message, NextIndex) and not self._is_followed(peer):
            return
        self._transport.report_message(self._node_of(peer), to_pysyncobj(message))
        self.check()

    def _is_followed(self, peer: str) -> bool:
        """Tell whether PySyncObj keeps indexes of a peer; it would stop at an ack of another."""
        is_readonly = peer in self._roll.others and peer in self._connected
        return is_readonly or peer in self._roll.counted

    def heartbeat(self, peer: str, term: int, commit_index: int) -> None:
        """Tell PySyncObj that `peer` leads `term`, and move the commit index, nothing else."""
        self._transport.report_message(
            self._node_of(peer),
            {"type": "append_entries", "term": term, "commit_index": commit_index},
        )

    def set_next_index(self, peer: str, next_index: int) -> None:
        """Set where PySyncObj goes on sending to a peer."""
        if self._is_followed(peer):
            self._next_index(peer, next_index, reset=True)

    def touch(self, peer: str) -> None:
        """Count a peer as heard from."""
        self._next_index(peer, 0, reset=False)

    def _next_index(self, peer: str, next_index: int, *, reset: bool) -> None:
        self._transport.report_message(
            self._node_of(peer),
            {
                "type": "next_node_idx",
                "next_node_idx": next_index,
                "reset": reset,
                "success": False,
            },
        )

    def start_election(self) -> None:
        """Campaign at the next tick, as if the leader had asked for it."""
        self._transport.report_message(
            self._raft._getLeader(), {"type": "timeout_now", "term": self.term}
        )

    def adopt_term(self, peer: str, term: int) -> None:
        """Follow a newer term without voting in it: a vote request that no log can satisfy."""
        self._transport.report_message(
            self._node_of(peer),
            {
                "type": "request_vote",
                "term": term,
                "last_log_index": 0,
                "last_log_term": -1,
            },
        )

    # ------------------------------------------------------------ out of PySyncObj

    def send(self, peer: str, message: dict[str, object]) -> None:
        """Translate one message of PySyncObj's and pass it on; called by the transport."""
        assert self._outbox is not None
        if peer.endswith(_STAND_IN):
            return
        match message["type"]:
            case "append_entries" if "prevLogIdx" in message:
                assert "transmission" not in message, "an entry is over the message limit"
                self._outbox.outgoing(peer, append_entries(message))
            case "append_entries" if message.get("serialized") is None:
                # A snapshot is being written: without a pause PySyncObj would ask again at once.
                self._outbox.pause(peer)
            case "append_entries":
                chunk = cast("tuple[bytes, bool, bool]", message["serialized"])
                self._outbox.snapshot_chunk(peer, cast(int, message["term"]), chunk)
            case _:
                self._outbox.outgoing(peer, from_pysyncobj(message, self.term))

    def apply_entry(self, command: bytes) -> object:
        """Apply one log entry; never raises. Called by PySyncObj."""
        if self.failure is not None:
            return None  # PySyncObj goes on with the next entry; the machine must not.
        try:
            kind = command[0]
            if kind == ENTRY_COMMAND:
                return self._apply(self.applied_index + 1, command[1:])
            if kind in (_NO_OP_COMMAND, ENTRY_MEMBERS):
                return None  # A member list is in force since it was appended.
            raise StorageError(
                f"log entry {self.applied_index + 1} is of unknown type {kind}; this node stops "
                "rather than guess what it means"
            )
        except Exception as error:
            self.failure = self.failure or error
            return None

    def _serialize(self, _path: str, entries: tuple[LogEntry, LogEntry, object]) -> None:
        # PySyncObj renames `_path` after this returns and fails silently, because the file does
        # not exist: the child process that was started here does its own renaming.
        if self.failure is not None:
            raise self.failure  # The machine may lack an entry that could not be applied.
        try:
            self._snapshots.begin(entries[0], entries[1])
        except OSError:
            raise  # It has failed, as if its writer had, and is tried again.
        except Exception as error:  # PySyncObj would only count the snapshot as failed.
            self.failure = error
            raise

    def _deserialize(self, _path: str) -> tuple[JournalEntry, JournalEntry, list[Node]]:
        try:
            last, previous = self._snapshots.load()
        except Exception as error:
            self.failure = self.failure or error
            raise
        return last, previous, []


_STAND_IN: Final = " (not counted)"


def _stand_in(voter: str) -> str:
    """Return the name of the node that stands for a voter whose answers do not count."""
    return voter + _STAND_IN


def _counted_names(roll: Roll) -> list[str]:
    """Return the names of the nodes that PySyncObj counts, beside its own."""
    return [*roll.counted, *map(_stand_in, roll.absent)]


def _role(roll: Roll, peer: str) -> int:
    """Tell what a peer is for PySyncObj: a node, a read-only node, or nothing."""
    return 2 if peer in roll.counted else int(peer in roll.others)
