"""The part of the asyncio client that sets what holds for queues, keys and the cluster.

All of it is replicated, counts from the log entry that carries it, and survives every node.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

import msgspec

from raftq.client.durations import Duration, milliseconds
from raftq.client.keywords.naming import refuse_unknown
from raftq.client.keywords.new_tasks import PreparedKeywords, task_options
from raftq.client.keywords.rates import BackoffText, RateText, backoff_of, rate_of
from raftq.client.parts.reading import Reading
from raftq.protocol import limits
from raftq.protocol.control import DeleteSchedule, SetLimit, SetQueue, SetQuota, SetSchedule
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import MissedRuns, Overlap
from raftq.protocol.options import KeyLimit, QueueChanges, Quota, Schedule
from raftq.protocol.replies import Done

MissedName: TypeAlias = MissedRuns | Literal["skip", "one", "all"]
OverlapName: TypeAlias = Overlap | Literal["allow", "skip", "replace"]


class QueueKeywords(TypedDict, total=False):
    """What a queue can be told; None takes a bound away."""

    paused: bool
    """While true nothing of it is leased; enqueues and settlements go on."""
    concurrency: int | None
    """Tasks that may be leased at a time."""
    rate: RateText | None
    """How fast tasks may be leased."""
    attempts_max: int
    crashes_max: int
    backoff: BackoffText
    """The pause before a retry of tasks that say nothing of their own."""
    result_ttl: Duration
    """How long outcomes are kept."""
    ageing: Duration
    """Waiting that counts as much as one step of priority; 0 means that none does."""
    tasks_max: int | None
    """Unfinished tasks that it may hold."""
    payload_bytes_max: int | None
    """Payload bytes of its unfinished tasks."""
    enqueue_rate: RateText | None
    """How fast tasks may be enqueued."""
    fair_weights: Mapping[str, int]
    """Share of each fair key; a key that is not here has 1."""


class Configuring(Reading):
    """Sets queues, limits, quotas and schedules."""

    async def set_queue(
        self, name: str, *, timeout: Duration | None = None, **changes: Unpack[QueueKeywords]
    ) -> bool:
        """Change settings of a queue, which is created if it is new.

        Args:
            name: Of the queue.
            timeout: For this call.
            changes: See `QueueKeywords`; what is not named stays as it is.

        Returns:
            Whether anything was different before.
        """
        call = SetQueue(name, queue_changes(changes))
        return (await self._call(call, Done, timeout)).is_changed

    async def pause(self, queue: str, *, timeout: Duration | None = None) -> bool:
        """Let nothing of a queue be leased; return whether it was running."""
        return await self.set_queue(queue, paused=True, timeout=timeout)

    async def resume(self, queue: str, *, timeout: Duration | None = None) -> bool:
        """Let tasks of a queue be leased again; return whether it was paused."""
        return await self.set_queue(queue, paused=False, timeout=timeout)

    async def set_limit(
        self,
        key: str,
        *,
        concurrency: int | None = None,
        rate: RateText | None = None,
        timeout: Duration | None = None,
    ) -> bool:
        """Set what holds for all tasks of a limit key together, in whatever queues they are.

        Without `concurrency` and `rate` the limit is removed.

        Returns:
            Whether it was different before.
        """
        limit = KeyLimit(concurrency, None if rate is None else rate_of(rate))
        return (await self._call(SetLimit(key, limit), Done, timeout)).is_changed

    async def set_quota(
        self,
        *,
        tasks_max: int | None = None,
        payload_bytes_max: int | None = None,
        enqueue_rate: RateText | None = None,
        timeout: Duration | None = None,
    ) -> bool:
        """Set what the whole cluster may hold and take in; what is not given has no quota.

        Returns:
            Whether it was different before.
        """
        rate = None if enqueue_rate is None else rate_of(enqueue_rate)
        call = SetQuota(Quota(tasks_max, payload_bytes_max, rate))
        return (await self._call(call, Done, timeout)).is_changed

    # ------------------------------------------------------------ schedules

    async def set_schedule(
        self,
        name: str,
        queue: str,
        payload: bytes,
        *,
        cron: str | None = None,
        every: Duration | None = None,
        timezone: str = "UTC",
        missed: MissedName = MissedRuns.ONE,
        overlap: OverlapName = Overlap.ALLOW,
        jitter: Duration = 0,
        paused: bool = False,
        timeout: Duration | None = None,
        **options: Unpack[PreparedKeywords],
    ) -> bool:
        """Have a task enqueued again and again; replaces the schedule of this name.

        Args:
            name: Of the schedule.
            queue: Where its tasks go.
            payload: What the worker gets, each time the same.
            cron: Minute, hour, day of the month, month, day of the week.
            every: The time between two; either this or `cron`.
            timezone: Of `cron`, as the IANA names it.
            missed: What if ticks passed while the cluster was down: `skip`, `one` or `all`.
            overlap: What if the task of the tick before is not over: `allow`, `skip` or `replace`.
            jitter: Up to how much later a task may start.
            paused: Whether it stands still.
            timeout: For this call.
            options: Of each task; `id`, `delay` and `not_before` have no meaning here.

        Returns:
            Whether it was different before; setting what is set changes nothing.

        Raises:
            InvalidRequest: The text of `cron` or `timezone` is none.
        """
        unfit = sorted({"id", "delay", "not_before"} & options.keys())
        if unfit:
            raise InvalidRequest(f"the tasks of a schedule have no {unfit[0]}; ticks tell when")
        schedule = Schedule(
            queue=queue,
            payload=payload,
            cron=cron,
            timezone=timezone,
            every_ms=None if every is None else milliseconds(every),
            missed=MissedRuns(missed),
            overlap=Overlap(overlap),
            jitter_ms=milliseconds(jitter),
            paused=paused,
            priority=options.get("priority", limits.PRIORITY_DEFAULT),
            attempts_max=options.get("attempts_max", 0),
            options=task_options(options),
        )
        return await self.put_schedule(name, schedule, timeout=timeout)

    async def put_schedule(
        self, name: str, schedule: Schedule, *, timeout: Duration | None = None
    ) -> bool:
        """Set a schedule as it is sent; see `set_schedule`."""
        return (await self._call(SetSchedule(name, schedule), Done, timeout)).is_changed

    async def pause_schedule(self, name: str, *, timeout: Duration | None = None) -> bool:
        """Let a schedule stand still; return whether it was running.

        Raises:
            UnknownSchedule: There is none of this name.
        """
        return await self._hold_schedule(name, True, timeout)

    async def resume_schedule(self, name: str, *, timeout: Duration | None = None) -> bool:
        """Let a schedule go on with the next tick after now; return whether it stood still.

        Raises:
            UnknownSchedule: There is none of this name.
        """
        return await self._hold_schedule(name, False, timeout)

    async def _hold_schedule(self, name: str, paused: bool, timeout: Duration | None) -> bool:
        found = await self.schedule(name, timeout=timeout)
        changed = msgspec.structs.replace(found.schedule, paused=paused)
        return await self.put_schedule(name, changed, timeout=timeout)

    async def delete_schedule(self, name: str, *, timeout: Duration | None = None) -> bool:
        """Delete a schedule; tasks that it enqueued stay. Return whether there was one."""
        return (await self._call(DeleteSchedule(name), Done, timeout)).is_changed


_READ: Mapping[str, Any] = {
    "rate": rate_of,
    "enqueue_rate": rate_of,
    "backoff": backoff_of,
    "result_ttl": milliseconds,
    "ageing": milliseconds,
    "fair_weights": dict,
}
_FIELDS: Mapping[str, str] = {"result_ttl": "result_ttl_ms", "ageing": "ageing_ms"}


def queue_changes(keywords: QueueKeywords) -> QueueChanges:
    """Return changes of a queue's settings.

    Raises:
        InvalidRequest: There is no such setting, or a value is not written as it must be.
    """
    refuse_unknown(keywords, QueueKeywords.__annotations__, "a queue")
    fields: dict[str, Any] = {}
    for keyword, value in keywords.items():
        read = _READ.get(keyword)
        if value is not None and read is not None:
            value = read(value)
        fields[_FIELDS.get(keyword, keyword)] = value
    return QueueChanges(**fields)
