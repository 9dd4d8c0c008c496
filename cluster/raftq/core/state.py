"""All tasks with their indexes, and the one function that moves a task from state to state.

Invariants: every live task is in exactly one place (a ready line, the starts of scheduled tasks or
the lease timers); `by_token` holds the newest token of each task unless that lease ran out, no
other; counts and the state hash change only here.
"""

from collections.abc import Sequence

from google_crc32c import value as crc32c

from raftq.core.outcomes import Outcomes
from raftq.core.payloads import Payloads
from raftq.core.ready_queue import ReadyQueue
from raftq.core.request_memory import RequestMemory
from raftq.core.sequences import Starts
from raftq.core.state_hash import FIRST, MASK, PRIME, fold_lease, fold_tasks
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
from raftq.core.tasks import Tasks
from raftq.core.timers import Timers
from raftq.protocol import limits
from raftq.protocol.messages import NewTask, TaskState


def _lease_due(task: Task) -> tuple[int, int] | None:
    return None if task.lease is None else (task.lease.deadline_ms, task.token)


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
        self.hash = FIRST
        self.last_sequence = 0
        self.last_token = 0
        self.live_tasks = 0
        self.live_payload_bytes = 0
        self._queue_names: list[str] = []
        self.tasks = Tasks(self._queue_names)
        self.by_token: dict[int, Task] = {}
        self.queues: dict[str, ReadyQueue] = {}
        self.leases: Timers[Task] = Timers(_lease_due)
        self.scheduled = Starts()
        self.outcomes = Outcomes()
        self.requests = RequestMemory()
        self.became_ready: dict[str, None] = {}
        """Queues that gained ready tasks since this was last emptied, in order."""
        self.became_finished: list[bytes] = []

    # ------------------------------------------------------------ the state hash

    def mix(self, *numbers: int) -> None:
        """Fold numbers into the state hash."""
        value = self.hash
        for number in numbers:
            value = (value ^ number) * PRIME & MASK
        self.hash = value

    def _move(
        self, queue: ReadyQueue, old: TaskState | None, new: TaskState, tasks: int = 1
    ) -> None:
        """Count tasks that change their state; everything that counts states hangs on this."""
        assert new in TRANSITIONS[old], f"illegal move of a task from {old} to {new}"
        counts = queue.counts
        if old is not None:
            counts[old] -= tasks
        counts[new] += tasks

    # ------------------------------------------------------------ moves

    def add_queue(self, name: str) -> ReadyQueue:
        """Create a queue."""
        queue = self.queues[name] = ReadyQueue(name, len(self.queues))
        self._queue_names.append(name)
        return queue

    def enqueue(self, queue_name: str, tasks: Sequence[NewTask], crcs: Sequence[int]) -> bool:
        """Create tasks, ready or scheduled, if none of their ids is known.

        Args:
            queue_name: Where they wait.
            tasks: At least one; their ids differ.
            crcs: Of their payloads.

        Returns:
            Whether they were created.
        """
        first = self.last_sequence + 1
        if not self.tasks.add_ids(first, tasks):
            return False
        queue = self.queues.get(queue_name)
        if queue is None:
            queue = self.add_queue(queue_name)
            self.mix(crc32c(queue_name.encode()))
        self.tasks.add(first, tasks, crcs, queue.number, self.wall_now_ms)
        self.last_sequence += len(tasks)
        self.payloads.keep(first, tasks)
        queue.enqueued += len(tasks)
        self.live_tasks += len(tasks)
        self.live_payload_bytes += sum([len(new.payload) for new in tasks])
        self.hash = fold_tasks(self.hash, first, tasks, crcs, self.wall_now_ms)
        self._line_up(queue, first, tasks)
        return True

    def _line_up(self, queue: ReadyQueue, first: int, tasks: Sequence[NewTask]) -> None:
        """Put new tasks in line, or among those whose time is to come."""
        begin, priority = first, tasks[0].priority
        for sequence, new in enumerate(tasks, first):
            if new.delay_ms or new.priority != priority:
                self._push_new(queue, begin, priority, sequence)
                begin, priority = sequence, new.priority
            if new.delay_ms:
                self.scheduled.add(self.wall_now_ms + new.delay_ms, sequence)
                self._move(queue, None, SCHEDULED)
                begin = sequence + 1
        self._push_new(queue, begin, priority, first + len(tasks))

    def _push_new(self, queue: ReadyQueue, begin: int, priority: int, end: int) -> None:
        """Put a run of new tasks, perhaps none, in line."""
        if begin < end:
            queue.push_back(begin, priority, end - begin)
            self._move(queue, None, READY, end - begin)
            self.became_ready[queue.name] = None

    def _change(self, task: Task, state: TaskState) -> ReadyQueue:
        """Change the state of a task that is an object."""
        queue = self.queues[task.queue]
        self._move(queue, task.state, state)
        task.state = state
        self.mix(task.sequence, STATE_NUMBERS[state], task.token)
        return queue

    def _schedule(self, task: Task) -> None:
        self._change(task, SCHEDULED)
        self.mix(task.not_before_at_ms)
        self.scheduled.add(task.not_before_at_ms, task.sequence)

    def _make_ready(self, task: Task, *, at_front: bool) -> None:
        queue = self._change(task, READY)
        push = queue.push_front if at_front else queue.push_back
        push(task.sequence, task.priority)
        self.became_ready[queue.name] = None

    def _start(self, sequence: int) -> None:
        """The time of a scheduled task has come."""
        task = self.tasks.get(sequence)
        self._make_ready(task, at_front=False)
        self.tasks.started(sequence)

    def grant(self, queue: ReadyQueue, task: Task, worker: str, lease_ms: int) -> None:
        """Lease the first ready task of a queue, which was just read."""
        queue.pop()
        self.tasks.own(task)
        if task.token:
            self.by_token.pop(task.token, None)
        self.last_token = token = self.last_token + 1
        task.token = token
        self.by_token[token] = task
        task.released_by = None
        deadline_ms = self.lease_now_ms + lease_ms
        task.lease = Lease(worker, deadline_ms)
        self._move(queue, task.state, LEASED)
        task.state = LEASED
        self.hash = fold_lease(self.hash, task.sequence, token, deadline_ms)
        self.leases.add(deadline_ms, token, task)

    def extend(self, task: Task, lease_ms: int) -> None:
        """Move the deadline of a lease."""
        assert task.lease is not None
        deadline_ms = self.lease_now_ms + lease_ms
        if deadline_ms != task.lease.deadline_ms:
            task.lease.deadline_ms = deadline_ms
            self.leases.move(deadline_ms, task.token, task)
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
        self._change(task, state)
        task.finished_at_ms = self.wall_now_ms
        if state is DONE:  # A dead task keeps its payload, so it still counts as live.
            self.live_tasks -= 1
            self.live_payload_bytes -= task.payload_bytes
            self._to_drop.append((task.sequence, task.payload_bytes))
            task.payload_bytes = 0
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
        while sequence := self.scheduled.pop_due(self.wall_now_ms):
            self._start(sequence)
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
        self.tasks.forget(task)
        self.by_token.pop(task.token, None)
        self.mix(task.sequence)
