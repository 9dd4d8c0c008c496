"""The queue machine: entries in, replies and effects out.

`apply` is total: whatever the bytes are, it returns, and every replica returns the same. A
refused command changes nothing and leaves the state hash as it was.
"""

from collections.abc import Iterable, Iterator, Sequence

from google_crc32c import value as crc32c

from raftq.core import dump as dumping
from raftq.core.applied import Applied, AppliedReply, Granted, GrantedTask
from raftq.core.executor import Executor, created, runs, state_of
from raftq.core.invariants import check_invariants, content_hash
from raftq.core.payloads import Payloads, PayloadsInMemory
from raftq.core.refounding import refound
from raftq.core.state import State
from raftq.core.task import DONE
from raftq.protocol import codec
from raftq.protocol.errors import CorruptRecord, RequestError
from raftq.protocol.messages import (
    Command,
    CommandReply,
    Enqueue,
    Leased,
    LeasedTask,
    QueueName,
    QueueStatus,
    Rejected,
    TaskId,
    TaskState,
    TaskStatus,
)


class Machine(Executor):
    """The replicated state of one cluster.

    Args:
        payloads: Where payloads are kept; in memory if it is not given.
    """

    def __init__(self, payloads: Payloads | None = None) -> None:
        super().__init__(State(PayloadsInMemory() if payloads is None else payloads))

    # ------------------------------------------------------------ applying

    def apply(self, raw: bytes) -> Applied:
        """Apply one log entry. Never raises, whatever the bytes are.

        (A MemoryError, which says nothing about the entry, passes and stops the node.)
        """
        try:
            entry = codec.decode_entry(raw)
        except RequestError as error:
            return Applied(rejected=Rejected(error.code, error.message))
        state = self._state
        state.drop_payloads()
        applied = Applied()
        state.advance(entry.lease_advance_ms, entry.wall_at_ms)
        for commands in runs(entry.commands):
            if len(commands) == 1 or not self._enqueue_together(commands, applied):
                for command in commands:
                    applied.replies.append(self._shielded(command, applied))
        if state.became_ready:
            applied.ready = list(state.became_ready)
            state.became_ready.clear()
        if state.became_finished:
            applied.finished, state.became_finished = state.became_finished, []
        return applied

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
            applied.replies += [created(command) for command in enqueues]
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
        task = self._state.tasks.get(sequence)
        is_over = task.state is DONE or task.lease is not None
        return TaskStatus(
            id=task.id,
            queue=task.queue,
            state=state_of(task),
            priority=task.priority,
            failures=task.failures,
            crashes=task.crashes,
            attempts=task.failures + task.crashes + is_over,
            attempts_max=task.attempts_max,
            token=task.token or None,
            result=task.result,
            errors=list(task.errors or ()),
            not_before_at_ms=task.not_before_at_ms,
            enqueued_at_ms=task.enqueued_at_ms,
            finished_at_ms=task.finished_at_ms or None,
        )

    def remembers_request(self, worker: str, request_id: str) -> bool:
        """Tell whether repeating this lease call would return what it was granted before."""
        return bool(self._state.requests.recall(worker, request_id))

    def queue(self, name: QueueName) -> QueueStatus:
        """Return the counts of a queue; one that was never used has zeros."""
        queue = self._state.queues.get(name)
        if queue is None:
            return QueueStatus(name, 0, {state.value: 0 for state in TaskState})
        return QueueStatus(
            name, queue.enqueued, {state.value: count for state, count in queue.counts.items()}
        )

    def queues(self) -> list[QueueName]:
        """Return the names of all queues that were ever used, oldest first."""
        return list(self._state.queues)

    def ready_count(self, queue: QueueName) -> int:
        """Return how many tasks of a queue could be leased now."""
        found = self._state.queues.get(queue)
        return 0 if found is None else found.ready

    def next_lease_deadline_ms(self) -> int | None:
        """Return the earliest deadline of a lease, in lease time."""
        return self._state.leases.next_ms()

    def next_wall_due_at_ms(self) -> int | None:
        """Return when, in wall time, the next scheduled task starts or outcome is forgotten."""
        start_ms, forget_ms = self._state.scheduled.next_ms(), self._state.outcomes.next_ms()
        if start_ms is None or forget_ms is None:
            return start_ms if forget_ms is None else forget_ms
        return min(start_ms, forget_ms)

    # ------------------------------------------------------------ whole states

    def dump(self) -> Iterator[bytes]:
        """Yield the whole state in chunks of about 256 KiB; equal states give equal bytes."""
        return (chunk for _, chunk in self.dump_keyed())

    def dump_keyed(self) -> Iterator[tuple[int, bytes]]:
        """Yield the same chunks with keys.

        0 for the state; the first sequence, growing, for the payloads, which come last. `load` can
        do without them if its `payloads` have them.
        """
        return dumping.dump(self._state)

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
        dumping.load(machine._state, chunks)
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
