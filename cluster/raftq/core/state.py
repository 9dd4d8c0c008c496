"""All tasks with their indexes, and the one function that moves a task from state to state.

Invariants: every live task is in exactly one place (a ready line, the scheduled timers or the
lease timers); `by_token` holds the newest token of each task unless that lease ran out, no other;
counts and the state hash change only here.
"""

from typing import Final

from google_crc32c import value as crc32c

from raftq.core.outcomes import Outcomes
from raftq.core.payloads import Payloads
from raftq.core.ready_queue import ReadyQueue
from raftq.core.request_memory import RequestMemory
from raftq.core.task import (
    DEAD,
    DONE,
    LEASED,
    READY,
    SCHEDULED,
    STATE_NUMBERS,
    TRANSITIONS,
    Lease,
    Settling,
    Task,
)
from raftq.core.timers import Timers
from raftq.protocol import limits
from raftq.protocol.messages import NewTask, TaskState

_HASH_PRIME: Final = 0x100000001B3
_HASH_MASK: Final = 2**64 - 1


def _lease_due(task: Task) -> tuple[int, int] | None:
    return None if task.lease is None else (task.lease.deadline_ms, task.token)


def _start_due(task: Task) -> tuple[int, int] | None:
    return (task.not_before_at_ms, task.sequence) if task.state is SCHEDULED else None


class State:
    """The tasks of a cluster at one log index.

    Args:
        payloads: Where their payloads are.
    """

    def __init__(self, payloads: Payloads) -> None:
        self.payloads = payloads
        self._to_drop: list[tuple[int, int]] = []
        self.lease_now_ms = 0
        self.wall_now_ms = 0
        self.cluster_id: str | None = None
        self.hash = 0xCBF29CE484222325
        self.last_sequence = 0
        self.last_token = 0
        self.live_tasks = 0
        self.live_payload_bytes = 0
        self.tasks: dict[bytes, Task] = {}
        self.by_token: dict[int, Task] = {}
        self.queues: dict[str, ReadyQueue] = {}
        self.leases: Timers[Task] = Timers(_lease_due)
        self.scheduled: Timers[Task] = Timers(_start_due)
        self.outcomes = Outcomes()
        self.requests = RequestMemory()
        self.became_ready: dict[str, None] = {}
        """Queues that gained ready tasks since this was last emptied, in order."""
        self.became_finished: list[bytes] = []

    # ------------------------------------------------------------ the state hash

    def mix(self, *numbers: int) -> None:
        """Fold numbers into the state hash (FNV-1a on integers; the same on every platform)."""
        value = self.hash
        for number in numbers:
            value = ((value ^ number) * _HASH_PRIME) & _HASH_MASK
        self.hash = value

    def _move(self, task: Task, state: TaskState) -> ReadyQueue:
        """Change a task's state; everything that counts states hangs on this."""
        queue = self.queues[task.queue]
        old = task.state
        assert state in TRANSITIONS[old], f"illegal move of a task from {old} to {state}"
        if old is not None:
            queue.counts[old] -= 1
        queue.counts[state] += 1
        task.state = state
        self.mix(task.sequence, STATE_NUMBERS[state], task.token)
        return queue

    # ------------------------------------------------------------ moves

    def enqueue(self, queue_name: str, new: NewTask, payload_crc: int) -> Task:
        """Create a task, ready or scheduled."""
        queue = self.queues.get(queue_name)
        if queue is None:
            queue = self.queues[queue_name] = ReadyQueue(queue_name)
            self.mix(crc32c(queue_name.encode()))
        self.last_sequence += 1
        task = Task(self.last_sequence, queue.name, new.id, len(new.payload))
        task.payload_crc = payload_crc
        task.priority = new.priority
        task.attempts_max = new.attempts_max
        task.enqueued_at_ms = self.wall_now_ms
        task.not_before_at_ms = self.wall_now_ms + new.delay_ms
        self.tasks[new.id] = task
        queue.enqueued += 1
        self.live_tasks += 1
        self.live_payload_bytes += len(new.payload)
        number = int.from_bytes(new.id, "big")
        self.mix(payload_crc, number >> 64, number, task.priority, task.attempts_max)
        if new.delay_ms:
            self._schedule(task)
        else:
            self._make_ready(task, at_front=False)
        return task

    def _schedule(self, task: Task) -> None:
        self._move(task, SCHEDULED)
        self.mix(task.not_before_at_ms)
        self.scheduled.add(task)

    def _make_ready(self, task: Task, *, at_front: bool) -> None:
        queue = self._move(task, READY)
        if at_front:
            queue.push_front(task)
        else:
            queue.push_back(task)
        self.became_ready[queue.name] = None

    def grant(self, queue: ReadyQueue, worker: str, lease_ms: int) -> Task:
        """Lease the first ready task of a queue."""
        task = queue.pop()
        self.by_token.pop(task.token, None)
        self.last_token += 1
        task.token = self.last_token
        self.by_token[task.token] = task
        task.released_by = None
        task.lease = Lease(worker, self.lease_now_ms + lease_ms)
        self._move(task, LEASED)
        self.mix(task.lease.deadline_ms)
        self.leases.add(task)
        return task

    def extend(self, task: Task, lease_ms: int) -> None:
        """Move the deadline of a lease."""
        assert task.lease is not None
        deadline_ms = self.lease_now_ms + lease_ms
        if deadline_ms != task.lease.deadline_ms:
            task.lease.deadline_ms = deadline_ms
            self.leases.move(task)
            self.mix(task.sequence, deadline_ms)

    def _release(self, task: Task, by: Settling) -> None:
        assert task.lease is not None
        task.lease = None
        task.released_by = by
        self.leases.forget()

    def finish(self, task: Task, result: bytes | None) -> None:
        """Record a leased task as done."""
        self._release(task, Settling.ACK)
        task.result = result
        self.mix(0 if result is None else 1 + crc32c(result))
        self._end(task, DONE)
        self.outcomes.add(task)

    def _end(self, task: Task, state: TaskState) -> None:
        self._move(task, state)
        task.finished_at_ms = self.wall_now_ms
        if state is DONE:  # A dead task keeps its payload, so it still counts as live.
            self.live_tasks -= 1
            self.live_payload_bytes -= task.payload_bytes
            self._to_drop.append((task.sequence, task.payload_bytes))
        self.became_finished.append(task.id)

    def give_back(self, task: Task, delay_ms: int) -> None:
        """Return a leased task to its queue, or schedule it."""
        self._release(task, Settling.REQUEUE)
        if delay_ms:
            task.not_before_at_ms = self.wall_now_ms + delay_ms
            self._schedule(task)
        else:
            self._make_ready(task, at_front=True)

    def fail(self, task: Task, error: str) -> None:
        """Record a failed run: another attempt from the back of the queue, or dead."""
        self._release(task, Settling.FAIL)
        task.failures += 1
        self._note(task, error)
        if task.failures >= task.attempts_max:
            self._end(task, DEAD)
        else:
            self._make_ready(task, at_front=False)

    def _note(self, task: Task, error: str) -> None:
        errors = task.errors if task.errors is not None else []
        errors.append(error)
        task.errors = errors[-limits.ERRORS_KEPT_PER_TASK :]
        self.mix(crc32c(error.encode()))

    def drop_payloads(self) -> None:
        """Drop the payloads of the tasks that the entry before finished."""
        if self._to_drop:
            self.payloads.drop(self._to_drop)
            self._to_drop = []

    # ------------------------------------------------------------ time

    def advance(self, lease_advance_ms: int, wall_at_ms: int) -> None:
        """Move both clocks and do what has fallen due, in a fixed order."""
        self.lease_now_ms += lease_advance_ms
        self.wall_now_ms = max(self.wall_now_ms, wall_at_ms)
        while (expired := self.leases.pop_due(self.lease_now_ms)) is not None:
            self._expire(expired)
        while (started := self.scheduled.pop_due(self.wall_now_ms)) is not None:
            self._make_ready(started, at_front=False)
        while (old := self.outcomes.pop_old(self.wall_now_ms)) is not None:
            self._forget(old)
        self.requests.forget_silent(self.lease_now_ms)

    def _expire(self, task: Task) -> None:
        """A lease ran out: its worker died or lost touch."""
        assert task.lease is not None
        worker, task.lease = task.lease.worker, None
        task.crashes += 1
        self._note(task, f"lease ran out (worker {worker})")
        del self.by_token[task.token]
        if task.crashes >= limits.CRASHES_MAX:
            self._end(task, DEAD)
        else:
            self._make_ready(task, at_front=True)

    def _forget(self, task: Task) -> None:
        del self.tasks[task.id]
        self.by_token.pop(task.token, None)
        self.mix(task.sequence)
