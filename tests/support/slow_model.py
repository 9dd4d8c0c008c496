"""The queue machine once more, slow and obvious: lists and linear scans.

Written from docs/concepts/guarantees.md, not from the code: no index, no heap, no line. What is
ready is found by looking at every task, and what goes out first by sorting. The only things taken
from elsewhere are the messages and the limits.
"""

from dataclasses import dataclass, field
from typing import assert_never

from raftq.protocol import limits
from raftq.protocol.messages import (
    Ack,
    Command,
    CommandReply,
    Enqueue,
    Enqueued,
    EnqueuedTask,
    Extend,
    Fail,
    FoundCluster,
    Founded,
    Lease,
    Leased,
    LeasedTask,
    NewTask,
    Rejected,
    Requeue,
    Settled,
    SettledTask,
    TaskState,
    TaskStatus,
)

READY, LEASED, SCHEDULED = TaskState.READY, TaskState.LEASED, TaskState.SCHEDULED
DONE, DEAD = TaskState.DONE, TaskState.DEAD
LOST = SettledTask(None, "lease_lost")


@dataclass
class SlowTask:
    """A task with everything that ever happened to it."""

    number: int
    new: NewTask
    queue: str
    enqueued_at_ms: int
    not_before_at_ms: int
    state: TaskState | None = None
    place: tuple[int, int] = (0, 0)
    """Where it stands among the ready ones of its priority: (0, number) if it came back,
    (1, when it became ready) otherwise."""
    token: int = 0
    ended_by: str | None = None
    """How its newest lease ended: ack, fail, requeue or time."""
    worker: str = ""
    deadline_ms: int = 0
    failures: int = 0
    crashes: int = 0
    errors: list[str] = field(default_factory=list[str])
    result: bytes | None = None
    finished_at_ms: int = 0
    finished_number: int = 0


@dataclass
class SlowRequest:
    """A lease call that granted something."""

    worker: str
    request_id: str
    tokens: list[int]
    at_ms: int


class SlowModel:
    """What a machine should be and answer."""

    def __init__(self) -> None:
        self.lease_now_ms = 0
        self.wall_now_ms = 0
        self.cluster_id: str | None = None
        self.tasks: list[SlowTask] = []
        self.requests: list[SlowRequest] = []
        self.queues: list[str] = []
        self.enqueued: list[str] = []
        """The queue of every task ever enqueued."""
        self.forgotten: list[str] = []
        """The queue of every forgotten task."""
        self.tokens = 0
        self.steps = 0
        self.ready: list[str] = []
        self.finished: list[bytes] = []

    def apply(
        self, lease_advance_ms: int, wall_at_ms: int, commands: list[Command]
    ) -> list[CommandReply]:
        """Apply an entry; its effects are in `ready` and `finished`."""
        self.ready, self.finished = [], []
        self._pass_time(lease_advance_ms, wall_at_ms)
        return [self._execute(command) for command in commands]

    # ------------------------------------------------------------ time

    def _pass_time(self, lease_advance_ms: int, wall_at_ms: int) -> None:
        self.lease_now_ms += lease_advance_ms
        self.wall_now_ms = max(self.wall_now_ms, wall_at_ms)
        over = [each for each in self.tasks if each.state is LEASED]
        over = [each for each in over if each.deadline_ms <= self.lease_now_ms]
        for task in sorted(over, key=lambda each: (each.deadline_ms, each.token)):
            self._crash(task)
        due = [each for each in self.tasks if each.state is SCHEDULED]
        due = [each for each in due if each.not_before_at_ms <= self.wall_now_ms]
        for task in sorted(due, key=lambda each: (each.not_before_at_ms, each.number)):
            self._to_back(task)
        self._forget_outcomes()
        oldest_ms = self.lease_now_ms - limits.WORKER_FORGOTTEN_AFTER_MS
        active = {each.worker for each in self.requests if each.at_ms > oldest_ms}
        self.requests = [each for each in self.requests if each.worker in active]

    def _crash(self, task: SlowTask) -> None:
        task.ended_by = "time"
        task.crashes += 1
        self._note(task, f"lease ran out (worker {task.worker})")
        if task.crashes >= limits.CRASHES_MAX:
            self._finish(task, DEAD)
        else:
            self._to_front(task)

    def _forget_outcomes(self) -> None:
        while True:
            done = [each for each in self.tasks if each.state is DONE]
            if not done:
                return
            oldest = min(done, key=lambda each: each.finished_number)
            kept_bytes = sum(
                len(each.result or b"") + sum(len(error) for error in each.errors) for each in done
            )
            age_ms = self.wall_now_ms - oldest.finished_at_ms
            is_old = age_ms >= limits.RESULT_RETENTION_MS
            is_over = len(done) > limits.RESULTS_KEPT_MAX and age_ms >= limits.RETRY_MEMORY_MS
            if not (is_old or is_over or kept_bytes > limits.RESULT_BYTES_KEPT_MAX):
                return
            self.tasks.remove(oldest)
            self.forgotten.append(oldest.queue)

    # ------------------------------------------------------------ moves

    def _to_back(self, task: SlowTask) -> None:
        self.steps += 1
        self._ready(task, (1, self.steps))

    def _to_front(self, task: SlowTask) -> None:
        self._ready(task, (0, task.number))

    def _ready(self, task: SlowTask, place: tuple[int, int]) -> None:
        task.state, task.place = READY, place
        if task.queue not in self.ready:
            self.ready.append(task.queue)

    def _note(self, task: SlowTask, error: str) -> None:
        task.errors = [*task.errors, error][-limits.ERRORS_KEPT_PER_TASK :]

    def _finish(self, task: SlowTask, state: TaskState) -> None:
        self.steps += 1
        task.state, task.finished_at_ms = state, self.wall_now_ms
        task.finished_number = self.steps
        self.finished.append(task.new.id)

    # ------------------------------------------------------------ commands

    def _execute(self, command: Command) -> CommandReply:
        match command:
            case Enqueue():
                return self._enqueue(command)
            case Lease():
                return self._lease(command)
            case Ack(items=items):
                return Settled([self._ack(item.token, item.result) for item in items])
            case Fail(items=items):
                return Settled([self._fail(item.token, item.error) for item in items])
            case Requeue(items=items):
                return Settled([self._requeue(item.token, item.delay_ms) for item in items])
            case Extend(items=items):
                return Settled([self._extend(item.token, item.lease_ms) for item in items])
            case FoundCluster(cluster_id=cluster_id):
                self.cluster_id = self.cluster_id or cluster_id
                return Founded(self.cluster_id)
            case _:
                assert_never(command)

    def find(self, task_id: bytes) -> SlowTask | None:
        """Return the task of an id."""
        return next((each for each in self.tasks if each.new.id == task_id), None)

    def _enqueue(self, command: Enqueue) -> Enqueued | Rejected:
        if command.queue not in self.queues and len(self.queues) >= limits.QUEUES_MAX:
            return Rejected("invalid_request", "")
        for new in command.tasks:
            known = self.find(new.id)
            if known and (known.queue, known.new.payload) != (command.queue, new.payload):
                return Rejected("conflict", "")
        ids = [new.id for new in command.tasks]
        if any(ids.count(each) > 1 for each in ids):
            return Rejected("invalid_request", "")
        return Enqueued([self._enqueue_one(command.queue, new) for new in command.tasks])

    def _enqueue_one(self, queue: str, new: NewTask) -> EnqueuedTask:
        task = self.find(new.id)
        created = task is None
        if task is None:
            if queue not in self.queues:
                self.queues.append(queue)
            self.enqueued.append(queue)
            start_at_ms = self.wall_now_ms + new.delay_ms
            task = SlowTask(len(self.enqueued), new, queue, self.wall_now_ms, start_at_ms)
            self.tasks.append(task)
            if new.delay_ms:
                task.state = SCHEDULED
            else:
                self._to_back(task)
        assert task.state is not None
        return EnqueuedTask(new.id, task.state, created)

    def ready_in_order(self, queue: str) -> list[SlowTask]:
        """Return the ready tasks of a queue in the order in which they go out."""
        ready = [each for each in self.tasks if each.state is READY and each.queue == queue]
        return sorted(ready, key=lambda each: (each.new.priority, each.place))

    def _lease(self, command: Lease) -> Leased:
        for request in self.requests:
            if (request.worker, request.request_id) == (command.worker, command.request_id):
                found = [self._holder(token) for token in request.tokens]
                return Leased([self._leased(each) for each in found if each], is_repeat=True)
        candidates = [task for queue in command.queues for task in self.ready_in_order(queue)]
        granted: list[SlowTask] = []
        payload_bytes = 0
        for task in candidates:
            if task in granted or len(granted) == command.count:
                continue
            payload_bytes += len(task.new.payload)
            if granted and payload_bytes > limits.LEASE_REPLY_BYTES_MAX:
                break
            granted.append(task)
        for task in granted:
            self.tokens += 1
            task.state, task.token, task.ended_by = LEASED, self.tokens, None
            task.worker, task.deadline_ms = command.worker, self.lease_now_ms + command.lease_ms
        if granted:
            self._remember(command, [task.token for task in granted])
        return Leased([self._leased(task) for task in granted])

    def _leased(self, task: SlowTask) -> LeasedTask:
        attempt = task.failures + task.crashes + 1
        left_ms = task.deadline_ms - self.lease_now_ms
        return LeasedTask(task.new.id, task.queue, task.token, attempt, task.new.payload, left_ms)

    def _remember(self, command: Lease, tokens: list[int]) -> None:
        self.requests.append(
            SlowRequest(command.worker, command.request_id, tokens, self.lease_now_ms)
        )
        own = [each for each in self.requests if each.worker == command.worker]
        if len(own) > limits.LEASE_REQUESTS_KEPT_PER_WORKER:
            self.requests.remove(own[0])
        while (
            len(self.requests) > limits.LEASE_REQUESTS_KEPT_MAX
            or sum(len(each.tokens) for each in self.requests) > limits.LEASE_TOKENS_KEPT_MAX
        ):
            newest_first = [each.worker for each in reversed(self.requests)]
            silent = max(set(newest_first), key=newest_first.index)
            self.requests = [each for each in self.requests if each.worker != silent]

    # ------------------------------------------------------------ settling

    def _holder(self, token: int) -> SlowTask | None:
        """Return the task that is leased under a token right now."""
        return next(
            (each for each in self.tasks if each.token == token and not each.ended_by), None
        )

    def _ended(self, token: int, by: str) -> SettledTask:
        """Answer a report whose lease is over: the same report again is answered again."""
        for task in self.tasks:
            if task.token == token and task.ended_by == by:
                return SettledTask(task.state)
        return LOST

    def _ack(self, token: int, result: bytes | None) -> SettledTask:
        task = self._holder(token)
        if task is None:
            return self._ended(token, "ack")
        task.ended_by, task.result = "ack", result
        self._finish(task, DONE)
        return SettledTask(DONE)

    def _fail(self, token: int, error: str) -> SettledTask:
        task = self._holder(token)
        if task is None:
            return self._ended(token, "fail")
        task.ended_by = "fail"
        task.failures += 1
        self._note(task, error)
        if task.failures >= task.new.attempts_max:
            self._finish(task, DEAD)
        else:
            self._to_back(task)
        return SettledTask(task.state)

    def _requeue(self, token: int, delay_ms: int) -> SettledTask:
        task = self._holder(token)
        if task is None:
            return self._ended(token, "requeue")
        task.ended_by = "requeue"
        if delay_ms:
            task.state, task.not_before_at_ms = SCHEDULED, self.wall_now_ms + delay_ms
        else:
            self._to_front(task)
        return SettledTask(task.state)

    def _extend(self, token: int, lease_ms: int) -> SettledTask:
        task = self._holder(token)
        if task is None:
            return LOST
        task.deadline_ms = self.lease_now_ms + lease_ms
        return SettledTask(LEASED)

    # ------------------------------------------------------------ looking

    def status(self, task: SlowTask) -> TaskStatus:
        """Return what a reader should be told."""
        assert task.state is not None
        runs = task.failures + task.crashes + (task.state in (LEASED, DONE))
        return TaskStatus(
            task.new.id,
            task.queue,
            task.state,
            task.new.priority,
            task.failures,
            task.crashes,
            runs,
            task.new.attempts_max,
            task.token or None,
            task.result,
            task.errors,
            task.not_before_at_ms,
            task.enqueued_at_ms,
            task.finished_at_ms or None,
        )

    def counts(self, queue: str) -> dict[str, int]:
        """Return the tasks of a queue by state, forgotten ones as done."""
        states = [each.state for each in self.tasks if each.queue == queue]
        counts = {state.value: states.count(state) for state in TaskState}
        counts["done"] += self.forgotten.count(queue)
        return counts

    def fingerprint(self) -> str:
        """Return everything but the clocks and what is remembered of lease calls, as text: the
        state hash must change with it and only with it."""
        return repr((self.tasks, self.cluster_id, self.queues, self.tokens, self.forgotten))
