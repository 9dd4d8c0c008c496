"""Long polls: lease calls that wait in the leader's memory for a task to become ready.

A waiter is first in, first out on each of its queues. A task that becomes ready wakes exactly as
many waiters as it can serve; their leases are proposed in one turn of the loop and so share a log
entry. An empty poll never reaches the log. A repeated call, known by its worker and request id, is
never made to wait for what it was granted already, and it takes the place of the one that waits.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable

from raftq.consensus.contract import Replica
from raftq.protocol import limits
from raftq.protocol.calls import LeaseCall
from raftq.protocol.commands import Requeue, RequeueItem
from raftq.protocol.errors import NotLeader, RaftqError, RateLimited
from raftq.protocol.fields import QueueName
from raftq.protocol.replies import CommandReply, Leased, Rejected
from raftq.server.calls import refusal


class _Waiter:
    """One lease call and what it is promised."""

    __slots__ = ("call", "deadline", "future", "request", "timer", "wait_ends_at")

    def __init__(
        self,
        call: LeaseCall,
        deadline: float,
        wait_ends_at: float,
        future: "asyncio.Future[Leased]",
    ) -> None:
        self.call = call
        self.request = (call.worker, call.request_id)
        self.deadline = deadline
        self.wait_ends_at = wait_ends_at
        self.future = future
        self.timer: asyncio.TimerHandle | None = None


class _Tries:
    """The tries of one request whose lease is in the log, but not applied yet."""

    __slots__ = ("in_flight", "unheard")

    def __init__(self) -> None:
        self.in_flight = 0
        self.unheard: Leased | None = None
        """Granted to one of them, and told to none."""


class Waiters:
    """The lease calls of one node while it leads."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._loop = asyncio.get_running_loop()
        self._lines: dict[QueueName, deque[_Waiter]] = {}
        self._promised: dict[QueueName, int] = {}
        """Ready tasks that proposed leases will take; not to be promised twice."""
        self._proposed: dict[tuple[str, str], _Tries] = {}
        self._waiting: dict[tuple[str, str], _Waiter] = {}
        self.waiting = 0

    def lease(
        self, call: LeaseCall, deadline: float, wait_ends_at: float
    ) -> "asyncio.Future[Leased]":
        """Grant leases now, or wait for tasks until `wait_ends_at`; empty if none came.

        Cancel the future to give up waiting.

        Raises:
            NotLeader: This node does not lead.
            RateLimited: Too many calls wait.
        """
        if not self._replica.is_leader:
            raise NotLeader("this node does not lead")
        waiter = _Waiter(call, deadline, wait_ends_at, self._loop.create_future())
        self._supersede(waiter)
        if self._was_granted(waiter):
            self._propose(waiter, [])
        elif self._can_serve(waiter):
            self._propose(waiter, self._reserve(call))
        elif self._loop.time() >= wait_ends_at:
            waiter.future.set_result(Leased([]))
        else:
            self._wait(waiter, at_front=False)
        return waiter.future

    def _free(self, queue: QueueName) -> int:
        return self._replica.machine.ready_count(queue) - self._promised.get(queue, 0)

    def _was_granted(self, waiter: _Waiter) -> bool:
        """Tell whether this call is a repetition whose leases exist or are about to."""
        machine = self._replica.machine
        return waiter.request in self._proposed or machine.remembers_request(*waiter.request)

    def _supersede(self, waiter: _Waiter) -> None:
        """End the wait of an earlier try of the same call: nobody hears its answer any more."""
        earlier = self._waiting.get(waiter.request)
        if earlier is not None:
            self._leave(earlier)
            if not earlier.future.done():
                earlier.future.set_result(Leased([]))

    def _can_serve(self, waiter: _Waiter) -> bool:
        return any(self._free(queue) > 0 for queue in waiter.call.queues)

    # ------------------------------------------------------------ waiting

    def _wait(self, waiter: _Waiter, *, at_front: bool) -> None:
        if self.waiting >= limits.WAITERS_MAX:
            waiter.future.set_exception(
                RateLimited(
                    f"{limits.WAITERS_MAX} lease calls are waiting on this node already",
                    retry_after_ms=limits.RETRY_AFTER_MS,
                )
            )
            return
        self._supersede(waiter)
        self.waiting += 1
        self._waiting[waiter.request] = waiter
        for queue in dict.fromkeys(waiter.call.queues):
            line = self._lines.setdefault(queue, deque())
            if at_front:
                line.appendleft(waiter)
            else:
                line.append(waiter)
        waiter.timer = self._loop.call_at(waiter.wait_ends_at, self._end_wait, waiter)
        waiter.future.add_done_callback(lambda _: self._leave(waiter))

    def _leave(self, waiter: _Waiter) -> None:
        """Take a waiter out of its lines, whatever ended its wait."""
        if waiter.timer is None:
            return
        waiter.timer.cancel()
        waiter.timer = None
        self.waiting -= 1
        del self._waiting[waiter.request]
        for queue in dict.fromkeys(waiter.call.queues):
            line = self._lines[queue]
            line.remove(waiter)
            if not line:
                del self._lines[queue]

    def _end_wait(self, waiter: _Waiter) -> None:
        if not waiter.future.done():
            waiter.future.set_result(Leased([]))

    # ------------------------------------------------------------ serving

    def on_ready(self, queues: Iterable[QueueName]) -> None:
        """Serve the waiters of queues that gained ready tasks."""
        for queue in queues:
            while self._free(queue) > 0 and (line := self._lines.get(queue)):
                waiter = line[0]
                self._leave(waiter)
                if not waiter.future.done():
                    self._propose(waiter, self._reserve(waiter.call))

    def _propose(self, waiter: _Waiter, promises: list[tuple[QueueName, int]]) -> None:
        """Propose a waiter's lease; `promises` are the tasks reserved for it."""
        try:
            proposed = self._replica.propose(waiter.call.command(), waiter.deadline)
        except RaftqError as error:
            self._release(promises)
            waiter.future.set_exception(error)
            return
        self._proposed.setdefault(waiter.request, _Tries()).in_flight += 1
        proposed.add_done_callback(lambda done: self._on_granted(waiter, promises, done))

    def _reserve(self, call: LeaseCall) -> list[tuple[QueueName, int]]:
        promises: list[tuple[QueueName, int]] = []
        missing = call.count
        for queue in call.queues:
            taken = min(max(self._free(queue), 0), missing)
            if taken:
                missing -= taken
                promises.append((queue, taken))
                self._promised[queue] = self._promised.get(queue, 0) + taken
        return promises

    def _release(self, promises: list[tuple[QueueName, int]]) -> None:
        for queue, taken in promises:
            self._promised[queue] -= taken
            if not self._promised[queue]:
                del self._promised[queue]

    def _on_granted(
        self,
        waiter: _Waiter,
        promises: list[tuple[QueueName, int]],
        proposed: "asyncio.Future[CommandReply]",
    ) -> None:
        self._release(promises)
        tries = self._proposed[waiter.request]
        tries.in_flight -= 1
        if not tries.in_flight:
            del self._proposed[waiter.request]
        error = proposed.exception()
        if error is None:
            self._on_reply(waiter, tries, proposed.result())
        elif not waiter.future.cancelled():
            waiter.future.set_exception(error)
        if not tries.in_flight and tries.unheard is not None:
            self._give_back(tries.unheard)
        # Reservations were generous: what is left can serve somebody who waits.
        self.on_ready(queue for queue, _ in promises)

    def _on_reply(self, waiter: _Waiter, tries: _Tries, reply: CommandReply) -> None:
        """Answer the caller, or remember what a caller that is gone was granted.

        What is granted again may have been heard the first time: it is not taken away.
        """
        if not waiter.future.cancelled():
            tries.unheard = None
            self._answer(waiter, reply)
        elif isinstance(reply, Leased) and reply.leases and not reply.is_repeat:
            tries.unheard = reply

    def _give_back(self, granted: Leased) -> None:
        """Requeue leases whose caller is gone: their tasks need not wait for the lease's end."""
        if self._replica.is_leader:
            items = [RequeueItem(lease.token) for lease in granted.leases]
            deadline = self._loop.time() + limits.TIMEOUT_MS_DEFAULT / 1_000
            with contextlib.suppress(RaftqError):
                returned = self._replica.propose(Requeue(items), deadline)
                returned.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _answer(self, waiter: _Waiter, reply: CommandReply) -> None:
        if isinstance(reply, Rejected):
            waiter.future.set_exception(refusal(reply))
            return
        assert isinstance(reply, Leased)
        if reply.leases or reply.is_repeat or self._loop.time() >= waiter.wait_ends_at:
            waiter.future.set_result(reply)
        elif not self._replica.is_leader:
            waiter.future.set_exception(NotLeader("this node lost leadership"))
        else:
            self._wait(waiter, at_front=True)

    def fail_all(self) -> None:
        """Send every waiter elsewhere: this node does not lead any more."""
        for line in list(self._lines.values()):
            for waiter in list(line):
                if not waiter.future.done():
                    waiter.future.set_exception(NotLeader("this node lost leadership"))
