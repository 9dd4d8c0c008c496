"""What a running task can know and ask about its run: `current()`.

Executors make the context and install it around the function, with `running_as`, in the loop's
task, the thread or the child process that runs it.
"""

import logging
from collections.abc import Generator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import UUID

from raftq.client.durations import Duration, seconds
from raftq.worker.errors import NotRunning

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

    def extend(self, seconds: float) -> None:
        """Move the deadline to so many seconds from now; does not wait for anything."""
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

    @property
    def deadline(self) -> float | None:
        """When this run is stopped, on `time.monotonic`; None if it has no limit."""
        return self.control.deadline

    @property
    def is_lost(self) -> bool:
        """Whether the lease was lost: stop, for nothing of this run will be recorded."""
        return self.control.is_lost

    def extend(self, duration: Duration) -> None:
        """Give this run more time: it may take `duration` from now.

        It is about the task's own run limit. The lease is extended by the worker, without asking.
        """
        self.control.extend(seconds(duration))

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
