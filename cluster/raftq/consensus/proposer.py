"""From single commands to log entries: coalescing, a few entries in flight, own deadlines.

All commands that wait in one turn of the loop share an entry (bounded in bytes and count), in the
order in which they came. Each is resolved from the machine's reply; at its deadline without one,
or when leadership is lost, its outcome is unknown, never "failed".
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from raftq.consensus.leader_clock import LeaderClock
from raftq.core.applied import Applied, AppliedReply
from raftq.protocol import codec, limits
from raftq.protocol.commands import Command, Enqueue
from raftq.protocol.errors import (
    CommitTimeout,
    InternalError,
    LeadershipLost,
    NotLeader,
    RaftqError,
    RateLimited,
)
from raftq.protocol.replies import CommandReply
from raftq.protocol.versions import ENTRY_VERSION

_ENTRY_OVERHEAD_BYTES: Final = 64


class _Waiting(NamedTuple):
    future: "asyncio.Future[CommandReply]"
    deadline: float
    command: bytes


class Proposer:
    """The queue of commands between the servers and the engine of a leader.

    Args:
        propose: Appends an entry: (bytes, done) with done(applied or None, is_committed).
        clock: Stamps each entry.
        wake: Schedules a `flush` in this turn of the loop.
        answer: Turns the machine's reply into what its caller gets.
    """

    def __init__(
        self,
        propose: Callable[[bytes, Callable[[object, bool], None]], None],
        clock: LeaderClock,
        wake: Callable[[], None],
        answer: Callable[[AppliedReply], CommandReply],
    ) -> None:
        self._answer = answer
        self._propose = propose
        self._clock = clock
        self._wake = wake
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._in_flight: dict[int, list[_Waiting]] = {}
        self._number = 0
        self.entries_total = 0
        self.commands_total = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._waiting and not self._in_flight

    def submit(self, command: Command, deadline: float) -> "asyncio.Future[CommandReply]":
        """Queue a command for the next entry.

        Raises:
            RateLimited: Too many commands wait already; nothing happened.
        """
        if len(self._waiting) >= limits.PROPOSALS_WAITING_MAX:
            raise _rate_limited(f"{limits.PROPOSALS_WAITING_MAX} commands")
        is_over = self._waiting_bytes >= limits.PROPOSAL_BYTES_WAITING_MAX
        if is_over and isinstance(command, Enqueue):
            raise _rate_limited(f"{limits.PROPOSAL_BYTES_WAITING_MAX} bytes")
        future: asyncio.Future[CommandReply] = asyncio.get_running_loop().create_future()
        raw = codec.encode(command)
        self._waiting.append(_Waiting(future, deadline, raw))
        self._waiting_bytes += len(raw)
        self._wake()
        return future

    def flush(self) -> None:
        """Turn waiting commands into entries, as far as the window of entries allows."""
        while self._waiting and len(self._in_flight) < limits.ENTRIES_IN_FLIGHT_MAX:
            batch = self._take()
            if batch:  # All callers may have gone; an entry for nobody is not worth an fsync.
                self._send(batch)

    def send_time(self) -> None:
        """Propose an entry without commands: something is due and nobody else carries the time."""
        if self.is_idle:
            self._send([])

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = _ENTRY_OVERHEAD_BYTES
        while self._waiting and len(batch) < limits.ENTRY_COMMANDS_MAX:
            size += len(self._waiting[0].command)
            if batch and size > limits.ENTRY_BYTES_TARGET:
                break
            item = self._waiting.popleft()
            self._waiting_bytes -= len(item.command)
            if not item.future.done():  # Its caller may have gone.
                batch.append(item)
        return batch

    def _send(self, batch: list[_Waiting]) -> None:
        lease_advance_ms, wall_at_ms = self._clock.stamp()
        commands = [msgspec.Raw(item.command) for item in batch]
        entry = codec.encode([ENTRY_VERSION, lease_advance_ms, wall_at_ms, commands])
        self._number += 1
        number = self._number
        self._in_flight[number] = batch
        self.entries_total += 1
        self.commands_total += len(batch)
        self._propose(entry, lambda result, committed: self._resolve(number, result, committed))

    def _resolve(self, number: int, result: object, is_committed: bool) -> None:
        batch = self._in_flight.get(number)
        if batch is None:
            return
        if not is_committed:
            _fail(batch, lambda: NotLeader("another leader's entry took the place of this one"))
        elif not isinstance(result, Applied):
            # Committed, but this node could not apply it and stops; the others do apply it.
            _fail(batch, lambda: LeadershipLost("the leader stopped while it applied the entry"))
        elif result.rejected is not None:
            _fail(batch, lambda: InternalError("the log entry was refused; see the node's log"))
        else:
            for item, reply in zip(batch, result.replies, strict=True):
                if not item.future.done():
                    item.future.set_result(self._answer(reply))
        # Not before: if a payload cannot be read, those who still wait hear that this node stops.
        del self._in_flight[number]
        if self._waiting:
            self._wake()

    def lose_leadership(self) -> None:
        """Resolve everything: what was not sent did not happen, the rest is unknown."""
        waiting, self._waiting = list(self._waiting), deque()
        self._waiting_bytes = 0
        _fail(waiting, lambda: NotLeader("this node lost leadership"))
        in_flight, self._in_flight = self._in_flight, {}
        for batch in in_flight.values():
            _fail(
                batch, lambda: LeadershipLost("leadership was lost while the entry was in flight")
            )

    def expire(self, now: float) -> None:
        """Resolve what has passed its deadline."""
        for batch in self._in_flight.values():
            overdue = [item for item in batch if item.deadline <= now]
            _fail(overdue, lambda: CommitTimeout("not committed before the deadline"))
        if any(item.deadline <= now for item in self._waiting):
            overdue = [item for item in self._waiting if item.deadline <= now]
            self._waiting = deque(item for item in self._waiting if item.deadline > now)
            self._waiting_bytes -= sum(len(item.command) for item in overdue)
            _fail(
                overdue, lambda: NotLeader("not replicated before the deadline; nothing happened")
            )


def _rate_limited(what: str) -> RateLimited:
    return RateLimited(f"{what} are waiting to be replicated", retry_after_ms=limits.RETRY_AFTER_MS)


def _fail(batch: list[_Waiting], error: Callable[[], RaftqError]) -> None:
    for item in batch:
        if not item.future.done():
            item.future.set_exception(error())
