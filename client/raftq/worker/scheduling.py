"""Schedules of an App: tasks that the cluster enqueues at their times, whoever is there then.

They are declared with the tasks, and told to the cluster when a worker starts. What is told again
changes nothing. A schedule that somebody paused stays paused; one that is not declared any more
stays in the cluster until it is deleted, because an older worker may still want it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import structs

from raftq.client.async_client import AsyncClient
from raftq.client.durations import Duration, milliseconds
from raftq.client.parts.configuring import MissedName, OverlapName
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import MissedRuns, Overlap
from raftq.protocol.options import Schedule
from raftq.worker.errors import InvalidTask
from raftq.worker.options import check_name
from raftq.worker.task import Task

if TYPE_CHECKING:
    from raftq.worker.app import App

T = TypeVar("T", bound=Task[..., Any])


@dataclass(frozen=True, slots=True)
class Timing:
    """When a task is enqueued again and again."""

    cron: str | None
    every_ms: int | None
    timezone: str
    missed: MissedRuns
    overlap: Overlap
    jitter_ms: int


def timing(
    cron: str | None,
    every: Duration | None,
    tz: str,
    catch_up: MissedName,
    overlap: OverlapName,
    jitter: Duration,
) -> Timing:
    """Return a timing.

    Raises:
        InvalidTask: Not exactly one of `cron` and `every` is given, or a name is none.
    """
    if (cron is None) == (every is None):
        raise InvalidTask("a schedule has either cron, like '0 9 * * 1-5', or every, like '5m'")
    try:
        missed, overlapping = MissedRuns(catch_up), Overlap(overlap)
    except ValueError as error:
        raise InvalidTask(f"a schedule: {error}") from None
    every_ms = None if every is None else milliseconds(every)
    return Timing(cron, every_ms, tz, missed, overlapping, milliseconds(jitter))


class Declared:
    """A schedule as an App declares it.

    Args:
        name: Of the schedule; the cluster has one of each name.
        task: What is enqueued.
        timing: When.
        args: Its positional arguments, each time the same.
        kwargs: Its named arguments.
    """

    def __init__(
        self,
        name: str,
        task: Task[..., Any],
        timing: Timing,
        args: Sequence[object],
        kwargs: Mapping[str, object],
    ) -> None:
        check_name("the name of a schedule", name)
        self.name: Final = name
        self.task: Final = task
        self._timing: Final = timing
        self._args: Final = tuple(args)
        self._kwargs: Final = dict(kwargs)

    def __repr__(self) -> str:
        return f"<schedule {self.name!r} of {self.task!r}>"

    def definition(self) -> Schedule:
        """Return what the cluster is told.

        Raises:
            InvalidArguments: They do not fit the task, or cannot be stored.
        """
        task, timing = self.task, self._timing
        return Schedule(
            queue=task.queue,
            payload=task.payload(self._args, self._kwargs, {}),
            cron=timing.cron,
            timezone=timing.timezone,
            every_ms=timing.every_ms,
            missed=timing.missed,
            overlap=timing.overlap,
            jitter_ms=timing.jitter_ms,
            priority=task.priority,
            attempts_max=task.attempts_max,
            options=task.policy.wire_options(self._args, self._kwargs, self._named, None),
        )

    def _named(self) -> dict[str, object]:
        return self.task.arguments.named(self._args, self._kwargs)


class Scheduling:
    """`@app.schedule(…)` before it has seen the task.

    Args:
        app: Which declares it.
        name: Of the schedule; the task's unless given.
        timing: When.
        args: Arguments of the task.
        kwargs: The same by name.
    """

    def __init__(
        self,
        app: "App",
        name: str | None,
        timing: Timing,
        args: Sequence[object],
        kwargs: Mapping[str, object],
    ) -> None:
        self._app: Final = app
        self._name: Final = name
        self._timing: Final = timing
        self._args: Final = args
        self._kwargs: Final = kwargs

    def __call__(self, task: T, /) -> T:
        """Schedule a task, and return it.

        Raises:
            InvalidTask: It is none, or there is another schedule of this name.
        """
        _check_task(task)
        try:
            task.arguments.named(self._args, self._kwargs)
            declared = Declared(
                self._name or task.name, task, self._timing, self._args, self._kwargs
            )
        except InvalidRequest as error:
            raise InvalidTask(f"the schedule of task {task.name!r}: {error}") from None
        self._app.add_schedule(declared)
        return task


async def sync_schedules(client: AsyncClient, declared: Sequence[Declared]) -> list[str]:
    """Tell the cluster of schedules; return the names of those that were different before.

    Raises:
        InvalidRequest: The cluster refuses one; the text says which and why.
        RaftqError: The cluster could not be asked.
    """
    if not declared:
        return []
    known = {each.name: each.schedule for each in await client.schedules()}
    changed: list[str] = []
    for each in declared:
        wanted = each.definition()
        there = known.get(each.name)
        if there is not None and there.paused:
            wanted = structs.replace(wanted, paused=True)  # Somebody wanted that.
        if wanted == there:
            continue
        try:
            is_changed = await client.put_schedule(each.name, wanted)
        except InvalidRequest as error:
            raise InvalidRequest(f"schedule {each.name!r}: {error.message}") from None
        if is_changed:
            changed.append(each.name)
    return changed


def _check_task(given: object) -> None:
    if not isinstance(given, Task):
        raise InvalidTask("a schedule is of a task: write @app.schedule(…) above @app.task")
