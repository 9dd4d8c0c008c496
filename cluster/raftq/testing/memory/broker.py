"""The broker in memory: calls in, replies out, on the real queue machine and a virtual clock.

It answers as the leader of a cluster of one node would, at once and on the caller's thread; any
thread may call. A lease call that waits is a `Poll`, which a later call of anybody answers.
"""

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from random import Random
from typing import Final

from raftq.core.machine import Machine
from raftq.protocol import codec, limits
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.messages import (
    AddMember,
    Call,
    ClusterCall,
    ClusterStatus,
    Command,
    CommandReply,
    Enqueue,
    FoundCluster,
    LeaseCall,
    Leased,
    NewTask,
    NodeStatus,
    QueueCall,
    QueueName,
    RemoveMember,
    Reply,
    TaskCall,
    TransferLeadership,
)
from raftq.protocol.versions import ENTRY_VERSION
from raftq.server.judging import admit, read
from raftq.server.service import accept
from raftq.testing.memory.clock import VirtualClock

NODE: Final = "memory"
_CLUSTER_ID: Final = "memory"
_TERM: Final = 1


class Poll:
    """A lease call that waits; its future gets the reply."""

    def __init__(self, call: LeaseCall, wait_ends_at_ms: int) -> None:
        self.call = call
        self.request = (call.worker, call.request_id)
        self.wait_ends_at_ms = wait_ends_at_ms
        self.future: Future[Leased] = Future()


class MemoryBroker:
    """A cluster in memory.

    Args:
        start_at_ms: Wall time at first, milliseconds since 1970.
        seed: Of the ids that clients make.
    """

    def __init__(self, start_at_ms: int, seed: int = 0) -> None:
        self.clock = VirtualClock(start_at_ms)
        self.random = Random(seed)
        self.enqueued: list[tuple[QueueName, NewTask]] = []
        """Every task that was created, in order."""
        self._lock = threading.RLock()
        self._machine = Machine()
        self._entries = 0
        self._polls: list[Poll] = []
        self._apply([FoundCluster(_CLUSTER_ID)])

    # ------------------------------------------------------------ calls

    def execute(self, call: Call) -> Reply:
        """Execute a call that was checked by the codec; a lease call does not wait.

        Raises:
            RaftqError: What a leader would answer.
        """
        with self._lock:
            match call:
                case LeaseCall():
                    return self._grant(call) if self._can_serve(call) else Leased([])
                case TaskCall() | QueueCall():
                    return read(self._machine, call)
                case ClusterCall():
                    return self._status()
                case AddMember() | RemoveMember() | TransferLeadership():
                    raise InvalidRequest(
                        "a cluster in memory has no nodes to add, remove or choose from; "
                        "use real ones (the fixture raftq_cluster)"
                    )
                case Enqueue():
                    return self._enqueue(call)
                case _:
                    return accept(self._apply([call])[0])

    def poll(self, call: LeaseCall) -> Poll:
        """Execute a lease call that waits; the wait ends at the latest in virtual time.

        The caller must also `leave` the poll when it gives up.
        """
        with self._lock:
            poll = Poll(call, self.clock.wall_ms + call.wait_ms)
            for earlier in [each for each in self._polls if each.request == poll.request]:
                self._answer(earlier, Leased([]))  # Of the same request only the last try counts.
            self._polls.append(poll)
            if self._can_serve(call):
                self._answer(poll, self._grant(call))
            return poll

    def leave(self, poll: Poll) -> None:
        """End a poll whose caller waits no longer; harmless when repeated."""
        with self._lock:
            if poll in self._polls:
                self._polls.remove(poll)

    def _enqueue(self, call: Enqueue) -> Reply:
        admit(self._machine, call, lambda: False)
        is_new = [self._machine.task(task.id) is None for task in call.tasks]
        reply = accept(self._apply([call])[0])
        created = zip(call.tasks, is_new, strict=True)
        self.enqueued += [(call.queue, task) for task, new in created if new]
        return reply

    def _can_serve(self, call: LeaseCall) -> bool:
        """Tell whether there is something to write: as on a node, an empty poll leaves no trace."""
        return self._machine.remembers_request(call.worker, call.request_id) or any(
            self._machine.ready_count(queue) for queue in call.queues
        )

    def _grant(self, call: LeaseCall) -> Leased:
        reply = accept(self._apply([call.command()])[0])
        assert isinstance(reply, Leased)
        return reply

    def _answer(self, poll: Poll, reply: Leased) -> None:
        self._polls.remove(poll)
        if poll.future.set_running_or_notify_cancel():
            poll.future.set_result(reply)

    # ------------------------------------------------------------ time

    def advance(self, by_ms: int) -> None:
        """Let time pass: both clocks move alike, and all falls due in its order."""
        with self._lock:
            end_at_ms = self.clock.wall_ms + by_ms
            while (left_ms := end_at_ms - self.clock.wall_ms) > 0:
                step_ms = min(left_ms, self._until_due_ms())
                self.clock.move(step_ms)
                self._apply([], step_ms)
                for poll in [
                    each for each in self._polls if each.wait_ends_at_ms <= self.clock.wall_ms
                ]:
                    self._answer(poll, Leased([]))

    def _until_due_ms(self) -> int:
        """Return how long nothing falls due, and at most what one entry can carry."""
        now_ms = self.clock.wall_ms
        pauses = [limits.LEASE_TIME_STEP_MAX_MS]
        pauses += [poll.wait_ends_at_ms - now_ms for poll in self._polls]
        if (lease_ms := self._machine.next_lease_deadline_ms()) is not None:
            pauses.append(lease_ms - self._machine.lease_now_ms)
        if (wall_ms := self._machine.next_wall_due_at_ms()) is not None:
            pauses.append(wall_ms - now_ms)
        return max(min(pauses), 1)

    # ------------------------------------------------------------ the machine

    def ready_queues(self) -> list[QueueName]:
        """Return the queues that have ready tasks, oldest queue first."""
        with self._lock:
            machine = self._machine
            return [queue for queue in machine.queues() if machine.ready_count(queue)]

    def _apply(self, commands: list[Command], lease_advance_ms: int = 0) -> list[CommandReply]:
        """Apply an entry, as bytes, and serve who waits for what it made ready."""
        entry = [ENTRY_VERSION, lease_advance_ms, self.clock.wall_ms, commands]
        applied = self._machine.apply(codec.encode(entry))
        assert applied.rejected is None, f"the machine refused an entry: {applied.rejected}"
        self._entries += 1
        replies = [self._machine.answer(each) for each in applied.replies]
        self._serve(applied.ready)
        return replies

    def _serve(self, ready: Iterable[QueueName]) -> None:
        """Give ready tasks to who waits for them, first come first served."""
        for queue in ready:
            for poll in [each for each in self._polls if queue in each.call.queues]:
                if self._machine.ready_count(queue) and poll in self._polls:
                    self._answer(poll, self._grant(poll.call))

    def _status(self) -> ClusterStatus:
        node = NodeStatus(NODE, "", "", "", "leader", reachable=True)
        machine = self._machine
        return ClusterStatus(
            cluster_id=machine.cluster_id or "",
            node=NODE,
            leader=NODE,
            term=_TERM,
            commit_index=self._entries,
            applied_index=self._entries,
            state_hash=machine.state_hash,
            nodes=[node],
        )
