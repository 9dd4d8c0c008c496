"""What holds a task back, in the order in which it must go."""

from uuid import UUID

from raftq.core.ready_queue import ReadyQueue
from raftq.core.state import State
from raftq.core.task import BLOCKED, LEASED, READY, SCHEDULED, Blocked, Extras, Task
from raftq.protocol.statuses import Reason

_SHOWN_MAX = 10
"""Parents that are named."""
_AHEAD_MAX = 10_000
"""Tasks that are counted in a line; a longer one is said to be at least so long."""


def reasons(state: State, task: Task) -> list[Reason]:
    """Return the rules that hold a task back; the first one must go first."""
    if task.state is SCHEDULED:
        return [_not_before(task)]
    if task.state is LEASED:
        assert task.lease is not None
        worker = task.lease.worker
        text = f"worker {worker} runs it, attempt {task.failures + task.crashes + 1}"
        left_ms = task.lease.deadline_ms - state.lease_now_ms
        return [Reason("leased", text, {"worker": worker, "lease_left_ms": max(left_ms, 0)})]
    if task.state is BLOCKED and task.extras is not None:
        return _blocked(state, task, task.extras)
    if task.state is READY:
        return _ready(state, task)
    return [Reason("over", f"it is {task.state}", {"finished_at_ms": task.finished_at_ms})]


def _not_before(task: Task) -> Reason:
    facts = {"not_before_at_ms": task.not_before_at_ms}
    return Reason("not_before", "its time has not come", dict(facts))


def _blocked(state: State, task: Task, extras: Extras) -> list[Reason]:
    match extras.blocked_by:
        case Blocked.UNCONFIRMED:
            return [
                Reason(
                    "unconfirmed",
                    "it is prepared, and must be confirmed in time",
                    {"confirm_by_ms": extras.confirm_by_ms},
                )
            ]
        case Blocked.PARENTS:
            return [_parents(state, extras)]
        case Blocked.ORDER_KEY:
            key = extras.options.order_key or ""
            holder = _shown(state, state.order_keys.holder(key))
            ahead = state.order_keys.before(key, task.sequence)
            return [
                Reason(
                    "order_key",
                    f"order key {key!r} is held by task {holder}, and {ahead} tasks are before it",
                    {"key": key, "held_by": holder, "before": ahead},
                )
            ]
        case _:
            return [_limit(state, extras.options.limit_key or "")]


def _parents(state: State, extras: Extras) -> Reason:
    waits_for = sorted(extras.waits_for)
    names = [_shown(state, each) for each in waits_for[:_SHOWN_MAX]]
    more = "" if len(waits_for) == len(names) else f" and {len(waits_for) - len(names)} more"
    text = f"it waits for {', '.join(names)}{more}"
    return Reason("parents", text, {"parents": names, "waits_for": len(waits_for)})


def _shown(state: State, sequence: int) -> str:
    """Return the id of a task as people see it everywhere."""
    return str(UUID(bytes=state.tasks.get(sequence).id))


def _limit(state: State, key: str) -> Reason:
    status = state.limit_keys.status(key)
    limit = status.limit
    cap = "any number" if limit.concurrency is None else str(limit.concurrency)
    text = f"limit key {key!r} has no room: {status.leased} of {cap} are leased"
    if limit.rate is not None:
        text += f", at most {limit.rate.count} start in {limit.rate.per_ms} ms"
    return Reason("limit_key", text, {"key": key, "leased": status.leased})


def _ready(state: State, task: Task) -> list[Reason]:
    queue = state.queues[task.queue]
    found = _queue_holds(state, queue)
    ahead = 0
    for sequence in queue:
        if sequence == task.sequence or ahead >= _AHEAD_MAX:
            break
        ahead += 1
    if ahead:
        least = "at least " if ahead >= _AHEAD_MAX else ""
        text = f"{least}{ahead} ready tasks of the queue are before it"
        found.append(Reason("behind", text, {"before": ahead, "priority": task.priority}))
    return found or [Reason("nothing", "it is next: no worker has asked for it yet", {})]


def _queue_holds(state: State, queue: ReadyQueue) -> list[Reason]:
    settings, found = queue.settings, list[Reason]()
    if settings.paused:
        found.append(Reason("paused", f"queue {queue.name} is paused", {"queue": queue.name}))
    if settings.concurrency is not None and queue.leased >= settings.concurrency:
        text = f"{queue.leased} tasks of the queue are leased; it allows {settings.concurrency}"
        found.append(Reason("queue_concurrency", text, {"leased": queue.leased}))
    rate, bucket = settings.rate, queue.bucket
    if rate is not None and bucket is not None and not bucket.tokens(rate, state.wall_now_ms):
        at_ms = bucket.next_ms(rate, state.wall_now_ms)
        text = f"the queue starts at most {rate.count} tasks in {rate.per_ms} ms"
        found.append(Reason("queue_rate", text, {"next_at_ms": at_ms}))
    return found
