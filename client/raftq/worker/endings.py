"""How a run can end, besides by a value or an exception of its own: raised by handlers.

A handler that runs tasks somewhere else, like in a thread or a process, tells the worker with
these what became of the run.
"""

from typing import Final

from raftq.worker.errors import RunFailed


class TimeLimitExceeded(Exception):
    """The run took longer than its limit and was stopped; a failure."""

    __module__ = "raftq.worker"  # Recorded by its public name.


class StillRunning(RunFailed):
    """The run took longer than its limit, and nothing but the end of the process will stop it.

    The worker stops, and records the failure last: until then the lease is held, so that no other
    attempt runs beside this one.
    """


class RunCrashed(Exception):
    """The process that ran it died. The lease runs out at once, which counts as a crash."""


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
