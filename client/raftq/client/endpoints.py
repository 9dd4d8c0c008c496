"""Which node to talk to: the addresses that were given, and what the cluster has told since."""

from collections.abc import Sequence
from random import Random
from typing import Final

from raftq.protocol.errors import InvalidRequest
from raftq.protocol.messages import NodeStatus

DEFAULT_PORT: Final = 7601
_SCHEME: Final = "raftq://"
Address = tuple[str, int]


def parse_addresses(addresses: str | Sequence[str]) -> list[Address]:
    """Return (host, port) pairs of `raftq://h:p,h:p`, `h:p,h` or a list of such.

    Raises:
        InvalidRequest: There is none, or one is malformed.
    """
    text = addresses if isinstance(addresses, str) else ",".join(addresses)
    parts = [part.strip() for part in text.removeprefix(_SCHEME).split(",") if part.strip()]
    if not parts:
        raise InvalidRequest("no address given; write for example 'raftq://127.0.0.1:7601'")
    return [_parse(part.removeprefix(_SCHEME)) for part in parts]


def _parse(text: str) -> Address:
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise InvalidRequest(f"{text!r} is no address; write host:port, like '127.0.0.1:7601'")
    return host, int(port)


class Endpoints:
    """The nodes of a cluster as a client knows them, and which to try next.

    Args:
        seeds: The addresses that the user gave.
        random: Chooses among equals.
    """

    def __init__(self, seeds: list[Address], random: Random) -> None:
        self._seeds = seeds
        self._random = random
        self._nodes: dict[str, Address] = {}
        self._leader: str | None = None
        self._failures: dict[Address, int] = {}
        """How often in a row an address failed; the least bad is tried first."""

    def learn(self, nodes: list[NodeStatus], leader: str | None) -> None:
        """Take over a node's answer to hello."""
        for node in nodes:
            if node.native_address:
                try:
                    self._nodes[node.id] = _parse(node.native_address)
                except InvalidRequest:
                    continue  # A node that advertises nonsense is reached by its given address.
        self._leader = leader

    def set_leader(self, leader: str | None) -> None:
        """A node pushed a leader change."""
        self._leader = leader

    def succeeded(self, address: Address) -> None:
        """An answer came from an address."""
        self._failures.pop(address, None)

    def failed(self, address: Address) -> None:
        """An address could not be reached, or did not answer."""
        self._failures[address] = self._failures.get(address, 0) + 1

    def choose(self) -> Address:
        """Return the leader if it is known and well, else one of the least bad nodes."""
        leader = self._nodes.get(self._leader or "")
        if leader is not None and not self._failures.get(leader):
            return leader
        known = list(dict.fromkeys([*self._nodes.values(), *self._seeds]))
        fewest = min(self._failures.get(address, 0) for address in known)
        return self._random.choice(
            [address for address in known if self._failures.get(address, 0) == fewest]
        )
