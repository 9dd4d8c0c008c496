"""Everything that is replicated, with its indexes, and the moves that change one task's place.

Invariants: a waiting task is in exactly one place (a ready line, the starts of scheduled tasks, the
line of an order key, parked at a limit key, or named by what it waits for); `by_token` holds the
newest token of each task unless that lease ran out, no other; counts, events and the state hash
change only here.
"""

from collections.abc import Iterable, Sequence

from google_crc32c import value as crc32c

from raftq.core.applied import Event
from raftq.core.bucket import Bucket
from raftq.core.forgotten import Forgotten
from raftq.core.limit_keys import LimitKeys
from raftq.core.order_keys import OrderKeys
from raftq.core.outcomes import Outcomes
from raftq.core.payloads import Payloads
from raftq.core.ready_queue import ReadyQueue
from raftq.core.request_memory import RequestMemory
from raftq.core.schedules import Schedules
from raftq.core.sequences import Starts
from raftq.core.state_hash import FIRST, MASK, PRIME, fold_move, fold_tasks
from raftq.core.task import (
    BLOCKED,
    READY,
    SCHEDULED,
    STATE_NUMBERS,
    TRANSITIONS,
    WAITING,
    Blocked,
    Extras,
    Task,
)
from raftq.core.tasks import Tasks
from raftq.core.timers import Timers
from raftq.core.unique_keys import UniqueKeys
from raftq.core.wakes import Wakes
from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask, Quota


def _lease_due(task: Task) -> tuple[int, int] | None:
    return None if task.lease is None else (task.lease.deadline_ms, task.token)


def _end_due(task: Task) -> tuple[int, int] | None:
    """Return when a task that waits expires or must have been confirmed."""
    at_ms = 0 if task.extras is None or task.state not in WAITING else due_at_ms(task.extras)
    return (at_ms, task.sequence) if at_ms else None


def due_at_ms(extras: Extras) -> int:
    """Return the earlier of a task's expiry and the end of its time to be confirmed, or 0."""
    instants = [each for each in (extras.expires_at_ms, extras.confirm_by_ms) if each]
    return min(instants, default=0)


class Table:
    """The tasks of a cluster at one log index.

    Args:
        payloads: Where their payloads are.
    """

    def __init__(self, payloads: Payloads) -> None:
        self.payloads = payloads
        self._to_drop: list[tuple[int, int]] = []
        self.index = 0
        """Of the entry that is being applied."""
        self.lease_now_ms: int = 0
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
        self.ends: Timers[Task] = Timers(_end_due)
        """When waiting tasks expire, or must have been confirmed."""
        self.outcomes = Outcomes()
        self.forgotten = Forgotten()
        self.requests = RequestMemory()
        self.unique_keys = UniqueKeys()
        self.order_keys = OrderKeys()
        self.limit_keys = LimitKeys()
        self.schedules = Schedules()
        self.quota = Quota()
        self.quota_bucket: Bucket | None = None
        self.wakes = Wakes()
        """Queues that have ready tasks and wait for a token of their rate."""
        self.became_ready: dict[str, None] = {}
        """Queues of which more can be leased since this was last emptied, in order."""
        self.events: list[Event] = []
        """What became of tasks since this was last emptied, in order."""

    # ------------------------------------------------------------ the state hash

    def mix(self, *numbers: int) -> None:
        """Fold numbers into the state hash."""
        value = self.hash
        for number in numbers:
            value = (value ^ number) * PRIME & MASK
        self.hash = value

    def mix_text(self, text: str) -> None:
        """Fold a text into the state hash."""
        self.mix(crc32c(text.encode()))

    # ------------------------------------------------------------ counting

    def count(
        self, queue: ReadyQueue, old: TaskState | None, new: TaskState, tasks: int = 1
    ) -> None:
        """Count tasks that change their state; everything that counts states hangs on this."""
        assert new in TRANSITIONS[old], f"illegal move of a task from {old} to {new}"
        counts = queue.counts
        if old is not None:
            counts[old] -= tasks
        counts[new] += tasks

    def note(self, state: TaskState, queue: str, task_id: bytes) -> None:
        """Tell that a task came into a state."""
        events = self.events
        if events and (last := events[-1]).state is state and last.queue == queue:
            last.ids.append(task_id)
        else:
            events.append(Event(state, queue, [task_id]))

    # ------------------------------------------------------------ new tasks

    def add_queue(self, name: str) -> ReadyQueue:
        """Create a queue."""
        queue = ReadyQueue(name, len(self.queues), self._ready_at_ms)
        self.queues[name] = queue
        self._queue_names.append(name)
        return queue

    def _ready_at_ms(self, sequence: int) -> int:
        task = self.tasks.get(sequence)
        return max(task.enqueued_at_ms, task.not_before_at_ms)

    def queue_of(self, name: str) -> ReadyQueue:
        """Return a queue, created if it is new."""
        queue = self.queues.get(name)
        if queue is None:
            queue = self.add_queue(name)
            self.mix_text(name)
        return queue

    def enqueue(self, queue_name: str, tasks: Sequence[NewTask], crcs: Sequence[int]) -> bool:
        """Create plain tasks, ready or scheduled, if none of their ids is known.

        Args:
            queue_name: Where they wait.
            tasks: At least one, without options; their ids differ.
            crcs: Of their payloads.

        Returns:
            Whether they were created.
        """
        first = self.last_sequence + 1
        ids = [new.id for new in tasks]
        if not self.tasks.add_ids(first, ids):
            return False
        queue = self.queue_of(queue_name)
        self.tasks.add(first, tasks, crcs, queue.number, self.wall_now_ms)
        self._count_new(queue, first, tasks)
        self.hash = fold_tasks(self.hash, first, tasks, crcs, self.wall_now_ms)
        self._line_up(queue, first, tasks, ids)
        return True

    def create(self, task: Task, new: NewTask) -> None:
        """Enter a new task that has options; it has no state and no place yet."""
        known = self.tasks.add_ids(task.sequence, [task.id])
        assert known, "a task that is known is created"
        self.tasks.objects[task.sequence] = task
        self._count_new(self.queues[task.queue], task.sequence, [new])
        high, low = int.from_bytes(task.id[:8]), int.from_bytes(task.id[8:])
        self.mix(task.payload_crc, high, low, task.priority, task.attempts_max, task.sequence)

    def _count_new(self, queue: ReadyQueue, first: int, tasks: Sequence[NewTask]) -> None:
        payload_bytes = sum([len(new.payload) for new in tasks])
        self.last_sequence += len(tasks)
        self.payloads.keep(first, tasks)
        queue.enqueued += len(tasks)
        queue.payload_bytes += payload_bytes
        self.live_tasks += len(tasks)
        self.live_payload_bytes += payload_bytes

    def _line_up(
        self, queue: ReadyQueue, first: int, tasks: Sequence[NewTask], ids: list[bytes]
    ) -> None:
        """Put new tasks in line, or among those whose time is to come."""
        begin, priority = first, tasks[0].priority
        for sequence, new in enumerate(tasks, first):
            if new.delay_ms or new.priority != priority:
                self._push_new(queue, begin, priority, ids[begin - first : sequence - first])
                begin, priority = sequence, new.priority
            if new.delay_ms:
                self.scheduled.add(self.wall_now_ms + new.delay_ms, sequence)
                self.count(queue, None, SCHEDULED)
                self.note(SCHEDULED, queue.name, new.id)
                begin = sequence + 1
        self._push_new(queue, begin, priority, ids[begin - first :] if begin > first else ids)

    def _push_new(self, queue: ReadyQueue, begin: int, priority: int, ids: list[bytes]) -> None:
        """Put a run of new tasks, perhaps none, in line."""
        if ids:
            queue.push_back(begin, priority, len(ids))
            self.count(queue, None, READY, len(ids))
            self.became_ready[queue.name] = None
            self.events.append(Event(READY, queue.name, ids))

    # ------------------------------------------------------------ places

    def change(self, task: Task, state: TaskState) -> ReadyQueue:
        """Change the state of a task that is an object."""
        queue = self.queues[task.queue]
        self.count(queue, task.state, state)
        task.state = state
        self.hash = fold_move(self.hash, task.sequence, STATE_NUMBERS[state], task.token)
        self.note(state, task.queue, task.id)
        return queue

    def put_scheduled(self, task: Task) -> None:
        """Let a task that has no place wait for its time."""
        self.change(task, SCHEDULED)
        self.mix(task.not_before_at_ms)
        self.scheduled.add(task.not_before_at_ms, task.sequence)

    def put_blocked(self, task: Task, by: Blocked) -> None:
        """Let a task that has no place wait for something else than its time."""
        assert task.extras is not None
        self.change(task, BLOCKED)
        task.extras.blocked_by = by

    def put_ready(self, task: Task, *, at_front: bool) -> None:
        """Put a task that has no place in line."""
        queue = self.change(task, READY)
        push = queue.push_front if at_front else queue.push_back
        if task.extras is not None and (fair_key := task.extras.options.fair_key):
            push(task.sequence, task.priority, fair_key=fair_key)
        else:
            push(task.sequence, task.priority)
        self.became_ready[queue.name] = None

    def take_out(self, task: Task) -> None:
        """Take a waiting task from its place; it keeps its state, and must get another.

        Its place in the line of an order key it keeps.
        """
        self.tasks.own(task)
        extras = task.extras
        if task.state is SCHEDULED:
            self.scheduled.remove(task.not_before_at_ms, task.sequence)
        elif task.state is READY:
            fair_key = "" if extras is None else extras.options.fair_key or ""
            self.queues[task.queue].remove(task.sequence, task.priority, fair_key)
            self.let_next_on(task)
        elif task.state is BLOCKED and extras is not None:
            if extras.blocked_by is Blocked.LIMIT_KEY:
                key = extras.options.limit_key or ""
                self.limit_keys.remove_parked(key, task.queue, task.priority, task.sequence)
            extras.blocked_by = None

    def unpark(self, sequences: Iterable[int]) -> None:
        """Let tasks on that were parked because of their limit key."""
        for sequence in sequences:
            task = self.tasks.objects[sequence]
            assert task.extras is not None
            task.extras.blocked_by = None
            self.put_ready(task, at_front=True)

    def let_next_on(self, task: Task) -> None:
        """Let a parked task on instead of one that was ready in the same queue, and is not any
        more: else none of them would be tried again."""
        if task.extras is not None and (key := task.extras.options.limit_key) is not None:
            self.unpark(self.limit_keys.unpark_next(key, task.queue, self.wall_now_ms))

    def move(self, task: Task, to_queue: str) -> None:
        """Make a task that has no place, or a dead one, another queue's."""
        assert task.state is not None
        old, new = self.queues[task.queue], self.queue_of(to_queue)
        for queue, sign in ((old, -1), (new, 1)):
            queue.enqueued += sign
            queue.counts[task.state] += sign
            queue.payload_bytes += sign * task.payload_bytes
        task.moved_from = task.moved_from or task.queue
        if task.moved_from == to_queue:
            task.moved_from = None
        task.queue = to_queue
        self.mix(task.sequence, new.number)

    def set_end(self, task: Task) -> None:
        """Enter, move or remove the instant at which a waiting task expires or must have been
        confirmed; to be called when that, or whether it waits, may have changed."""
        extras = task.extras
        if extras is None:
            return
        due = _end_due(task)
        at_ms = 0 if due is None else due[0]
        if at_ms == extras.end_at_ms:
            return
        if due is None:
            self.ends.forget()
        else:
            enter = self.ends.move if extras.end_at_ms else self.ends.add
            enter(*due, task)
        extras.end_at_ms = at_ms

    def drop_payload(self, task: Task, queue: ReadyQueue) -> None:
        """Forget the payload of a task that is over for good, before the next entry is applied."""
        payload_bytes = task.payload_bytes
        self.live_tasks -= 1
        self.live_payload_bytes -= payload_bytes
        queue.payload_bytes -= payload_bytes
        self._to_drop.append((task.sequence, payload_bytes))
        task.payload_bytes = 0

    def drop_payloads(self) -> None:
        """Drop the payloads of the tasks that the entry before finished."""
        if self._to_drop:
            self.payloads.drop(self._to_drop)
            self._to_drop = []
