"""What a running task can know and ask about its run: `current()`.

Executors make the context and install it around the function, with `running_as`, in the loop's
task, the thread or the child process that runs it.
"""

import logging
from collections.abc import Generator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from uuid import UUID

from raftq.client.durations import Duration, seconds
from raftq.protocol.options import NewTask
from raftq.worker.errors import NotRunning
from raftq.worker.serialising.progress import pack_progress

if TYPE_CHECKING:
    from raftq.client.async_client import AsyncClient
    from raftq.worker.app import App
    from raftq.worker.drafts import Plan
    from raftq.worker.job import Job

J = TypeVar("J")
J_co = TypeVar("J_co", covariant=True)

_task_logger: Final = logging.getLogger("raftq.task")


class RunControl(Protocol):
    """What executors provide: the moving parts of one run. Safe to use on any thread."""

    @property
    def deadline(self) -> float | None:
        """When the run is stopped, on `time.monotonic`; None if it has no limit."""
        ...

    @property
    def is_lost(self) -> bool:
        """Whether the lease was lost: what the run still does will not be recorded."""
        ...

    @property
    def is_cancelled(self) -> bool:
        """Whether it was lost because somebody cancelled the task."""
        ...

    def extend(self, seconds: float) -> None:
        """Move the deadline to so many seconds from now; does not wait for anything."""
        ...

    def tell(self, progress: bytes) -> None:
        """Have the cluster told how far the run is; does not wait for anything."""
        ...

    def follow_up(self, tasks: Sequence[tuple[str, NewTask]]) -> None:
        """Have tasks enqueued with the outcome, each in its queue, if the run succeeds.

        Raises:
            InvalidRequest: They would be too many.
        """
        ...


class FollowUp(Protocol[J_co]):
    """What can follow a run: a draft, a step, a chain, a group."""

    def plan(self) -> "Plan[J_co]":
        """Return the tasks, and what is made of them."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """One run of a task, as the task's function sees it."""

    task_id: UUID
    name: str
    """The task's name."""
    queue: str
    attempt: int
    """Counts from 1; a run that was given back does not count."""
    token: int
    """The fencing token: hand it to stores that can refuse a smaller one."""
    control: RunControl = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the producer sent beside the arguments, like a trace context."""
    app: "App | None" = field(default=None, repr=False)
    """The App of the task."""

    @property
    def deadline(self) -> float | None:
        """When this run is stopped, on `time.monotonic`; None if it has no limit."""
        return self.control.deadline

    @property
    def is_lost(self) -> bool:
        """Whether the lease was lost: stop, for nothing of this run will be recorded."""
        return self.control.is_lost

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody cancelled the task: stop, for nothing of this run will be recorded.

        The run is also interrupted: an `async def` by CancelledError, other code by an exception
        that is none of `Exception`, a process by its end if it does not heed that.
        """
        return self.control.is_cancelled

    def extend(self, duration: Duration) -> None:
        """Give this run more time: it may take `duration` from now.

        It is about the task's own run limit. The lease is extended by the worker, without asking.
        """
        self.control.extend(seconds(duration))

    def progress(self, value: object) -> None:
        """Tell how far this run is, for `job.progress()`: anything that can be an argument.

        It is sent with the next heartbeat of the worker, which comes at once, but at most twice a
        second; of several values the last one counts.

        Raises:
            PayloadTooLarge: It takes more than 4 KiB.
            InvalidArguments: It cannot be stored.
        """
        self.control.tell(pack_progress(self._app.serializer, value))

    def follow_up(self, work: "FollowUp[J]") -> J:
        """Have work enqueued with the outcome of this run, in the same log entry.

        It is enqueued if the run succeeds, and exactly then: no crash can leave one without the
        other. If it is refused, as by a unique key that is taken, the run has failed.

        Args:
            work: A draft, a step, a chain or a group.

        Returns:
            Its job, or of a group a list of jobs; none of them is enqueued yet.

        Raises:
            InvalidRequest: This run has too many of them.
        """
        plan = work.plan()
        self.control.follow_up([(draft.queue, draft.new_task) for draft in plan.drafts])
        return plan.outcome()

    def parents(self) -> "list[Job[Any]]":
        """Return the jobs of the tasks that this one depended on, in their order."""
        return self._app.access.run(self._parents)

    async def aparents(self) -> "list[Job[Any]]":
        """Return what `parents` does."""
        return await self._parents(await self._app.access.client())

    def parent_results(self) -> list[Any]:
        """Return the results of the tasks that this one depended on, in their order.

        Raises:
            TaskFailed: One of them did not succeed; see `parents`.
        """
        return self._app.gather(self.parents())

    async def aparent_results(self) -> list[Any]:
        """Return what `parent_results` does."""
        return await self._app.agather(await self.aparents())

    async def _parents(self, client: "AsyncClient") -> "list[Job[Any]]":
        options = (await client.task(self.task_id)).options
        ids = [] if options is None else options.depends_on
        return [self._app.job(UUID(bytes=each)) for each in ids]

    @property
    def _app(self) -> "App":
        if self.app is None:
            raise NotRunning("this run is not one of an App")
        return self.app

    @property
    def logger(self) -> "logging.LoggerAdapter[logging.Logger]":
        """A logger whose records carry task_id, task_name, queue, attempt and token."""
        return _RunLogger(
            _task_logger,
            {
                "task_id": str(self.task_id),
                "task_name": self.name,
                "queue": self.queue,
                "attempt": self.attempt,
                "token": self.token,
            },
        )


class _RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds a run's facts to what the caller gives as `extra`."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}


_current: ContextVar[Context] = ContextVar("raftq_run")


def current() -> Context:
    """Return the context of the run that this code is part of.

    Raises:
        NotRunning: There is none, like in a plain call of a task, or in a thread it started.
    """
    context = _current.get(None)
    if context is None:
        raise NotRunning("no task runs here; current() is for the code of a task, run by a worker")
    return context


@contextmanager
def running_as(context: Context) -> Generator[None]:
    """Make a context the current one."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
