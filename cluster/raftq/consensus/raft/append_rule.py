"""The follower's decision on one AppendEntries, as a pure function.

PySyncObj cuts off everything after `previous_index`, even entries that match, even ones that it
has acknowledged or applied; under pipelining that happens all the time. Here the matching prefix
is skipped, so that PySyncObj only ever sees entries it lacks, and cuts only what truly differs
(Raft figure 2, "if an existing entry conflicts with a new one").
"""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from raftq.consensus.peers.messages import AppendEntries


class LogView(Protocol):
    """What the rule needs to know of the follower's log."""

    @property
    def first_index(self) -> int: ...
    @property
    def last_index(self) -> int: ...
    def term_at(self, index: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Deliver:
    """Give this message to PySyncObj: it continues our verified log."""

    message: AppendEntries


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The message does not connect to our log; the leader should go on from `next_index`."""

    next_index: int


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Everything in the message is here already, and the entries behind it are not verified:
    acknowledge up to `last_index` and keep the rest untouched."""

    last_index: int


Decision: TypeAlias = Deliver | AskAgain | Acknowledge


def decide(message: AppendEntries, log: LogView, commit_index: int) -> Decision:
    """Decide what to do with an AppendEntries of the current term.

    Args:
        message: From the leader of the current term.
        log: This node's log.
        commit_index: This node's commit index; everything up to it equals the leader's log.
    """
    trimmed = _skip_compacted(message, log)
    if trimmed is None or trimmed.previous_index is None:
        return AskAgain(min(log.last_index, max(commit_index, log.first_index)) + 1)
    previous = trimmed.previous_index
    if previous > log.last_index or log.term_at(previous) != trimmed.previous_term:
        return AskAgain(_start_of_conflict(previous, log, commit_index))
    position = 0
    for _, index, term in trimmed.entries:
        if index > log.last_index or log.term_at(index) != term:
            break
        position += 1
    rest = trimmed.entries[position:]
    if position:
        _, index, term = trimmed.entries[position - 1]
        trimmed = replace_start(trimmed, index, term, rest)
        previous = index
    if rest or previous == log.last_index:
        return Deliver(trimmed)
    if log.term_at(log.last_index) == message.term:
        # The leader of this term wrote our tail itself, so all of it is verified.
        return Deliver(replace_start(trimmed, log.last_index, message.term, []))
    return Acknowledge(previous)


def replace_start(
    message: AppendEntries, index: int, term: int, entries: list[tuple[bytes, int, int]]
) -> AppendEntries:
    """Return the message as if it had begun after (`index`, `term`)."""
    return AppendEntries(message.term, message.commit_index, index, term, entries)


def _skip_compacted(message: AppendEntries, log: LogView) -> AppendEntries | None:
    """Drop entries that our snapshot covers: they are committed, hence equal to ours.

    Returns None if the message does not reach our first entry.
    """
    previous = message.previous_index
    if previous is None or previous >= log.first_index:
        return message
    offset = log.first_index - previous
    if len(message.entries) < offset:
        return None
    return replace_start(
        message,
        log.first_index,
        log.term_at(log.first_index),
        message.entries[offset:],
    )


def _start_of_conflict(previous: int, log: LogView, commit_index: int) -> int:
    """Return where the leader should go on: the start of our conflicting term.

    One step back per round, as PySyncObj does it, takes minutes for a long wrong tail.
    """
    if previous > log.last_index:
        return log.last_index + 1
    conflicting = log.term_at(previous)
    floor = max(log.first_index, commit_index)
    index = previous
    while index - 1 > floor and log.term_at(index - 1) == conflicting:
        index -= 1
    return index
