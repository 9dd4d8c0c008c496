"""Enqueues that are more than plain: options, keys, parents, quotas, several queues; all or none.

Everything is checked before anything changes. What is checked here is what `State` trusts.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

from google_crc32c import value as crc32c
from msgspec import structs

from raftq.core.quotas import refusal, take_from_rates
from raftq.core.state import State
from raftq.core.task import (
    CANCELLED,
    DEAD,
    DONE,
    EXPIRED,
    LEASED,
    READY,
    SCHEDULED,
    Extras,
    Task,
)
from raftq.core.unique_keys import Holder
from raftq.protocol import limits
from raftq.protocol.commands import EnqueuePart
from raftq.protocol.errors import Conflict, InvalidRequest, KeyTaken, RaftqError, UnknownTask
from raftq.protocol.fields import OnConflict, OnParentFailure, TaskState
from raftq.protocol.options import NewTask, TaskOptions
from raftq.protocol.replies import Enqueued, EnqueuedTask, Rejected


class _New(NamedTuple):
    """One task that is going to be created, and who loses a key to it."""

    queue: str
    task: NewTask
    cancels: Task | None = None


class _Plan(NamedTuple):
    """What an enqueue comes to: which tasks are new, and what is told of each that was asked."""

    new: list[_New]
    told: list[EnqueuedTask | int]
    """A number is that of one of `new`."""


def enqueue_parts(
    state: State, parts: Sequence[EnqueuePart], *, passes_quotas: bool = False
) -> Enqueued | Rejected:
    """Create the tasks that are not known yet, if nothing speaks against any of them."""
    try:
        plan = _Planning(state).plan(parts)
    except RaftqError as error:
        return Rejected(error.code, error.message)
    if not passes_quotas and (refused := refusal(state, counted(plan.new))) is not None:
        return refused
    if not passes_quotas:
        take_from_rates(state, counted(plan.new))
    created = _create_all(state, plan.new)
    state.tell_relatives()
    states = {task.id: state_of(task) for task in created}
    told = [
        EnqueuedTask(created[each].id, states[created[each].id], True)
        if isinstance(each, int)
        else EnqueuedTask(each.id, states.get(each.id, each.state), False)
        for each in plan.told
    ]
    return Enqueued(told, state.index)


def refuses(state: State, parts: Sequence[EnqueuePart], ending: Task) -> str | None:
    """Return the code of what speaks against tasks that follow another one, or None.

    Args:
        state: As it is.
        parts: The follow-ups, or the next run of a schedule.
        ending: The task that ends with them, whose unique key is free for them.
    """
    if sum(len(part.tasks) for part in parts) > limits.FOLLOW_UPS_MAX:
        return InvalidRequest.code
    try:
        _Planning(state, ending.sequence).plan(parts)
    except RaftqError as error:
        return error.code
    return None


def state_of(task: Task) -> TaskState:
    """Return the state of a task that exists."""
    assert task.state is not None
    return task.state


def counted(new: Sequence[_New]) -> Iterator[tuple[str, int, int]]:
    """Yield (queue, tasks, payload bytes) of what is new."""
    for queue, group in groupby(new, key=lambda each: each.queue):
        sizes = [len(each.task.payload) for each in group]
        yield queue, len(sizes), sum(sizes)


class _Planning:
    """The checks of one enqueue.

    Args:
        state: As it is.
        ending: The sequence of a task that will have ended by then.
    """

    def __init__(self, state: State, ending: int = 0) -> None:
        self._state = state
        self._ending = ending
        self._new: list[_New] = []
        self._seen: set[bytes] = set()
        self._ids: dict[bytes, bytes] = {}
        """Id asked for → id of the task that there will be."""
        self._keys: dict[str, EnqueuedTask] = {}
        """Unique keys that tasks of this enqueue ask for, and what is told of who has them then;
        of a new task the state is not known yet."""
        self._children: dict[bytes, int] = {}

    def plan(self, parts: Sequence[EnqueuePart]) -> _Plan:
        """Return what there is to do.

        Raises:
            RaftqError: Nothing; something speaks against it.
        """
        self._check_queues(parts)
        told = [self._plan_one(part.queue, new) for part in parts for new in part.tasks]
        return _Plan(self._new, told)

    def _check_queues(self, parts: Sequence[EnqueuePart]) -> None:
        known = self._state.queues
        unknown = {part.queue for part in parts} - known.keys()
        for options in (new.options for part in parts for new in part.tasks):
            if options is not None and options.check_queue is not None:
                unknown |= {options.check_queue} - known.keys()
        if len(known) + len(unknown) > limits.QUEUES_MAX and unknown:
            raise InvalidRequest(f"there are {len(known)} queues already; use one of them")

    def _plan_one(self, queue: str, new: NewTask) -> EnqueuedTask | int:
        if new.id in self._seen:
            raise InvalidRequest("an id occurs twice in one enqueue")
        self._seen.add(new.id)
        sequence = self._state.tasks.find(new.id)
        if sequence:
            return self._known(queue, new, sequence)
        options = new.options
        if new.not_before_at_ms - self._state.wall_now_ms > limits.DELAY_MS_MAX:
            raise InvalidRequest("not_before_at_ms is too far away")
        cancels = None
        if options is not None:
            _check_options(options)
            if options.depends_on:
                options = self._with_parents(new.id, options)
                new = structs.replace(new, options=options)
            if options.unique_key is not None:
                found = self._take_key(new, options, options.unique_key)
                if isinstance(found, EnqueuedTask):
                    self._ids[new.id] = found.id
                    return found
                cancels = found
        self._ids[new.id] = new.id
        self._new.append(_New(queue, new, cancels))
        return len(self._new) - 1

    def _known(self, queue: str, new: NewTask, sequence: int) -> EnqueuedTask:
        task = self._state.tasks.get(sequence)
        home = None if task.extras is None else task.extras.home_queue
        is_same_queue = queue in (task.queue, home, task.moved_from)
        if not is_same_queue or task.payload_crc != crc32c(new.payload):
            raise Conflict(
                f"task {UUID(bytes=new.id)} exists with another payload or in another queue"
            )
        return EnqueuedTask(new.id, state_of(task), False)

    def _with_parents(self, child_id: bytes, options: TaskOptions) -> TaskOptions:
        """Return options whose parents are tasks that there will be."""
        parents = [self._ids.get(each, each) for each in options.depends_on]
        if len(set(parents)) < len(parents):
            raise InvalidRequest("depends_on names a task twice")
        for parent_id in parents:
            if parent_id == child_id:
                raise InvalidRequest("a task depends on itself")
            children = self._children.get(parent_id)
            if children is None:
                children = self._children_of(parent_id)
            if children >= limits.CHILDREN_MAX:
                raise InvalidRequest(
                    f"{limits.CHILDREN_MAX} tasks depend on {UUID(bytes=parent_id)} already"
                )
            self._children[parent_id] = children + 1
        return structs.replace(options, depends_on=parents)

    def _children_of(self, parent_id: bytes) -> int:
        sequence = self._state.tasks.find(parent_id)
        if sequence:
            return len(self._state.tasks.get(sequence).children or ())
        if parent_id not in self._ids:
            raise UnknownTask(
                f"depends_on names {UUID(bytes=parent_id)}, which is not known; enqueue it before, "
                "or earlier in the same call"
            )
        return 0

    def _take_key(self, new: NewTask, options: TaskOptions, key: str) -> EnqueuedTask | Task | None:
        """Return who is answered for, who is cancelled, or None if nobody has the key."""
        policy = options.on_conflict
        if key in self._keys:
            if policy is OnConflict.EXISTING:
                return self._keys[key]
            raise KeyTaken(f"two tasks of one enqueue have the unique key {key!r}")
        holder = self._state.unique_keys.get(key)
        self._keys[key] = EnqueuedTask(new.id, READY, False)
        if holder is None or (holder.sequence == self._ending and not holder.until_ms):
            return None
        kept = self._state.tasks.objects.get(holder.sequence)
        held = kept if kept is not None and kept.id == holder.task_id else None
        if policy is OnConflict.EXISTING:
            is_over = holder.state is not None
            state = holder.state if is_over or held is None else held.state
            self._keys[key] = EnqueuedTask(holder.task_id, state or DONE, False)
            return self._keys[key]
        if policy is OnConflict.REJECT or (held is not None and held.state is LEASED):
            raise KeyTaken(f"task {UUID(bytes=holder.task_id)} has the unique key {key!r}")
        return held if holder.state is None else None


def _check_options(options: TaskOptions) -> None:
    if options.check_queue is not None and not options.confirm_within_ms:
        raise InvalidRequest("check_queue needs confirm_within_ms")
    if options.unique_ms and options.unique_key is None:
        raise InvalidRequest("unique_ms needs a unique_key")


# ---------------------------------------------------------------- creating


def _create_all(state: State, new: Sequence[_New]) -> list[Task]:
    """Create tasks in order; plain ones of one queue together."""
    created: list[Task] = []
    for queue, is_plain, group in _runs(new):
        first = state.last_sequence + 1
        if is_plain:
            tasks = [_with_delay(each.task, state.wall_now_ms) for each in group]
            is_new = state.enqueue(queue, tasks, [crc32c(each.payload) for each in tasks])
            assert is_new, "a task that was planned is known"
        else:
            for each in group:
                if each.cancels is not None:
                    state.cancel(each.cancels)
                _create(state, queue, each.task)
        created += [state.tasks.get(each) for each in range(first, state.last_sequence + 1)]
    return created


def _runs(new: Sequence[_New]) -> Iterator[tuple[str, bool, list[_New]]]:
    def kind(each: _New) -> tuple[str, bool]:
        return each.queue, each.task.options is None

    for (queue, is_plain), group in groupby(new, key=kind):
        yield queue, is_plain, list(group)


def _with_delay(new: NewTask, wall_now_ms: int) -> NewTask:
    """Return a plain task whose time is told by its delay alone."""
    if not new.not_before_at_ms:
        return new
    delay_ms = max(new.delay_ms, new.not_before_at_ms - wall_now_ms)
    return structs.replace(new, delay_ms=delay_ms, not_before_at_ms=0)


def _create(state: State, queue_name: str, new: NewTask) -> None:
    """Create a task with options."""
    options, now_ms = new.options, state.wall_now_ms
    assert options is not None
    queue = state.queue_of(queue_name)
    if options.check_queue is not None:
        state.queue_of(options.check_queue)  # Now, because later there may be no room for it.
    task = Task(
        state.last_sequence + 1,
        queue.name,
        new.id,
        len(new.payload),
        crc32c(new.payload),
        new.priority,
        new.attempts_max,
        max(now_ms + new.delay_ms, new.not_before_at_ms),
        now_ms,
        extras=_extras(options, now_ms),
    )
    state.create(task, new)
    _take_keys(state, task, options)
    if not _meet_parents(state, task, options):
        state.end(task, CANCELLED)
    elif task.extras is not None and 0 < task.extras.expires_at_ms <= now_ms:
        state.end(task, EXPIRED)
    else:
        state.let_on(task)


def _extras(options: TaskOptions, now_ms: int) -> Extras:
    ends = [options.expires_at_ms] if options.expires_at_ms else []
    if options.expires_after_ms:
        ends.append(now_ms + options.expires_after_ms)
    confirm_by_ms = now_ms + options.confirm_within_ms if options.confirm_within_ms else 0
    return Extras(options, min(ends, default=0), confirm_by_ms=confirm_by_ms)


def _take_keys(state: State, task: Task, options: TaskOptions) -> None:
    if options.unique_key is not None:
        until_ms = state.wall_now_ms + options.unique_ms if options.unique_ms else 0
        state.unique_keys.take(options.unique_key, Holder(task.sequence, task.id, until_ms))
    for text in (options.unique_key, options.order_key, options.limit_key, options.fair_key):
        state.mix_text(text or "")


def _meet_parents(state: State, task: Task, options: TaskOptions) -> bool:
    """Tie a new task to its parents; tell whether it can still run."""
    extras, tasks = task.extras, state.tasks
    if not options.depends_on or extras is None:
        return True
    parents: list[Task] = []
    for parent_id in options.depends_on:
        # One after the other: what is owned may turn other rows into objects.
        parent = tasks.get(tasks.find(parent_id))
        tasks.own(parent)
        parents.append(parent)
        if _is_waited_for(parent, options.on_parent_failure):
            extras.waits_for.add(parent.sequence)
        elif parent.state is not DONE and options.on_parent_failure is not _RUN:
            return False
    state.tie(task, parents)
    state.mix(*sorted(extras.waits_for))
    return True


_RUN = OnParentFailure.RUN


def _is_waited_for(parent: Task, policy: OnParentFailure) -> bool:
    """Tell whether a task must wait for a parent; if not, the parent is over."""
    if parent.state in (DONE, CANCELLED, EXPIRED):
        return False
    return not (parent.state is DEAD and policy is not OnParentFailure.WAIT)


def state_at_first(new: NewTask) -> TaskState:
    """Return the state of a new plain task."""
    return SCHEDULED if new.delay_ms else READY
