"""The broker in memory: calls in, replies out, on the real queue machine and a virtual clock.

It answers as the leader of a cluster of one node would, at once and on the caller's thread; any
thread may call. A call that waits, for a task or for a result, is a `Poll`, which a later call of
anybody answers.
"""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from random import Random
from typing import Final

from msgspec import structs

from raftq.core.machine import Machine
from raftq.protocol import codec, limits
from raftq.protocol.calls import Call, ClusterCall, LeaseCall, ReadCall, ResultCall, TaskCall
from raftq.protocol.commands import Ack, Command, Enqueue, EnqueueParts, FoundCluster
from raftq.protocol.control import Edit, FireSchedule, SetSchedule
from raftq.protocol.errors import InvalidRequest, NotReady, RaftqError
from raftq.protocol.events import Position
from raftq.protocol.fields import Consistency, QueueName, TaskId
from raftq.protocol.options import NewTask
from raftq.protocol.replies import CommandReply, Leased, Reply
from raftq.protocol.statuses import ClusterStatus, NodeStatus, TaskStatus
from raftq.protocol.versions import ENTRY_VERSION
from raftq.server.calls import ClientCommand, accept, is_command, is_read
from raftq.server.events.ring import Cursor, EventRing, Wanted
from raftq.server.judging import admit, check_edit, read
from raftq.server.results import is_over
from raftq.server.schedules import fire_commands, first_tick
from raftq.testing.memory.clock import VirtualClock
from raftq.testing.memory.polls import Poll

NODE: Final = "memory"
_CLUSTER_ID: Final = "memory"
_TERM: Final = 1
_SCHEDULES_AT_ONCE: Final = 100


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
        self._ring = EventRing()
        self._followers: list[Future[None]] = []
        """Who waits for an entry with events."""
        self._apply([FoundCluster(_CLUSTER_ID)])

    # ------------------------------------------------------------ calls

    def execute(self, call: Call) -> Reply:
        """Execute a call that was checked by the codec; none waits.

        Raises:
            RaftqError: What a leader would answer.
        """
        with self._lock:
            if isinstance(call, LeaseCall):
                return self._grant(call) if self._can_serve(call) else Leased([])
            if is_read(call):
                return self._read(call)
            if is_command(call):
                return self._command(call)
            if isinstance(call, ClusterCall):
                return self._status()
            raise InvalidRequest(
                "a cluster in memory has no nodes to add, remove or choose from; "
                "use real ones (the fixture raftq_cluster)"
            )

    def poll(self, call: LeaseCall | ResultCall) -> Poll:
        """Execute a call that waits; the wait ends at the latest in virtual time.

        The caller must also `leave` the poll when it gives up.

        Raises:
            RaftqError: What a leader would answer at once.
        """
        with self._lock:
            poll = Poll(call, self.clock.wall_ms + call.wait_ms)
            if isinstance(call, ResultCall):
                status = self._read(call)
                assert isinstance(status, TaskStatus)
                if is_over(status):
                    poll.answer(status)
                else:
                    self._polls.append(poll)
                return poll
            for earlier in [each for each in self._polls if each.request == poll.request]:
                self._end(earlier)  # Of the same request only the last try counts.
            self._polls.append(poll)
            self._offer(poll, call)
            return poll

    def leave(self, poll: Poll) -> None:
        """End a poll whose caller waits no longer; harmless when repeated."""
        with self._lock:
            if poll in self._polls:
                self._polls.remove(poll)

    # ------------------------------------------------------------ reads and commands

    def _read(self, call: ReadCall) -> Reply:
        if isinstance(call, TaskCall | ResultCall) and call.min_index > self._entries:
            raise NotReady(
                f"this node has applied the log up to entry {self._entries}, and not up to "
                f"{call.min_index}; ask another node, or try again"
            )
        reply = read(self._machine, call)
        if not isinstance(reply, TaskStatus):
            return reply
        lag_ms = 0 if call.consistency is Consistency.STALE else None
        return structs.replace(reply, applied_index=self._entries, lag_ms=lag_ms)

    def _command(self, command: ClientCommand) -> Reply:
        match command:
            case Enqueue() | EnqueueParts():
                admit(self._machine, command, lambda: False)
            case Edit():
                check_edit(command)
            case SetSchedule(schedule=schedule):
                first_at_ms = first_tick(schedule, self.clock.wall_ms)
                command = structs.replace(command, next_at_ms=first_at_ms)
            case _:
                pass
        return accept(self._apply([command])[0])

    # ------------------------------------------------------------ polls

    def _can_serve(self, call: LeaseCall) -> bool:
        """Tell whether there is something to write: as on a node, an empty poll leaves no trace."""
        return self._machine.remembers_request(call.worker, call.request_id) or any(
            self._machine.ready_count(queue) for queue in call.queues
        )

    def _grant(self, call: LeaseCall) -> Leased:
        reply = accept(self._apply([call.command()])[0])
        assert isinstance(reply, Leased)
        return reply

    def _offer(self, poll: Poll, call: LeaseCall) -> None:
        """Lease for a poll what there is; it waits on if all of it is held back by limit keys."""
        while poll in self._polls and self._can_serve(call):
            at = self._polls.index(poll)
            del self._polls[at]  # What its lease makes ready is for others.
            reply = self._grant(call)
            if reply.leases or reply.is_repeat:
                poll.answer(reply)
            else:
                self._polls.insert(at, poll)

    def _end(self, poll: Poll) -> None:
        """Let a poll wait no longer."""
        self._polls.remove(poll)
        if isinstance(poll.call, LeaseCall):
            poll.answer(Leased([]))
            return
        try:
            poll.answer(self._read(poll.call))
        except RaftqError as error:
            poll.answer(error)

    def _serve(self, ready: Iterable[QueueName]) -> None:
        """Give ready tasks to who waits for them, first come first served."""
        for queue in ready:
            for poll in list(self._polls):
                call = poll.call
                if isinstance(call, LeaseCall) and queue in call.queues:
                    self._offer(poll, call)

    def _tell_finished(self, finished: Iterable[TaskId]) -> None:
        """Answer who waits for the end of these tasks."""
        ended = set(finished)
        for poll in [each for each in self._polls if isinstance(each.call, ResultCall)]:
            if isinstance(poll.call, ResultCall) and poll.call.task_id in ended:
                status = self._machine.task(poll.call.task_id)
                if status is None or is_over(status):
                    self._end(poll)

    # ------------------------------------------------------------ events

    @property
    def lock(self) -> threading.RLock:
        """Held while anything changes; who reads a cursor holds it."""
        return self._lock

    def cursor(self, position: Position | None, wanted: Wanted) -> Cursor:
        """Return a place among the events; None means now.

        Raises:
            EventsLost: They are not kept from so far back.
        """
        with self._lock:
            return Cursor(self._ring, position or Position(self._entries), wanted)

    def next_entry(self, cursor: Cursor) -> Future[None]:
        """Return what ends when there is something to read at a cursor."""
        with self._lock:
            waiting: Future[None] = Future()
            self._followers.append(waiting)
            if cursor.is_behind:
                self._wake_followers()
            return waiting

    def wake(self, waiting: Future[None]) -> None:
        """End what `next_entry` returned."""
        with self._lock:
            if waiting in self._followers:
                self._followers.remove(waiting)
                _end(waiting)

    def _wake_followers(self) -> None:
        followers, self._followers = self._followers, []
        for waiting in followers:
            _end(waiting)

    # ------------------------------------------------------------ time

    def advance(self, by_ms: int) -> None:
        """Let time pass: both clocks move alike, and all falls due in its order."""
        with self._lock:
            end_at_ms = self.clock.wall_ms + by_ms
            while (left_ms := end_at_ms - self.clock.wall_ms) > 0:
                step_ms = min(left_ms, self._until_due_ms())
                self.clock.move(step_ms)
                self._apply([], step_ms)
                while due := self._due_ticks():
                    self._apply(due)
                for poll in [
                    each for each in self._polls if each.wait_ends_at_ms <= self.clock.wall_ms
                ]:
                    self._end(poll)

    def _due_ticks(self) -> list[Command]:
        """Return what fires the ticks that have come."""
        machine, now_ms = self._machine, self.clock.wall_ms
        due = list(machine.schedules.due(now_ms, _SCHEDULES_AT_ONCE))
        return [each for entry in due for each in fire_commands(entry, _CLUSTER_ID, now_ms)]

    def _until_due_ms(self) -> int:
        """Return how long nothing falls due, and at most what one entry can carry."""
        machine, now_ms = self._machine, self.clock.wall_ms
        pauses = [limits.LEASE_TIME_STEP_MAX_MS]
        pauses += [poll.wait_ends_at_ms - now_ms for poll in self._polls]
        if (lease_ms := machine.next_lease_deadline_ms()) is not None:
            pauses.append(lease_ms - machine.lease_now_ms)
        for wall_ms in (machine.next_wall_due_at_ms(), machine.next_schedule_at_ms()):
            if wall_ms is not None:
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
        machine = self._machine
        asked = [each for each in self._asked(commands) if machine.task(each[1].id) is None]
        entry = [ENTRY_VERSION, lease_advance_ms, self.clock.wall_ms, commands]
        self._entries += 1
        applied = machine.apply(codec.encode(entry), self._entries)
        assert applied.rejected is None, f"the machine refused an entry: {applied.rejected}"
        self.enqueued += [each for each in asked if machine.task(each[1].id) is not None]
        replies = [machine.answer(each) for each in applied.replies]
        self._ring.append(applied)
        self._wake_followers()
        self._tell_finished(applied.finished)
        self._serve(applied.ready)
        return replies

    def _asked(self, commands: Iterable[Command]) -> Iterator[tuple[QueueName, NewTask]]:
        """Yield (queue, task) of all tasks that commands ask to create, known or not."""
        for command in commands:
            match command:
                case Enqueue(queue=queue, tasks=tasks):
                    yield from ((queue, task) for task in tasks)
                case EnqueueParts(parts=parts):
                    yield from ((part.queue, task) for part in parts for task in part.tasks)
                case Ack(items=items):
                    for part in (part for item in items for part in item.follow_ups):
                        yield from ((part.queue, task) for task in part.tasks)
                case FireSchedule(name=name, task=task) if task is not None:
                    entry = self._machine.schedules.get(name)
                    if entry is not None:
                        yield entry.schedule.queue, task
                case _:
                    pass

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


def _end(waiting: Future[None]) -> None:
    """End a wait, unless it was given up."""
    if waiting.set_running_or_notify_cancel():
        waiting.set_result(None)
