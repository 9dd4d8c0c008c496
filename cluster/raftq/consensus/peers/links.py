"""The seam between a replica and its peers' sockets: one live link for each pair of nodes."""

from collections.abc import Mapping
from typing import Protocol

from raftq.consensus.peers.messages import PeerHello, PeerMessage


class LinkReceiver(Protocol):
    """Told on the event loop what happens on the links. Nothing of a superseded link arrives."""

    def hello_for(self, peer: str) -> PeerHello:
        """Return what this node says first on a new link."""
        ...

    def refuse(self, hello: PeerHello) -> str | None:
        """Return why the sender of this hello must not be talked to, or None."""
        ...

    def on_link_up(self, peer: str, hello: PeerHello) -> None: ...
    def on_link_down(self, peer: str) -> None: ...
    def on_message(self, peer: str, message: PeerMessage) -> None: ...
    def on_congestion(self, peer: str, is_congested: bool) -> None:
        """Too many bytes wait for this peer, or no longer."""
        ...


class Links(Protocol):
    """Connections to all other members."""

    async def start(self, receiver: LinkReceiver) -> None: ...
    async def stop(self) -> None: ...
    def send(self, peer: str, message: PeerMessage) -> bool:
        """Queue a message; False if there is no link. Order is kept within a link."""
        ...

    def reachable(self) -> Mapping[str, bool]:
        """Return for each peer whether a link to it is up."""
        ...
