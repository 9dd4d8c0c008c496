"""The queue machine: entries in, replies and effects out.

`apply` is total: whatever the bytes are, it returns, and every replica returns the same. A
refused command changes nothing and leaves the state hash as it was.
"""

from collections.abc import Iterable, Iterator, Sequence

from google_crc32c import value as crc32c

from raftq.core.applied import Applied, AppliedReply, Granted, GrantedTask
from raftq.core.dump import dump
from raftq.core.enqueueing import state_of
from raftq.core.executor import Executor, runs
from raftq.core.invariants import check_invariants, content_hash
from raftq.core.loading import load
from raftq.core.payloads import Payloads, PayloadsInMemory
from raftq.core.reading import queue_status, task_page, task_status, unused_queue
from raftq.core.refounding import refound
from raftq.core.schedules import Schedules
from raftq.core.state import State
from raftq.core.task import OVER
from raftq.core.why import reasons
from raftq.protocol import codec
from raftq.protocol.commands import Command, Enqueue
from raftq.protocol.errors import CorruptRecord, RequestError
from raftq.protocol.fields import QueueName, TaskId
from raftq.protocol.options import TaskFilter
from raftq.protocol.replies import CommandReply, Leased, LeasedTask, Rejected
from raftq.protocol.statuses import (
    QueueList,
    QueueStatus,
    ScheduleList,
    Settings,
    TaskPage,
    TaskStatus,
    Why,
)


class Machine(Executor):
    """The replicated state of one cluster.

    Args:
        payloads: Where payloads are kept; in memory if it is not given.
    """

    def __init__(self, payloads: Payloads | None = None) -> None:
        super().__init__(State(PayloadsInMemory() if payloads is None else payloads))

    # ------------------------------------------------------------ applying

    def apply(self, raw: bytes, index: int = 0) -> Applied:
        """Apply the log entry of an index. Never raises, whatever the bytes are.

        (A MemoryError, which says nothing about the entry, passes and stops the node.)
        """
        try:
            entry = codec.decode_entry(raw)
        except RequestError as error:
            return Applied(rejected=Rejected(error.code, error.message))
        state = self._state
        state.index = index
        state.drop_payloads()
        applied = Applied(index=index)
        state.advance(entry.lease_advance_ms, entry.wall_at_ms)
        for commands in runs(entry.commands):
            if len(commands) == 1 or not self._enqueue_together(commands, applied):
                for command in commands:
                    applied.replies.append(self._shielded(command, applied))
        applied.wall_at_ms = state.wall_now_ms
        if state.became_ready:
            self._tell_ready(applied)
        if state.events:
            applied.events, state.events = state.events, []
            for event in applied.events:
                if event.state in OVER:
                    applied.finished += event.ids
        return applied

    def _tell_ready(self, applied: Applied) -> None:
        state = self._state
        applied.ready = list(state.became_ready)
        state.became_ready.clear()
        for name in applied.ready:
            queue = state.queues[name]
            if queue.settings.rate is not None:
                state.wake_later(queue)

    def _enqueue_together(self, commands: Sequence[Command], applied: Applied) -> bool:
        """Do what enqueues to one queue do one after the other, if that is simple."""
        enqueues = [command for command in commands if isinstance(command, Enqueue)]
        tasks = [new for command in enqueues for new in command.tasks]
        try:
            if not self.enqueue_new(enqueues[0].queue, tasks):
                return False
        except MemoryError:
            raise
        except Exception as error:
            applied.errors += len(enqueues)
            applied.replies += [_internal(error)] * len(enqueues)
        else:
            applied.replies += [self.created(command) for command in enqueues]
        return True

    def _shielded(self, command: Command, applied: Applied) -> AppliedReply:
        """Execute a command; a bug in a handler must stop neither the others nor a replica."""
        try:
            return self.execute(command)
        except MemoryError:
            raise  # This replica's own trouble: a rejection would make it differ from the others.
        except Exception as error:
            applied.errors += 1
            return _internal(error)

    # ------------------------------------------------------------ reading

    def answer(self, reply: AppliedReply) -> CommandReply:
        """Return a reply as its caller gets it: granted tasks with their payloads.

        Only for a reply to the entry applied last.

        Raises:
            CorruptRecord: A payload is not what was enqueued; this node must stop.
        """
        if not isinstance(reply, Granted):
            return reply
        return Leased([self._with_payload(each) for each in reply.leases], reply.is_repeat)

    def _with_payload(self, granted: GrantedTask) -> LeasedTask:
        payload = b""
        if granted.payload_bytes:
            payload = self._state.payloads.payload(
                granted.sequence, granted.task_id, granted.payload_crc
            )
        if len(payload) != granted.payload_bytes or crc32c(payload) != granted.payload_crc:
            raise CorruptRecord(
                f"the payload of task {granted.task_id.hex()} is not what was enqueued; rebuild "
                "this node from its peers"
            )
        return LeasedTask(
            granted.task_id,
            granted.queue,
            granted.token,
            granted.attempt,
            payload,
            granted.lease_ms,
        )

    @property
    def lease_now_ms(self) -> int:
        """Lease time."""
        return self._state.lease_now_ms

    @property
    def wall_now_ms(self) -> int:
        """Wall time, milliseconds since 1970."""
        return self._state.wall_now_ms

    @property
    def cluster_id(self) -> str | None:
        """The cluster's identity, once it has one."""
        return self._state.cluster_id

    @property
    def payloads(self) -> Payloads:
        """Where the payloads are."""
        return self._state.payloads

    @property
    def last_sequence(self) -> int:
        """The sequence of the newest task; tasks are numbered from 1 without gaps."""
        return self._state.last_sequence

    @property
    def live_tasks(self) -> int:
        """Tasks that are not done."""
        return self._state.live_tasks

    @property
    def live_payload_bytes(self) -> int:
        """Payload bytes of tasks that are not done."""
        return self._state.live_payload_bytes

    @property
    def state_hash(self) -> str:
        """A number that every change changes, as 16 hex digits; equal on all replicas at an
        equal log index."""
        return f"{self._state.hash:016x}"

    def task(self, task_id: TaskId) -> TaskStatus | None:
        """Return the status of a task, or None if it is unknown or forgotten."""
        sequence = self._state.tasks.find(task_id)
        if not sequence:
            return None
        return task_status(self._state, self._state.tasks.get(sequence))

    def was_forgotten(self, task_id: TaskId) -> bool:
        """Tell whether a task that is not known was forgotten lately."""
        return task_id in self._state.forgotten

    def tasks_page(self, wanted: TaskFilter, after: int, count_max: int) -> TaskPage:
        """Return tasks that match, or for a count of 0 how many; see `TasksCall`."""
        return task_page(self._state, wanted, after, count_max)

    def why(self, task_id: TaskId) -> Why | None:
        """Return what holds a task back, or None if it is unknown or forgotten."""
        sequence = self._state.tasks.find(task_id)
        if not sequence:
            return None
        task = self._state.tasks.get(sequence)
        return Why(task_id, state_of(task), reasons(self._state, task))

    def remembers_request(self, worker: str, request_id: str) -> bool:
        """Tell whether repeating this lease call would return what it was granted before."""
        return bool(self._state.requests.recall(worker, request_id))

    def queue(self, name: QueueName) -> QueueStatus:
        """Return counts and settings of a queue; one that was never used has zeros."""
        queue = self._state.queues.get(name)
        return unused_queue(name) if queue is None else queue_status(self._state, queue)

    def queue_list(self) -> QueueList:
        """Return counts and settings of all queues that were ever used, oldest first."""
        queues = self._state.queues.values()
        return QueueList([queue_status(self._state, queue) for queue in queues])

    def settings(self) -> Settings:
        """Return the quota of the cluster and the limits of keys."""
        return Settings(self._state.quota, self._state.limit_keys.statuses())

    @property
    def schedules(self) -> Schedules:
        """The schedules; to be read only."""
        return self._state.schedules

    def schedule_list(self, name: str | None = None) -> ScheduleList:
        """Return all schedules, or the one of a name if there is one."""
        return ScheduleList(self._state.schedules.statuses(name))

    def next_schedule_at_ms(self) -> int | None:
        """Return the earliest tick of a schedule, in wall time."""
        return self._state.schedules.next_at_ms()

    def queues(self) -> list[QueueName]:
        """Return the names of all queues that were ever used, oldest first."""
        return list(self._state.queues)

    def ready_count(self, queue: QueueName) -> int:
        """Return how many tasks of a queue could be leased now."""
        found = self._state.queues.get(queue)
        return 0 if found is None else self._state.room(found)

    def next_lease_deadline_ms(self) -> int | None:
        """Return the earliest deadline of a lease, in lease time."""
        return self._state.leases.next_ms()

    def next_wall_due_at_ms(self) -> int | None:
        """Return when, in wall time, the next thing but a schedule falls due."""
        state = self._state
        if state.over:
            return state.wall_now_ms
        instants = (
            state.scheduled.next_ms(),
            state.ends.next_ms(),
            state.outcomes.next_ms(),
            state.limit_keys.next_ms(),
            state.wakes.next_ms(),
            state.unique_keys.next_ms(),
        )
        return min([each for each in instants if each is not None], default=None)

    # ------------------------------------------------------------ whole states

    def dump(self) -> Iterator[bytes]:
        """Yield the whole state in chunks of about 256 KiB; equal states give equal bytes."""
        return (chunk for _, chunk in self.dump_keyed())

    def dump_keyed(self) -> Iterator[tuple[int, bytes]]:
        """Yield the same chunks with keys.

        0 for the state; the first sequence, growing, for the payloads, which come last. `load` can
        do without them if its `payloads` have them.
        """
        return dump(self._state)

    @classmethod
    def load(cls, chunks: Iterable[bytes], payloads: Payloads | None = None) -> "Machine":
        """Return the machine that was dumped.

        Args:
            chunks: Of the dump.
            payloads: Empty; gets the payloads of the dump.

        Raises:
            CorruptRecord: The chunks are no dump.
        """
        machine = cls(payloads)
        load(machine._state, chunks)
        return machine

    def refound(self, cluster_id: str) -> None:
        """Make this the beginning of another cluster, in which no lease of this one counts.

        Not a command: only for a machine that is loaded from a backup and not replicated yet. The
        state hash stays, so that the beginning can be compared with the backup.

        Args:
            cluster_id: The new cluster's; 32 hex digits.
        """
        refound(self._state, cluster_id)

    def content_hash(self) -> str:
        """Return a hash of the whole state, by a full scan; for tests and verification."""
        return content_hash(self._state)

    def check_invariants(self) -> None:
        """Check the whole state by a full scan.

        Raises:
            AssertionError: Something that cannot be is; the text says what.
        """
        check_invariants(self._state)


def _internal(error: Exception) -> Rejected:
    return Rejected("internal", f"{type(error).__name__}: {error}")
