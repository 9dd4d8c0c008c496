"""A node that lost its disk may not act on promises that it no longer remembers.

A node with an empty folder that meets a cluster was either never a part of it, or has forgotten
whom it voted for and what it acknowledged. If it voted at once, a committed entry could be lost:
the leader and n2 have it, n3 does not; n2 comes back empty, the leader dies, n3 and n2 elect n3.

So it is *on probation*, durably: it votes for nobody, campaigns never, and the leader counts none
of its answers, though it still counts it as a voter. The probation ends with an entry that the
leader proposed **after** it met the node, that is committed **without** it, and that it now holds:

- the majority without it holds that entry, so a candidate whom the node voted for in its former
  life, and who lacks it, finds no majority any more;
- that majority had heard of no newer leader, so what the leader committed by then is all there was.

It then votes only in later terms than the one in which that happened.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol


class Memory(StrEnum):
    """What a node knows of its own past, as it says in its hello."""

    KEPT = "kept"
    """Everything that it promised."""
    FRESH = "fresh"
    """Nothing: its folder is new, and it took part in nothing."""
    LOST = "lost"
    """It is on probation."""


class Promises(Protocol):
    """Where it is written down, on this node's disk."""

    @property
    def cluster_id(self) -> str | None: ...
    @property
    def is_on_probation(self) -> bool: ...
    @property
    def votes_after_term(self) -> int: ...
    def begin_probation(self) -> None:
        """Return once it is durable that this node may not vote."""
        ...

    def end_probation(self, term: int) -> None:
        """Return once it is durable that this node may vote in terms after this one."""
        ...


class Probation:
    """This node's own side.

    Args:
        promises: Where it is written down.
        term: Returns the newest term that this node took part in.
    """

    def __init__(self, promises: Promises, term: Callable[[], int]) -> None:
        self._promises = promises
        self._term = term

    @property
    def memory(self) -> Memory:
        """What this node may say of its past."""
        if self._promises.is_on_probation:
            return Memory.LOST
        is_fresh = self._promises.cluster_id is None and self._term() == 0
        return Memory.FRESH if is_fresh else Memory.KEPT

    def meet(self, cluster_id: str | None) -> None:
        """Go on probation if a peer belongs to a cluster already and this node begins empty.

        Where nobody has a cluster id, a cluster is being founded, and everybody votes.
        """
        if cluster_id is not None and self.memory is Memory.FRESH:
            self._promises.begin_probation()

    def may_vote(self, term: int) -> bool:
        """Tell whether this node may vote in a term."""
        return not self._promises.is_on_probation and term > self._promises.votes_after_term

    @property
    def may_campaign(self) -> bool:
        """Whether this node may ask for votes."""
        return not self._promises.is_on_probation

    def end(self, term: int) -> None:
        """The leader of a term says that it is over."""
        if self._promises.is_on_probation:
            self._promises.end_probation(term)


class Trust:
    """Whose answers this node counts, as a leader; kept on every node, for it may lead later."""

    def __init__(self) -> None:
        self._met_at: dict[str, int] = {}

    @property
    def untrusted(self) -> tuple[str, ...]:
        """Peers whose answers do not count."""
        return tuple(self._met_at)

    def meet(self, peer: str, memory: Memory, cluster_id: str | None, last_index: int) -> None:
        """Judge a peer by its hello.

        Args:
            peer: Who it is.
            memory: What it says of its past.
            cluster_id: Of this node; None if the cluster is being founded.
            last_index: The end of this node's log.
        """
        if memory is Memory.LOST or (memory is Memory.FRESH and cluster_id is not None):
            self._met_at[peer] = last_index
        else:
            self._met_at.pop(peer, None)

    def on_leadership(self, last_index: int) -> None:
        """Begin to lead: what counts is proposed from here on."""
        self._met_at = dict.fromkeys(self._met_at, last_index)

    def trust(self, peer: str) -> None:
        """Count a peer's answers from now on: its probation is over."""
        self._met_at.pop(peer, None)

    def proven(self, peer: str, committed_index: int | None, matched_index: int) -> bool:
        """Tell whether the probation of a peer can end: it holds a committed entry from after the
        contact. It need not hold the newest one: under load a distant node never does.

        Args:
            peer: Who it is.
            committed_index: The commit index, if its entry is of this leader's term.
            matched_index: What the peer acknowledged in this term, on this connection.
        """
        met_at = self._met_at.get(peer)
        if met_at is None or committed_index is None:
            return False
        return met_at < min(committed_index, matched_index)

    def waits_for_entry(self, last_index: int) -> bool:
        """Tell whether somebody's probation can only end if another entry is proposed."""
        return any(met_at >= last_index for met_at in self._met_at.values())
