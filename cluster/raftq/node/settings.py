"""The settings of one node: one table, from which flags, environment, file and docs follow."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from raftq.protocol import limits
from raftq.protocol.fields import NAME_PATTERN

Address = tuple[str, int]
_MEMBERS_MAX: Final = 7
_EVERYWHERE: Final = ("0.0.0.0", "::")


class BadSetting(ValueError):
    """A value is not allowed; the text says what is."""


def _name(text: str) -> str:
    if not re.match(NAME_PATTERN, text):
        raise BadSetting("1 to 128 letters, digits, dots, dashes or underscores")
    return text


def _path(text: str) -> Path:
    if not text:
        raise BadSetting("a path")
    return Path(text)


def parse_address(text: str) -> Address:
    """Return (host, port) of `host:port`; an IPv6 host stands in brackets."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    number = _whole(port)
    if not separator or not host or number is None or not 1 <= number <= 65_535:
        raise BadSetting("host:port with a port from 1 to 65535, like 127.0.0.1:7601")
    return host, number


def _whole(text: str) -> int | None:
    """Return a whole number, or None; Python refuses to read thousands of digits."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def address_text(address: Address) -> str:
    """Return `host:port`."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _optional_address(text: str) -> Address | None:
    return parse_address(text) if text else None


def _optional_file(text: str) -> Path | None:
    if text and not Path(text).is_file():
        raise BadSetting("a file that exists, or nothing")
    return Path(text) if text else None


def _yes_or_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise BadSetting("true or false")
    return text == "true"


def _members(text: str) -> dict[str, Address]:
    allowed = (
        "the ids and peer addresses of all members, this one included, like "
        f"n1=127.0.0.1:7621,n2=127.0.0.1:7622,n3=127.0.0.1:7623 (1 to {_MEMBERS_MAX} of them)"
    )
    members: dict[str, Address] = {}
    for part in text.split(","):
        node, separator, address = part.strip().partition("=")
        if not separator or node in members:
            raise BadSetting(allowed)
        try:
            members[_name(node)] = parse_address(address)
        except BadSetting:
            raise BadSetting(allowed) from None
    if len(members) > _MEMBERS_MAX:
        raise BadSetting(allowed)
    if len(set(members.values())) < len(members):
        raise BadSetting(f"addresses that differ: {allowed}")
    return members


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = _whole(text)
        if number is None or not low <= number <= high:
            raise BadSetting(f"a whole number from {low} to {high}")
        return number

    return parse


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise BadSetting(" or ".join(allowed))
        return text

    return parse


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: how it is called, parsed and explained. No default means it is required."""

    key: str
    parse: Callable[[str], object]
    text: str
    default: str | None = None
    is_switch: bool = False
    """Whether its flag alone means `true`."""

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return "RAFTQ_" + self.key.upper()


SETTINGS: Final = (
    Setting("node_id", _name, "This node's id; it never changes."),
    Setting("data_dir", _path, "The data folder; made if it does not exist."),
    Setting("native", parse_address, "Where clients' native protocol is served.", "127.0.0.1:7601"),
    Setting("http", parse_address, "Where HTTP is served.", "127.0.0.1:7611"),
    Setting("peer", parse_address, "Where the other nodes connect to.", "127.0.0.1:7621"),
    Setting(
        "advertise_native",
        _optional_address,
        "What clients are told instead of `native`, if they reach this node another way. A node "
        "that listens everywhere (0.0.0.0) tells them the host of its peer address.",
        "",
    ),
    Setting("advertise_http", _optional_address, "What clients are told instead of `http`.", ""),
    Setting("cluster", _members, "All members: `id=host:port,…` with their peer addresses."),
    Setting(
        "election_timeout_ms",
        _number(100, 60_000),
        "Silence of the leader after which a follower asks for votes (to twice this).",
        "500",
    ),
    Setting(
        "snapshot_entries",
        _number(10, 10_000_000),
        "Log entries after which a snapshot is written.",
        str(limits.SNAPSHOT_AFTER_ENTRIES),
    ),
    Setting(
        "drain_timeout_ms",
        _number(0, 600_000),
        "How long a stopping node hands over and finishes calls.",
        "10000",
    ),
    Setting("log_level", _one_of("debug", "info", "warning", "error"), "What is logged.", "info"),
    Setting(
        "log_format",
        _one_of("auto", "json", "text"),
        "`auto` is text on a terminal and JSON lines elsewhere.",
        "auto",
    ),
    Setting(
        "peer_tls_ca",
        _optional_file,
        "The CA that signed the certificates of all nodes, in PEM. With this, `peer_tls_cert` and "
        "`peer_tls_key`, nodes prove to each other who they are.",
        "",
    ),
    Setting(
        "peer_tls_cert",
        _optional_file,
        "This node's certificate, which names it as `raftq://node/ID`.",
        "",
    ),
    Setting("peer_tls_key", _optional_file, "The private key of `peer_tls_cert`.", ""),
    Setting(
        "client_tls_cert",
        _optional_file,
        "The certificate shown to clients, native and HTTP, who then must speak TLS.",
        "",
    ),
    Setting("client_tls_key", _optional_file, "The private key of `client_tls_cert`.", ""),
    Setting(
        "tokens_file",
        _optional_file,
        "Who may call this node: lines of `raftq token new`. Read again when it changes.",
        "",
    ),
    Setting(
        "metrics_open",
        _yes_or_no,
        "Whether `/metrics` is served without a token; it shows the names of queues.",
        "false",
        is_switch=True,
    ),
    Setting(
        "join",
        _yes_or_no,
        "Join a cluster that exists: wait to be added with `raftq cluster add`. It counts only "
        "while the data folder is made.",
        "false",
        is_switch=True,
    ),
    Setting(
        "insecure",
        _yes_or_no,
        "Whether to listen beyond this machine without `peer_tls_*` or `tokens_file`.",
        "false",
        is_switch=True,
    ),
)
"""Every setting of a node, in the order of the documentation."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """The parsed settings of a node."""

    node_id: str
    data_dir: Path
    native: Address
    http: Address
    peer: Address
    advertise_native: Address | None
    advertise_http: Address | None
    cluster: dict[str, Address]
    election_timeout_ms: int
    snapshot_entries: int
    drain_timeout_ms: int
    log_level: str
    log_format: str
    peer_tls_ca: Path | None = None
    peer_tls_cert: Path | None = None
    peer_tls_key: Path | None = None
    client_tls_cert: Path | None = None
    client_tls_key: Path | None = None
    tokens_file: Path | None = None
    metrics_open: bool = False
    join: bool = False
    insecure: bool = False
    sources: dict[str, str] = field(default_factory=dict[str, str], compare=False)
    """Where each value came from, in words."""

    @property
    def facts(self) -> dict[str, str]:
        """Addresses that the other nodes tell clients."""
        return {
            "native": self._advertised(self.advertise_native, self.native),
            "http": self._advertised(self.advertise_http, self.http),
        }

    def _advertised(self, advertised: Address | None, bound: Address) -> str:
        """Return where clients reach a listener: what listens everywhere has no address of its
        own, and is reached at the host that the peers use."""
        host, port = bound
        if host in _EVERYWHERE:
            host = self.cluster[self.node_id][0]
        return address_text(advertised or (host, port))


assert [each.key for each in SETTINGS] == [each.name for each in fields(NodeConfig)][:-1]
