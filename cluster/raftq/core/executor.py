"""What each command does to a state, and what it is answered."""

from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never

from google_crc32c import value as crc32c

from raftq.core.applied import AppliedReply, Granted, GrantedTask
from raftq.core.state import State
from raftq.core.task import DONE, LEASED, READY, SCHEDULED, Settling, Task
from raftq.protocol import limits
from raftq.protocol.errors import Conflict, InvalidRequest, LeaseLost
from raftq.protocol.messages import (
    Ack,
    AckItem,
    Command,
    Enqueue,
    Enqueued,
    EnqueuedTask,
    Extend,
    ExtendItem,
    Fail,
    FailItem,
    FoundCluster,
    Founded,
    Lease,
    NewTask,
    Rejected,
    Requeue,
    RequeueItem,
    Settled,
    SettledTask,
    TaskState,
)

_LEASE_LOST = SettledTask(None, LeaseLost.code)
_SETTLED_LEASED = SettledTask(LEASED)
_SETTLED_DONE = SettledTask(DONE)


class Executor:
    """Executes commands.

    Args:
        state: What they change.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def execute(self, command: Command) -> AppliedReply:
        """Execute one command and return its reply."""
        match command:
            case Enqueue():
                return self._enqueue(command)
            case Lease():
                return self._lease(command)
            case Ack(items=items):
                return Settled([self._ack(item) for item in items])
            case Fail(items=items):
                return Settled([self._fail(item) for item in items])
            case Requeue(items=items):
                return Settled([self._requeue(item) for item in items])
            case Extend(items=items):
                return Settled([self._extend(item) for item in items])
            case FoundCluster(cluster_id=cluster_id):
                return self._found(cluster_id)
            case _:
                assert_never(command)

    def enqueue_new(self, queue: str, tasks: Sequence[NewTask]) -> bool:
        """Create tasks if nothing speaks against it and none is known; tell whether they were."""
        state = self._state
        if queue not in state.queues and len(state.queues) >= limits.QUEUES_MAX:
            return False
        if len(tasks) > 1 and len({new.id for new in tasks}) < len(tasks):
            return False
        return state.enqueue(queue, tasks, [crc32c(new.payload) for new in tasks])

    def _enqueue(self, command: Enqueue) -> Enqueued | Rejected:
        if self.enqueue_new(command.queue, command.tasks):
            return created(command)
        queues = self._state.queues
        if command.queue not in queues and len(queues) >= limits.QUEUES_MAX:
            text = f"there are {limits.QUEUES_MAX} queues already; use one of them"
            return Rejected(InvalidRequest.code, text)
        return self._enqueue_known(command)

    def _enqueue_known(self, command: Enqueue) -> Enqueued | Rejected:
        """Create those tasks that are not known yet, if all others are what they were."""
        state, replies = self._state, list[EnqueuedTask]()
        unknown: list[NewTask] = []
        for new in command.tasks:
            sequence = state.tasks.find(new.id)
            if not sequence:
                unknown.append(new)
                replies.append(EnqueuedTask(new.id, _state_at_first(new), True))
                continue
            task = state.tasks.get(sequence)
            if task.queue != command.queue or task.payload_crc != crc32c(new.payload):
                text = f"task {new.id.hex()} exists with another payload or in another queue"
                return Rejected(Conflict.code, text)
            replies.append(EnqueuedTask(new.id, state_of(task), False))
        if len({new.id for new in command.tasks}) < len(replies):
            return Rejected(InvalidRequest.code, "an id occurs twice in one enqueue")
        if unknown:
            self.enqueue_new(command.queue, unknown)
        return Enqueued(replies)

    def _lease(self, command: Lease) -> Granted:
        state = self._state
        repeated = state.requests.recall(command.worker, command.request_id)
        if repeated:
            held = [state.by_token.get(token) for token in repeated]
            still_held = [
                _granted(task, max(task.lease.deadline_ms - state.lease_now_ms, 1))
                for task in held
                if task and task.lease
            ]
            return Granted(still_held, is_repeat=True)
        granted: list[GrantedTask] = []
        payload_bytes = 0
        for name in command.queues:
            queue = state.queues.get(name)
            while queue is not None and queue.ready and len(granted) < command.count:
                task = state.tasks.get(queue.first())
                payload_bytes += task.payload_bytes
                if granted and payload_bytes > limits.LEASE_REPLY_BYTES_MAX:
                    break
                state.grant(queue, task, command.worker, command.lease_ms)
                granted.append(_granted(task, command.lease_ms))
        if granted:
            tokens = tuple(lease.token for lease in granted)
            state.requests.remember(command.worker, command.request_id, tokens, state.lease_now_ms)
            state.mix(crc32c(f"{command.worker} {command.request_id}".encode()))
        return Granted(granted)

    def _ack(self, item: AckItem) -> SettledTask:
        task = self._state.by_token.get(item.token)
        if task is None:
            return _LEASE_LOST
        if task.state is LEASED:
            self._state.finish(task, item.result)
            return _SETTLED_DONE
        return _SETTLED_DONE if task.state is DONE else _LEASE_LOST

    def _fail(self, item: FailItem) -> SettledTask:
        task = self._state.by_token.get(item.token)
        if task is None:
            return _LEASE_LOST
        if task.state is LEASED:
            self._state.fail(task, item.error)
        elif task.released_by is not Settling.FAIL:
            return _LEASE_LOST
        return SettledTask(task.state)

    def _requeue(self, item: RequeueItem) -> SettledTask:
        task = self._state.by_token.get(item.token)
        if task is None:
            return _LEASE_LOST
        if task.state is LEASED:
            self._state.give_back(task, item.delay_ms)
        elif task.released_by is not Settling.REQUEUE:
            return _LEASE_LOST
        return SettledTask(task.state)

    def _extend(self, item: ExtendItem) -> SettledTask:
        task = self._state.by_token.get(item.token)
        if task is None or task.state is not LEASED:
            return _LEASE_LOST
        self._state.extend(task, item.lease_ms)
        return _SETTLED_LEASED

    def _found(self, cluster_id: str) -> Founded:
        state = self._state
        if state.cluster_id is None:
            state.cluster_id = cluster_id
            state.mix(crc32c(cluster_id.encode()))
        return Founded(state.cluster_id)


def runs(commands: Iterable[Command]) -> Iterator[list[Command]]:
    """Yield all commands in order: enqueues in a row to one queue together, others alone."""
    run: list[Command] = []
    queue = ""
    for command in commands:
        name = command.queue if isinstance(command, Enqueue) else ""
        if run and name != queue:
            yield run
            run = []
        queue = name
        if name:
            run.append(command)
        else:
            yield [command]
    if run:
        yield run


def created(command: Enqueue) -> Enqueued:
    """Return the reply to an enqueue whose tasks are all new."""
    return Enqueued([EnqueuedTask(new.id, _state_at_first(new), True) for new in command.tasks])


def state_of(task: Task) -> TaskState:
    """Return the state of a task that exists."""
    assert task.state is not None
    return task.state


def _state_at_first(new: NewTask) -> TaskState:
    return SCHEDULED if new.delay_ms else READY


def _granted(task: Task, lease_ms: int) -> GrantedTask:
    return GrantedTask(
        task.id,
        task.queue,
        task.token,
        task.failures + task.crashes + 1,
        lease_ms,
        task.sequence,
        task.payload_bytes,
        task.payload_crc,
    )
