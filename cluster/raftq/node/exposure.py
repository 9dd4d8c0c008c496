"""What a node may open to a network: nothing that anybody could use, unless it is told to.

On loopback the machine's own users are trusted. Beyond it, peers must prove who they are and
clients must have tokens; `insecure` says that something else keeps strangers away.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from raftq.node.settings import Address, NodeConfig, address_text

_PEER_ADVICE = (
    "anybody who reaches that address could read, forge and delete every task. Give peer_tls_ca, "
    "peer_tls_cert and peer_tls_key (`raftq certs new` makes them)"
)
_CLIENT_ADVICE = (
    "anybody who reaches that address could use every queue. Give tokens_file (`raftq token new` "
    "makes its lines)"
)


def is_loopback(address: Address) -> bool:
    """Tell whether only this machine reaches an address; a name other than localhost may lead
    anywhere."""
    host = address[0].partition("%")[0]
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def exposures(config: NodeConfig) -> Iterator[tuple[str, str]]:
    """Return each address that is open to strangers, in words, and what would close it."""
    if config.peer_tls_ca is None and not is_loopback(config.peer):
        yield f"peer is {address_text(config.peer)}", _PEER_ADVICE
    for key, address in (("native", config.native), ("http", config.http)):
        if config.tokens_file is None and not is_loopback(address):
            yield f"{key} is {address_text(address)}", _CLIENT_ADVICE


def refusal(config: NodeConfig) -> str | None:
    """Return why this configuration must not be run, or None."""
    if config.insecure:
        return None
    for what, advice in exposures(config):
        return (
            f"{what}, which is not loopback, and {advice}, or --insecure if something else keeps "
            "strangers away; see docs/operating/security.md"
        )
    return None


def sends_tokens_in_the_clear(config: NodeConfig) -> bool:
    """Tell whether clients send their tokens over a network without TLS."""
    is_local = is_loopback(config.native) and is_loopback(config.http)
    return config.tokens_file is not None and config.client_tls_cert is None and not is_local


def incomplete(config: NodeConfig) -> str | None:
    """Return what is missing of settings that only make sense together, or None."""
    for keys in (
        ("peer_tls_ca", "peer_tls_cert", "peer_tls_key"),
        ("client_tls_cert", "client_tls_key"),
    ):
        missing = [key for key in keys if getattr(config, key) is None]
        if missing and len(missing) < len(keys):
            return f"{missing[0]} is missing: {', '.join(keys)} are given together or not at all"
    return None
