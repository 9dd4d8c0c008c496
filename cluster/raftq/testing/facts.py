"""What the harness saw inside the nodes, in the order in which it happened.

Everything here is optional: a rule whose facts are missing has nothing to say. Times are those of
the history's clock.
"""

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct, field

from raftq.core.machine import Machine


class NodeStarted(Struct, frozen=True, tag="started"):
    """A node's process began: whatever it applied before is applied anew from its disk."""

    at_ms: float
    node: str
    is_wiped: bool = False
    """It begins with an empty data folder, so its term may go back, too."""


class NodeSeen(Struct, frozen=True, tag="seen"):
    """How far a node was at an instant."""

    at_ms: float
    node: str
    term: int
    commit_index: int
    applied_index: int


class LeaderSeen(Struct, frozen=True, tag="leader"):
    """A node believed to lead a term."""

    at_ms: float
    node: str
    term: int


class AppliedEntry(Struct, frozen=True, tag="applied"):
    """A node applied a log entry."""

    at_ms: float
    node: str
    index: int
    term: int
    """The entry's; 0 if the harness does not know it."""
    crc: int
    """Of the entry's bytes."""
    state_hash: str
    """Of the machine after the entry."""
    node_term: int | None = None
    """The term in which the node was: the entry was committed in it or before."""


class SnapshotInstalled(Struct, frozen=True, tag="snapshot"):
    """A node replaced its machine by a snapshot, its own at the start or a peer's."""

    at_ms: float
    node: str
    index: int
    state_hash: str


class LogSeen(Struct, frozen=True, tag="log"):
    """A node's log from `first_index` on; what is below is in its snapshot."""

    at_ms: float
    node: str
    first_index: int
    terms: list[int]
    crcs: list[int]
    leads_term: int | None = None
    """The term that the node led at this instant; record one of these at each election."""


class LeaseExpired(Struct, frozen=True, tag="expired"):
    """A node's machine let a lease run out."""

    at_ms: float
    node: str
    task_id: bytes
    token: int


NodeEvent: TypeAlias = (
    NodeStarted | NodeSeen | LeaderSeen | AppliedEntry | SnapshotInstalled | LogSeen | LeaseExpired
)


class ClusterFacts(Struct):
    """What the harness saw inside the nodes."""

    events: list[NodeEvent] = field(default_factory=list[NodeEvent])
    """In the order in which they happened."""
    machines: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])
    """The final state of each node: the chunks of its machine's dump."""
    machine_indexes: dict[str, int] = field(default_factory=dict[str, int])
    """The log index that each final state stands for."""
    is_drained: bool = False
    """True if the harness drained the queues at the end: then no task may be waiting."""

    def keep_machine(self, node: str, index: int, machine: Machine) -> None:
        """Record the final state of a node."""
        self.machines[node] = list(machine.dump())
        self.machine_indexes[node] = index


_encode: Final = msgspec.json.Encoder().encode
_event_decoder: Final[msgspec.json.Decoder[NodeEvent]] = msgspec.json.Decoder(NodeEvent)
_facts_decoder: Final = msgspec.json.Decoder(ClusterFacts)


def dump_facts(facts: ClusterFacts) -> Iterator[bytes]:
    """Yield the facts as JSON lines: the events, then one line with the rest."""
    for event in facts.events:
        yield _encode(event) + b"\n"
    rest = ClusterFacts([], facts.machines, facts.machine_indexes, facts.is_drained)
    yield _encode(rest) + b"\n"


def load_facts(lines: Iterable[bytes]) -> ClusterFacts:
    """Return the facts that were dumped.

    Raises:
        msgspec.MsgspecError: A line is neither an event nor the end.
    """
    *events, rest = [line for line in lines if line.strip()]
    facts = _facts_decoder.decode(rest)
    facts.events.extend(_event_decoder.decode(line) for line in events)
    return facts
