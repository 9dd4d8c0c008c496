"""What a queue and the cluster may hold and take in; judged while applying, so exact.

What makes room (settlements, cancels) and what was let in before (retries, redrives, moves,
follow-ups, the runs of schedules) passes always.
"""

from collections.abc import Iterable

from raftq.core.bucket import Bucket
from raftq.core.ready_queue import ReadyQueue
from raftq.core.state import State
from raftq.core.task import CANCELLED, DONE, EXPIRED
from raftq.protocol import limits
from raftq.protocol.errors import QueueFull, RateLimited
from raftq.protocol.options import Rate
from raftq.protocol.replies import Rejected


def is_limited(state: State, queue: ReadyQueue | None) -> bool:
    """Tell whether an enqueue must be judged at all."""
    quota = state.quota
    if quota.tasks_max is not None or quota.payload_bytes_max is not None or quota.enqueue_rate:
        return True
    if queue is None:
        return False
    settings = queue.settings
    return (
        settings.tasks_max is not None
        or settings.payload_bytes_max is not None
        or settings.enqueue_rate is not None
    )


def refusal(state: State, new: Iterable[tuple[str, int, int]]) -> Rejected | None:
    """Return why tasks cannot be let in, or None.

    Args:
        state: Before them.
        new: (queue, tasks, payload bytes); a queue may occur more than once.
    """
    tasks: dict[str, int] = {}
    payload_bytes: dict[str, int] = {}
    for name, count, size in new:
        tasks[name] = tasks.get(name, 0) + count
        payload_bytes[name] = payload_bytes.get(name, 0) + size
    if not tasks:
        return None
    refused = _cluster_refuses(state, sum(tasks.values()), sum(payload_bytes.values()))
    for name in tasks:
        queue = state.queues.get(name)
        if refused is None and queue is not None:
            refused = _queue_refuses(state, queue, tasks[name], payload_bytes[name])
    return refused


def _cluster_refuses(state: State, tasks: int, payload_bytes: int) -> Rejected | None:
    quota = state.quota
    held = _Held("the cluster", state.live_tasks, state.live_payload_bytes)
    return held.refuses(
        tasks, payload_bytes, quota.tasks_max, quota.payload_bytes_max
    ) or _rate_refuses(held.what, quota.enqueue_rate, state.quota_bucket, tasks, state.wall_now_ms)


def _queue_refuses(
    state: State, queue: ReadyQueue, tasks: int, payload_bytes: int
) -> Rejected | None:
    settings, counts = queue.settings, queue.counts
    live = queue.enqueued - counts[DONE] - counts[CANCELLED] - counts[EXPIRED]
    held = _Held(f"queue {queue.name}", live, queue.payload_bytes)
    return held.refuses(
        tasks, payload_bytes, settings.tasks_max, settings.payload_bytes_max
    ) or _rate_refuses(
        held.what, settings.enqueue_rate, queue.enqueue_bucket, tasks, state.wall_now_ms
    )


class _Held:
    """What somebody holds, and what that says to more of it."""

    def __init__(self, what: str, tasks: int, payload_bytes: int) -> None:
        self.what = what
        self._tasks = tasks
        self._payload_bytes = payload_bytes

    def refuses(
        self, tasks: int, payload_bytes: int, tasks_max: int | None, bytes_max: int | None
    ) -> Rejected | None:
        for held, more, most, unit in (
            (self._tasks, tasks, tasks_max, "unfinished tasks"),
            (self._payload_bytes, payload_bytes, bytes_max, "payload bytes of unfinished tasks"),
        ):
            if most is not None and held + more > most:
                return Rejected(
                    QueueFull.code,
                    f"{self.what} holds {held} {unit}; its quota is {most}: wait for workers to "
                    "catch up",
                    limits.RETRY_AFTER_MS,
                )
        return None


def _rate_refuses(
    what: str, rate: Rate | None, bucket: Bucket | None, tasks: int, now_ms: int
) -> Rejected | None:
    """Refuse tasks for which there are no tokens; more than the burst pass a full bucket only."""
    if rate is None or bucket is None or bucket.admits(rate, now_ms, tasks):
        return None
    wait_ms = max(bucket.next_ms(rate, now_ms, tasks) - now_ms, 1)
    text = f"{what} takes {rate.count} tasks in {rate.per_ms} ms; try again later"
    return Rejected(RateLimited.code, text, wait_ms)


def take_from_rates(state: State, new: Iterable[tuple[str, int, int]]) -> None:
    """Count tasks that are let in against the rates, each queue's together."""
    now_ms = state.wall_now_ms
    tasks: dict[str, int] = {}
    for name, count, _ in new:
        tasks[name] = tasks.get(name, 0) + count
    _take(state.quota.enqueue_rate, state.quota_bucket, sum(tasks.values()), now_ms)
    for name, count in tasks.items():
        queue = state.queues.get(name)
        if queue is not None:
            _take(queue.settings.enqueue_rate, queue.enqueue_bucket, count, now_ms)


def _take(rate: Rate | None, bucket: Bucket | None, tasks: int, now_ms: int) -> None:
    if rate is not None and bucket is not None and tasks:
        bucket.take(rate, now_ms, tasks)
