"""Which node to talk to: the addresses that were given, and what the cluster has told since."""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from raftq.protocol.errors import InvalidRequest
from raftq.protocol.statuses import NodeStatus

DEFAULT_PORT: Final = 7601
_SCHEME: Final = "raftq://"
FORGIVEN_AFTER_SECONDS: Final = 5.0
"""After this a failure counts no more, so that a leader that was slow once is used again."""
_NAMED: Final = re.compile(r"(?P<host>[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?\Z")
_BRACKETED: Final = re.compile(r"\[(?P<host>[0-9A-Fa-f:.]+(%\w+)?)\](:(?P<port>[0-9]{1,5}))?\Z")
_BARE_IPV6: Final = re.compile(r"(?P<host>[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*)(?P<port>)\Z")
Address = tuple[str, int]


def parse_addresses(addresses: str | Sequence[str]) -> list[Address]:
    """Return (host, port) pairs of `raftq://h:p,h:p`, `h:p,h` or a list of such.

    Raises:
        InvalidRequest: There is none, or one is malformed.
    """
    text = addresses if isinstance(addresses, str) else ",".join(addresses)
    if "raftqs://" in text:
        raise InvalidRequest(
            "there is no scheme raftqs://; write raftq://, and tls_ca (RAFTQ_TLS_CA) turns TLS on"
        )
    parts = [part.strip() for part in text.removeprefix(_SCHEME).split(",") if part.strip()]
    if not parts:
        raise InvalidRequest("no address given; write for example 'raftq://127.0.0.1:7601'")
    return [_parse(part.removeprefix(_SCHEME)) for part in parts]


def _parse(text: str) -> Address:
    match = _NAMED.match(text) or _BRACKETED.match(text) or _BARE_IPV6.match(text)
    if match is None or not 0 < int(match["port"] or DEFAULT_PORT) < 65_536:
        raise InvalidRequest(f"{text!r} is no address; write host:port, like '127.0.0.1:7601'")
    return match["host"], int(match["port"] or DEFAULT_PORT)


class Endpoints:
    """The nodes of a cluster as a client knows them, and which to try next.

    Args:
        seeds: The addresses that the user gave.
        random: Chooses among equals.
        clock: Monotonic seconds; failures fade.
    """

    def __init__(self, seeds: list[Address], random: Random, clock: Callable[[], float]) -> None:
        self._seeds = seeds
        self._random = random
        self._clock = clock
        self._nodes: dict[str, Address] = {}
        self._leader: str | None = None
        self._term = 0
        self._failures: dict[Address, tuple[int, float]] = {}
        """How often in a row an address failed, and when last; the least bad is tried first."""
        self._leaving: dict[Address, float] = {}
        """When an address said that it shuts down: its last answers do not make it well again."""

    def learn(self, nodes: list[NodeStatus], leader: str | None) -> None:
        """Take over a node's answer to hello.

        It carries no term, so it may be older than what is known; it counts only while nothing
        better does.
        """
        found: dict[str, Address] = {}
        for node in nodes:
            address = _advertised(node) or self._nodes.get(node.id)
            if address is not None:
                found[node.id] = address
        self._nodes = found
        known = {*found.values(), *self._seeds}
        self._failures = {each: self._failures[each] for each in self._failures if each in known}
        self._leaving = {each: self._leaving[each] for each in self._leaving if each in known}
        if self._well_leader() is None:
            self._leader = leader

    def set_leader(self, leader: str | None, term: int) -> None:
        """Take over a pushed leader change; one of an older term is a node that lags.

        A new leader has just been heard by a majority, so its old failures are forgotten.
        """
        if term < self._term:
            return
        if leader is not None and (term > self._term or leader != self._leader):
            self.succeeded(self._nodes.get(leader, ("", 0)))
        self._leader, self._term = leader, term

    def not_leader(self, address: Address, leader: str | None) -> None:
        """Take over an address's answer that another node leads, if it knows which."""
        if leader is None or self._nodes.get(leader) == address:
            self.failed(address)
        self._leader = leader

    def succeeded(self, address: Address) -> None:
        """An answer came from an address."""
        self._failures.pop(address, None)

    def failed(self, address: Address) -> None:
        """An address could not be reached, did not answer, or cannot serve."""
        self._failures[address] = (self._failures_of(address) + 1, self._clock())

    def leaving(self, address: Address) -> None:
        """An address shuts down; it still answers the calls that it has."""
        self._leaving[address] = self._clock()

    @property
    def known(self) -> list[Address]:
        """Every address that might serve."""
        return list(dict.fromkeys([*self._nodes.values(), *self._seeds]))

    def choose(self, any_will_do: bool = False) -> Address:
        """Return the leader if it is known and well, else one of the least bad nodes.

        Args:
            any_will_do: Whether the leader is wanted no more than others.
        """
        leader = None if any_will_do else self._well_leader()
        if leader is not None:
            return leader
        known = self.known
        fewest = min(self._failures_of(address) for address in known)
        return self._random.choice(
            [address for address in known if self._failures_of(address) == fewest]
        )

    def _well_leader(self) -> Address | None:
        leader = self._nodes.get(self._leader or "")
        return leader if leader is not None and not self._failures_of(leader) else None

    def _failures_of(self, address: Address) -> int:
        if address not in self._failures and address not in self._leaving:
            return 0
        since = self._clock() - FORGIVEN_AFTER_SECONDS
        count, failed_at = self._failures.get(address, (0, since))
        is_leaving = self._leaving.get(address, since) > since
        return (count if failed_at > since else 0) + is_leaving


def _advertised(node: NodeStatus) -> Address | None:
    """Return a node's address, or None: one that advertises nonsense is reached as given."""
    try:
        return _parse(node.native_address) if node.native_address else None
    except InvalidRequest:
        return None
