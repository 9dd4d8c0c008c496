"""What each command does to a state, and what it is answered."""

from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never

from google_crc32c import value as crc32c

from raftq.core import controlling, scheduling
from raftq.core.applied import AppliedReply, Granted, GrantedTask
from raftq.core.enqueueing import enqueue_parts, refuses, state_at_first
from raftq.core.quotas import is_limited
from raftq.core.ready_queue import ReadyQueue
from raftq.core.state import State
from raftq.core.task import CANCELLED, DONE, LEASED, Settling, Task
from raftq.protocol import limits
from raftq.protocol.commands import (
    Ack,
    AckItem,
    Command,
    Enqueue,
    EnqueuePart,
    EnqueueParts,
    Extend,
    ExtendItem,
    Fail,
    FailItem,
    FoundCluster,
    Lease,
    Requeue,
    RequeueItem,
)
from raftq.protocol.control import (
    Cancel,
    Confirm,
    DeleteSchedule,
    Edit,
    FireSchedule,
    SetLimit,
    SetQueue,
    SetQuota,
    SetSchedule,
    Sweep,
)
from raftq.protocol.errors import LeaseLost, TaskCancelled
from raftq.protocol.options import NewTask
from raftq.protocol.replies import Enqueued, EnqueuedTask, Founded, Rejected, Settled, SettledTask

_LEASE_LOST = SettledTask(None, LeaseLost.code)
_SETTLED_LEASED = SettledTask(LEASED)
_SETTLED_DONE = SettledTask(DONE)
_CANCELLED = SettledTask(CANCELLED, TaskCancelled.code)


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
                return self._settled([self._ack(item) for item in items])
            case Fail(items=items):
                return self._settled([self._fail(item) for item in items])
            case Requeue(items=items):
                return self._settled([self._requeue(item) for item in items])
            case Extend(items=items):
                return self._settled([self._extend(item) for item in items])
            case FoundCluster(cluster_id=cluster_id):
                return self._found(cluster_id)
            case _:
                return self._control(command)

    def _control(
        self,
        command: EnqueueParts
        | Cancel
        | Confirm
        | Edit
        | Sweep
        | SetQueue
        | SetLimit
        | SetQuota
        | SetSchedule
        | DeleteSchedule
        | FireSchedule,
    ) -> AppliedReply:
        state = self._state
        match command:
            case EnqueueParts(parts=parts):
                return enqueue_parts(state, parts)
            case Cancel(ids=ids):
                return self._settled([controlling.cancel(state, each) for each in ids])
            case Confirm(ids=ids):
                return self._settled([controlling.confirm(state, each) for each in ids])
            case Edit():
                edited = controlling.edit(state, command)
                return edited if isinstance(edited, Rejected) else self._settled([edited])
            case Sweep():
                return controlling.sweep(state, command)
            case SetQueue():
                return controlling.set_queue(state, command)
            case SetLimit():
                return controlling.set_limit(state, command)
            case SetQuota(quota=quota):
                return controlling.set_quota(state, quota)
            case SetSchedule():
                return scheduling.set_schedule(state, command)
            case DeleteSchedule(name=name):
                return scheduling.delete_schedule(state, name)
            case FireSchedule():
                return scheduling.fire(state, command)
            case _:
                assert_never(command)

    def _settled(self, items: list[SettledTask]) -> Settled:
        state = self._state
        if state.over:
            state.tell_relatives()
        return Settled(items, state.index)

    # ------------------------------------------------------------ enqueue

    def enqueue_new(self, queue: str, tasks: Sequence[NewTask]) -> bool:
        """Create tasks if they are plain, nothing speaks against it and none is known; tell
        whether they were."""
        state = self._state
        known = state.queues.get(queue)
        if (known is None and len(state.queues) >= limits.QUEUES_MAX) or is_limited(state, known):
            return False
        if len(tasks) > 1 and len({new.id for new in tasks}) < len(tasks):
            return False
        if [True for new in tasks if new.options is not None or new.not_before_at_ms]:
            return False
        return state.enqueue(queue, tasks, [crc32c(new.payload) for new in tasks])

    def created(self, command: Enqueue) -> Enqueued:
        """Return the reply to an enqueue whose tasks are all new and plain."""
        told = [EnqueuedTask(new.id, state_at_first(new), True) for new in command.tasks]
        return Enqueued(told, self._state.index)

    def _enqueue(self, command: Enqueue) -> Enqueued | Rejected:
        if self.enqueue_new(command.queue, command.tasks):
            return self.created(command)
        return enqueue_parts(self._state, [EnqueuePart(command.queue, command.tasks)])

    # ------------------------------------------------------------ lease

    def _lease(self, command: Lease) -> Granted:
        state = self._state
        repeated = state.requests.recall(command.worker, command.request_id)
        if repeated:
            held = [state.by_token.get(token) for token in repeated]
            still_held = [
                _granted(task, max(task.lease.deadline_ms - state.lease_now_ms, 1))
                for task in held
                if task and task.lease and task.state is LEASED
            ]
            return Granted(still_held, is_repeat=True)
        granted: list[GrantedTask] = []
        for name in command.queues:
            queue = state.queues.get(name)
            if queue is not None and queue.ready and len(granted) < command.count:
                self._lease_from(queue, command, granted)
        if granted:
            tokens = tuple([lease.token for lease in granted])
            state.requests.remember(command.worker, command.request_id, tokens, state.lease_now_ms)
            state.mix(crc32c(f"{command.worker} {command.request_id}".encode()))
        return Granted(granted)

    def _lease_from(self, queue: ReadyQueue, command: Lease, granted: list[GrantedTask]) -> None:
        """Grant tasks of one queue, as far as there is room."""
        state = self._state
        count = len(granted) + min(state.room(queue), command.count - len(granted))
        payload_bytes = sum([lease.payload_bytes for lease in granted])
        passed_over = 0
        while len(granted) < count and queue.ready:
            task = state.tasks.get(queue.first())
            if task.extras is not None and (state.drop_expired(task) or state.park(queue, task)):
                passed_over += 1
                if passed_over >= limits.PARKED_PER_COMMAND_MAX:
                    state.became_ready[queue.name] = None  # To be asked again.
                    break
                continue
            payload_bytes += task.payload_bytes
            if granted and payload_bytes > limits.LEASE_REPLY_BYTES_MAX:
                break
            state.grant(queue, task, command.worker, command.lease_ms)
            granted.append(_granted(task, command.lease_ms))
        if queue.settings.rate is not None:
            state.wake_later(queue)
        if state.over:
            state.tell_relatives()

    # ------------------------------------------------------------ settle

    def _ack(self, item: AckItem) -> SettledTask:
        state = self._state
        task = state.by_token.get(item.token)
        if task is None:
            return _LEASE_LOST
        if task.state is LEASED:
            if item.follow_ups and (code := refuses(state, item.follow_ups, task)):
                return SettledTask(None, code)
            state.finish(task, item.result)
            if item.follow_ups:
                enqueued = enqueue_parts(state, item.follow_ups, passes_quotas=True)
                assert isinstance(enqueued, Enqueued), "follow-ups that were checked are refused"
            return _SETTLED_DONE
        return _SETTLED_DONE if task.state is DONE else self._lost(task, is_settled=True)

    def _fail(self, item: FailItem) -> SettledTask:
        task = self._state.by_token.get(item.token)
        if task is None:
            return _LEASE_LOST
        if task.state is LEASED:
            self._state.fail(
                task, item.error, item.delay_ms, is_final=item.is_final, is_crash=item.is_crash
            )
        elif task.released_by is not Settling.FAIL:
            return self._lost(task, is_settled=True)
        return SettledTask(task.state)

    def _requeue(self, item: RequeueItem) -> SettledTask:
        task = self._state.by_token.get(item.token)
        if task is None:
            return _LEASE_LOST
        if task.state is LEASED:
            self._state.give_back(task, item.delay_ms)
        elif task.released_by is not Settling.REQUEUE:
            return self._lost(task, is_settled=True)
        return SettledTask(task.state)

    def _extend(self, item: ExtendItem) -> SettledTask:
        task = self._state.by_token.get(item.token)
        if task is None:
            return _LEASE_LOST
        if task.state is not LEASED:
            return self._lost(task, is_settled=False)
        self._state.extend(task, item.lease_ms, item.progress)
        return _SETTLED_LEASED

    def _lost(self, task: Task, *, is_settled: bool) -> SettledTask:
        """Refuse a worker whose lease counts no more.

        Args:
            task: What its token is of.
            is_settled: Whether the worker has stopped running it.
        """
        if task.state is not CANCELLED or task.released_by not in (None, Settling.CANCELLED):
            return _LEASE_LOST
        if is_settled:
            self._state.settle_cancelled(task)
        return _CANCELLED

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
