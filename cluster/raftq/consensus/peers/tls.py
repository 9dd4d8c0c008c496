"""How nodes prove to each other who they are: mutual TLS with a CA of the cluster.

A link is trusted only if the certificate of the other side was signed by that CA and names the
node that the hello claims (`credentials.node_uri`). Host names are not looked at: addresses
change, and whoever has a node's key is that node wherever it runs.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tornado.iostream import SSLIOStream

from raftq.consensus.peers.network import Stream
from raftq.protocol.credentials import NODE_URI_PREFIX
from raftq.protocol.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class PeerTls:
    """The two sides of this node's links."""

    accepting: ssl.SSLContext
    dialling: ssl.SSLContext


def load_peer_tls(ca: Path, certificate: Path, key: Path) -> PeerTls:
    """Read this node's credentials. Both sides of our links are raftq, so only TLS 1.3 is spoken.

    Raises:
        OSError: A file cannot be read, or is not what it should be (`ssl.SSLError`).
    """
    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    accepting.verify_mode = ssl.CERT_REQUIRED
    # A resumed session would skip the proof; links live long enough to make one each time.
    accepting.num_tickets = 0
    dialling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    dialling.check_hostname = False
    for context in (accepting, dialling):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(ca)
    return PeerTls(accepting, dialling)


def proven_node(stream: Stream) -> str:
    """Return the id of the node that the other side of a link proved to be.

    Raises:
        InvalidRequest: Its certificate names no node, or several, or there is none.
    """
    certificate = _certificate(stream)
    names = cast("tuple[tuple[str, str], ...]", certificate.get("subjectAltName", ()))
    nodes = [
        value.removeprefix(NODE_URI_PREFIX)
        for kind, value in names
        if kind == "URI" and value.startswith(NODE_URI_PREFIX)
    ]
    if len(nodes) != 1:
        raise InvalidRequest(
            f"its certificate names {len(nodes)} nodes; it must name one, as {NODE_URI_PREFIX}ID "
            "among its subject alternative names"
        )
    return nodes[0]


def _certificate(stream: Stream) -> dict[str, Any]:
    """Return the verified certificate of the other side; empty if there is none."""
    if not isinstance(stream, SSLIOStream) or stream.closed():
        return {}
    return dict(stream.socket.getpeercert() or {})
