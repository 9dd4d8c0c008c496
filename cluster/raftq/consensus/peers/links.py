"""The seam between a replica and its peers' sockets: one live link for each pair of nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from raftq.consensus.peers.messages import PeerHello, PeerMessage


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the sender of a hello must not be talked to, and what it is told before the end."""

    reason: str
    farewell: PeerMessage | None = None


class LinkReceiver(Protocol):
    """Told on the event loop what happens on the links. Nothing of a superseded link arrives."""

    def hello_for(self, peer: str) -> PeerHello:
        """Return what this node says first on a new link."""
        ...

    def refuse(self, hello: PeerHello) -> Refusal | None:
        """Return why the sender of this hello must not be talked to, or None."""
        ...

    def on_link_up(self, peer: str, hello: PeerHello) -> None: ...
    def on_link_down(self, peer: str) -> None: ...
    def on_message(self, peer: str, message: PeerMessage) -> None: ...
    def on_congestion(self, peer: str, is_congested: bool) -> None:
        """Too many bytes wait for this peer, or no longer."""
        ...


class Links(Protocol):
    """Connections to all other members, and from nodes that know a newer member list."""

    async def start(self, receiver: LinkReceiver) -> None: ...
    async def stop(self) -> None: ...
    def send(self, peer: str, message: PeerMessage) -> bool:
        """Queue a message; False if there is no link. Order is kept within a link."""
        ...

    def is_linked(self, peer: str) -> bool:
        """Tell whether a link to a peer is up."""
        ...

    def reachable(self) -> Mapping[str, bool]:
        """Return for each peer, and each linked node, whether a link to it is up."""
        ...

    def set_peers(self, peers: Mapping[str, Sequence[tuple[str, int]]]) -> None:
        """Keep links to these nodes, and end those to others; each has addresses to try."""
        ...

    def end(self, peer: str) -> None:
        """End the link to a node, if there is one, after what is queued for it."""
        ...
