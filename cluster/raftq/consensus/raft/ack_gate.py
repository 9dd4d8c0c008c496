"""No acknowledgement before the disk: holds acks until the entries they speak of are durable.

On a follower a success leaves only when everything written before it is synced. On the leader a
follower's ack of entries that the leader itself has not yet synced waits, so the leader never
counts itself too early; its own fsync overlaps the replication.
"""

from collections.abc import Callable
from typing import NamedTuple

from raftq.consensus.peers.messages import NextIndex
from raftq.storage.journal import Journal


class _Held(NamedTuple):
    journal_sequence: int
    peer: str
    message: NextIndex


class AckGate:
    """Parking places for outgoing and incoming acks.

    Args:
        journal: Tells what is durable.
        send: Sends a released ack of ours: (peer, message).
        count: Counts a released ack of a follower: (peer, message).
    """

    def __init__(
        self,
        journal: Journal,
        send: Callable[[str, NextIndex], object],
        count: Callable[[str, NextIndex], None],
    ) -> None:
        self._journal = journal
        self._send = send
        self._count = count
        self._outgoing: list[_Held] = []
        self._incoming: dict[str, list[NextIndex]] = {}

    def outgoing(self, peer: str, message: NextIndex) -> None:
        """Send our ack now, or once everything written so far is durable."""
        if message.success and self._journal.sequence != self._journal.durable_sequence:
            self._outgoing.append(_Held(self._journal.sequence, peer, message))
        else:
            self._send(peer, message)

    def incoming(self, peer: str, message: NextIndex) -> bool:
        """Count a follower's ack now, or park it; returns whether it was counted."""
        if message.success and message.next_index - 1 > self._journal.durable_index:
            self._incoming.setdefault(peer, []).append(message)
            return False
        self._count(peer, message)
        return True

    def on_durable(self, current_term: int) -> None:
        """Release what the last sync made true; acks of an older term die here."""
        durable = self._journal.durable_sequence
        ready = [held for held in self._outgoing if held.journal_sequence <= durable]
        self._outgoing = [held for held in self._outgoing if held.journal_sequence > durable]
        for held in ready:
            if held.message.term == current_term:
                self._send(held.peer, held.message)
        for peer, parked in list(self._incoming.items()):
            durable_index = self._journal.durable_index
            released = [ack for ack in parked if ack.next_index - 1 <= durable_index]
            self._incoming[peer] = [ack for ack in parked if ack.next_index - 1 > durable_index]
            current = [ack for ack in released if ack.term == current_term]
            if current:
                self._count(peer, max(current, key=lambda ack: ack.next_index))

    def forget(self, peer: str) -> None:
        """Drop what belongs to a connection that is gone."""
        self._incoming.pop(peer, None)
        self._outgoing = [held for held in self._outgoing if held.peer != peer]
