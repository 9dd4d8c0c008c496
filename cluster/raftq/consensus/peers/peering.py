"""The traffic between this node's parts and its peers: who hears which message.

In: link → elector (may it pass?) → guard → PySyncObj. Out: PySyncObj → elector (tag) → guard →
link. Also decides when PySyncObj may send to a peer at all: not while there is no link, while too
many bytes wait, or while the snapshot that the peer needs is being written.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from raftq.consensus.peers.forwarding import Forwarder
from raftq.consensus.peers.links import Links, Refusal
from raftq.consensus.peers.messages import (
    AppendEntries,
    ForwardedCall,
    ForwardedCancel,
    ForwardedError,
    ForwardedReply,
    MembershipMessage,
    NextIndex,
    NotMember,
    PeerHello,
    PeerMessage,
    ProbationEnded,
    ProbationProven,
    RaftMessage,
    RequestVote,
    SnapshotPart,
    TimeoutNow,
    Vote,
)
from raftq.consensus.raft.elector import Elector
from raftq.consensus.raft.engine import Engine
from raftq.consensus.raft.guard import Guard
from raftq.consensus.raft.snapshot_stream import SnapshotSender
from raftq.protocol import limits

_PAUSE_SECONDS: Final = 0.1
_RAFT_MESSAGES: Final = (AppendEntries, SnapshotPart, NextIndex, RequestVote, Vote, TimeoutNow)
_MEMBERSHIP_MESSAGES: Final = (NotMember, ProbationProven, ProbationEnded)
_FORWARD_MESSAGES: Final = (ForwardedCall, ForwardedReply, ForwardedError, ForwardedCancel)


class Gate(Protocol):
    """Who is let in, and what is said about membership; see `membership.py`."""

    def introduce(self, peer: str) -> PeerHello:
        """Return this node's hello for a peer."""
        ...

    def refuse(self, hello: PeerHello) -> Refusal | None:
        """Return why a hello must be refused, or None."""
        ...

    def meet(self, peer: str, hello: PeerHello) -> None:
        """A link to a peer is up."""
        ...

    def on_message(self, peer: str, message: MembershipMessage) -> None:
        """A peer speaks of membership."""
        ...


class Peering:
    """Joins links, elector, guard, engine and forwarder of one node.

    Implements `LinkReceiver` for the links, `Wire` for the guard and `Outbox` for the engine. The
    parts are given by `join`, because they need this object first.

    Args:
        links: The connections.
        clock: Monotonic seconds.
        boot_id: Unique for this process.
        wake: Schedules the pump.
        stop_with: Stops this node because of an error.
    """

    def __init__(
        self,
        links: Links,
        clock: Callable[[], float],
        boot_id: str,
        wake: Callable[[], None],
        stop_with: Callable[[BaseException], None],
    ) -> None:
        self._links = links
        self._clock = clock
        self._wake = wake
        self._stop_with = stop_with
        self._snapshot_sender = SnapshotSender(boot_id)
        self._paused: dict[str, float] = {}
        self._congested: set[str] = set()
        self._sent_bytes: dict[str, int] = {}
        """Snapshot bytes sent to each peer since it was last held back."""
        self.facts: dict[str, Mapping[str, str]] = {}
        """What each peer said about itself when it was last met."""
        self.is_silent = False
        """Set when this node stopped: nothing is sent or heard any more."""

    def join(
        self,
        engine: Engine,
        guard: Guard,
        elector: Elector,
        forwarder: Forwarder,
        gate: Gate,
        snapshot_identity: Callable[[], tuple[int, int]],
    ) -> None:
        """Give the parts that this object connects."""
        self._engine = engine
        self._guard = guard
        self._elector = elector
        self._forwarder = forwarder
        self._gate = gate
        self._snapshot_identity = snapshot_identity

    # ------------------------------------------------------------ from the links

    def hello_for(self, peer: str) -> PeerHello:
        """Return this node's introduction for a peer."""
        return self._gate.introduce(peer)

    def refuse(self, hello: PeerHello) -> Refusal | None:
        """Return why the sender of a hello must not be talked to, or None."""
        return self._gate.refuse(hello)

    def on_link_up(self, peer: str, hello: PeerHello) -> None:
        """A peer can be reached on a fresh connection."""
        self.facts[peer] = hello.facts
        self._forget_connection(peer)
        self._paused.pop(peer, None)
        self._congested.discard(peer)
        try:
            self._gate.meet(peer, hello)
        except Exception as error:
            self._stop_with(error)
            return
        self._offer(peer)
        self._wake()

    def on_link_down(self, peer: str) -> None:
        """The connection to a peer is gone."""
        self._forget_connection(peer)
        self._engine.set_connected(peer, False)
        self._forwarder.on_link_down(peer)
        if self._engine.leader == peer and not self._engine.is_leader:
            self._elector.on_leader_connection_lost()
        self._wake()

    def _forget_connection(self, peer: str) -> None:
        self._guard.on_connection_changed(peer)
        self._snapshot_sender.forget(peer)
        self._sent_bytes.pop(peer, None)
        self._engine.forget_connection(peer)

    def on_message(self, peer: str, message: PeerMessage) -> None:
        """Handle one message of a peer's live link."""
        if self.is_silent:
            return
        try:
            if isinstance(message, _FORWARD_MESSAGES):
                self._forwarder.on_message(peer, message)
            elif isinstance(message, _RAFT_MESSAGES):
                if self._elector.admits(peer, message):
                    self._guard.incoming(peer, message)
            elif isinstance(message, _MEMBERSHIP_MESSAGES):
                self._gate.on_message(peer, message)
            elif not isinstance(message, PeerHello):
                self._elector.on_message(peer, message)
        except Exception as error:
            self._stop_with(error)
        self._wake()

    def on_congestion(self, peer: str, is_congested: bool) -> None:
        """Stop or resume replication to a peer that takes its bytes too slowly."""
        if is_congested:
            self._congested.add(peer)
            self._engine.set_connected(peer, False)
        else:
            self._congested.discard(peer)
            self._offer(peer)

    # ------------------------------------------------------------ from PySyncObj

    def outgoing(self, peer: str, message: RaftMessage) -> None:
        """Take a message of PySyncObj's."""
        self._guard.outgoing(peer, self._elector.tag(message))

    def snapshot_chunk(self, peer: str, term: int, chunk: tuple[bytes, bool, bool]) -> None:
        """Send one chunk of the current snapshot."""
        part = self._snapshot_sender.part(peer, term, chunk, self._snapshot_identity())
        self.send(peer, part)
        sent_bytes = self._sent_bytes.get(peer, 0) + len(part.data)
        if sent_bytes >= limits.SNAPSHOT_BYTES_PER_TURN:
            # PySyncObj would go on for as long as a heartbeat's period, and hold up everybody.
            sent_bytes = 0
            self._hold_back(peer, 0.0)
        self._sent_bytes[peer] = sent_bytes

    def pause(self, peer: str) -> None:
        """Offer nothing to a peer for a moment: the snapshot it needs is being written."""
        self._hold_back(peer, _PAUSE_SECONDS)

    def _hold_back(self, peer: str, seconds: float) -> None:
        """Offer nothing to a peer until the first turn of the timer after some time."""
        self._paused[peer] = self._clock() + seconds
        self._engine.set_connected(peer, False)

    @property
    def is_sending_snapshot(self) -> bool:
        """Whether a peer is in the middle of a snapshot, which another one would break off."""
        return self._snapshot_sender.is_sending

    # ------------------------------------------------------------ to the links

    def send(self, peer: str, message: PeerMessage) -> bool:
        """Send a message that needs no further check; False if there is no link."""
        return not self.is_silent and self._links.send(peer, message)

    @property
    def has_paused(self) -> bool:
        """Whether a pause is to be ended."""
        return bool(self._paused)

    def resume(self, now: float) -> None:
        """End the pauses that are over."""
        for peer in [peer for peer, until in self._paused.items() if until <= now]:
            del self._paused[peer]
            self._offer(peer)

    def _offer(self, peer: str) -> None:
        """Let PySyncObj send to a peer again, if nothing else holds it back."""
        is_held = peer in self._paused or peer in self._congested
        if not is_held and self._links.is_linked(peer):
            self._engine.set_connected(peer, True)
