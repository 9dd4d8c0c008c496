"""The certificates of one node, read and checked.

They are checked before anything is opened: an expired certificate, or one of another node, is said
with the name of its setting, and not found out later by the peers that refuse it.
"""

import logging
import ssl
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from raftq.consensus.peers.tls import PeerTls, load_peer_tls
from raftq.node.config import ConfigError
from raftq.node.settings import NodeConfig
from raftq.protocol.credentials import NODE_URI_PREFIX, node_uri

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Certificates:
    """The contexts of one reading, and when each certificate in use expires (seconds, Unix)."""

    peer: PeerTls | None
    client: ssl.SSLContext | None
    expire_at: dict[str, float]


def load_certificates(config: NodeConfig) -> Certificates:
    """Read the certificates and keys that the settings name.

    Raises:
        ConfigError: One is unusable, expired, or not this node's.
    """
    peer: PeerTls | None = None
    client: ssl.SSLContext | None = None
    expire_at: dict[str, float] = {}
    if config.peer_tls_ca and config.peer_tls_cert and config.peer_tls_key:
        _require_private(config.peer_tls_key)
        expire_at["peer"] = _expiry("peer_tls_cert", config.peer_tls_cert, config.node_id)
        try:
            peer = load_peer_tls(config.peer_tls_ca, config.peer_tls_cert, config.peer_tls_key)
        except OSError as error:
            raise _unusable("peer_tls_ca, peer_tls_cert and peer_tls_key", error) from None
    if config.client_tls_cert and config.client_tls_key:
        _require_private(config.client_tls_key)
        expire_at["client"] = _expiry("client_tls_cert", config.client_tls_cert, None)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        client.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            client.load_cert_chain(config.client_tls_cert, config.client_tls_key)
        except OSError as error:
            raise _unusable("client_tls_cert and client_tls_key", error) from None
    return Certificates(peer, client, expire_at)


def _unusable(keys: str, error: OSError) -> ConfigError:
    return ConfigError(f"{keys} cannot be used together: {error}")


def _require_private(key: Path) -> None:
    """Warn of a key that every user of the machine can read.

    Not refused: secrets that are mounted into containers often have no better mode.
    """
    try:
        is_open = key.stat().st_mode & stat.S_IROTH
    except OSError:
        return  # Said better when it is read.
    if is_open:
        _log.warning("key_file_is_open", extra={"path": str(key), "advice": "chmod 600"})


def _expiry(setting: str, path: Path, node: str | None) -> float:
    """Return when a certificate expires; a peer's must name its node."""
    from cryptography import x509  # Slow to import, and of no use to a node without certificates.

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = [
            uri
            for extension in certificate.extensions
            if isinstance(extension.value, x509.SubjectAlternativeName)
            for uri in extension.value.get_values_for_type(x509.UniformResourceIdentifier)
            if uri.startswith(NODE_URI_PREFIX)
        ]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{setting} is {str(path)!r}, which cannot be read: {error}") from None
    until = certificate.not_valid_after_utc
    if until.timestamp() <= time.time():
        raise ConfigError(
            f"{setting} is {str(path)!r}, which expired on {until:%Y-%m-%d %H:%M} UTC; make a new "
            "one with `raftq certs new`"
        )
    if node is not None and names != [node_uri(node)]:
        raise ConfigError(
            f"{setting} is {str(path)!r}, which names {', '.join(names) or 'no node'}; this node "
            f"needs one that names {node_uri(node)} and nothing else of that kind"
        )
    return until.timestamp()
