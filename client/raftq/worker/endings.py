"""How a run can end, besides by a value or an exception of its own: raised by handlers.

A handler that runs tasks somewhere else, like in a thread or a process, tells the worker with
these what became of the run.
"""

from typing import Final

from raftq.client.durations import Duration, milliseconds
from raftq.worker.errors import RunFailed

_PUBLIC: Final = "raftq.worker"
"""Where tasks and their producers find what they may raise and catch; recorded by that name."""


class RetryLater(Exception):
    """Raised by a task: this attempt failed, and the next one is to wait so long.

    Args:
        reason: Why, for who looks at the task.
        delay: The pause; the task's backoff unless given.
    """

    __module__ = _PUBLIC

    def __init__(self, reason: str = "", delay: Duration | None = None) -> None:
        super().__init__(reason)
        self.delay_ms: Final = None if delay is None else milliseconds(delay)


class DoNotRetry(Exception):
    """Raised by a task: no other attempt can succeed; the task is dead at once."""

    __module__ = _PUBLIC


class TimeLimitExceeded(Exception):
    """The run took longer than its limit and was stopped; a failure."""

    __module__ = _PUBLIC


class StillRunning(RunFailed):
    """The run took longer than its limit, and nothing but the end of the process will stop it.

    The worker stops, and records the failure last: until then the lease is held, so that no other
    attempt runs beside this one.
    """


class RunCrashed(Exception):
    """The process that ran it died: a crash, which is counted apart from failures."""


class LeaseOver(Exception):
    """The lease was ended on the way, like by a confirmation; nothing is to be recorded."""


class GiveBack(Exception):
    """This worker cannot run it; another one may. No attempt is burnt.

    Args:
        reason: Why, for the log.
        delay_seconds: How long nobody shall try it.
        is_over: Whether the worker must stop, because it would fare no better with other tasks.
    """

    def __init__(self, reason: str, delay_seconds: float = 0.0, is_over: bool = False) -> None:
        super().__init__(reason)
        self.delay_seconds: Final = delay_seconds
        self.is_over: Final = is_over
