"""One run as the worker sees it: its time limit, and how it ended.

When the limit has passed, the run's code is interrupted. If that does not end it within a grace
time, the executor insists: with a harder means, or with the admission that there is none.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final
from uuid import UUID

from raftq.protocol.options import NewTask
from raftq.worker.context import Context, RunControl
from raftq.worker.endings import RunCrashed, StillRunning, TimeLimitExceeded
from raftq.worker.errors import RunFailed
from raftq.worker.executors.crossing import Crossing
from raftq.worker.run import Run, terms
from raftq.worker.serialising.remote_error import RemoteError, type_name
from raftq.worker.task import Invocation

GRACE_SECONDS: Final = 5.0
"""How long code that was interrupted at its time limit may take to end."""
_CANCEL_GRACE_SECONDS: Final = 1.0
"""The same if the worker does not want its result any more: it is about to give the lease back."""
_OURS: Final = str(Path(__file__).parents[1])


class Interrupted(BaseException):
    """Raised in the code of a run that is to end. Not an Exception: tasks must not catch it."""


class Watch:
    """Waits for one run. Its methods belong to the worker's loop, unless they say otherwise.

    Args:
        here: The way into the worker's loop.
        run: What is run.
        limit_seconds: How long it may take from `begin`; None is for ever.
        grace_seconds: How long it may take to end when it was interrupted.
        interrupt: Asks the code to end; called once for each reason.
        insist: Called when the code has not ended in time, again and again. Returns where it is if
            nothing will stop it, or None if it was stopped harder.
    """

    def __init__(
        self,
        here: Crossing,
        run: Run,
        limit_seconds: float | None,
        grace_seconds: float,
        interrupt: Callable[[], None],
        insist: Callable[[], str | None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._here = here
        self._run = run
        self._limit_seconds = limit_seconds
        self._grace_seconds = grace_seconds
        self._interrupt = interrupt
        self._insist = insist
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._result: bytes | None = None
        self._error: BaseException | None = None
        self._is_over = False
        self._exceeded_seconds: float | None = None
        """The limit that has passed."""
        if limit_seconds is not None:
            self._timer = self._loop.call_later(limit_seconds, self._on_time)

    # ------------------------------------------------------------ for the code that runs

    @property
    def deadline(self) -> float | None:
        """See RunControl; safe on any thread."""
        return self._deadline

    @property
    def is_lost(self) -> bool:
        """See RunControl; safe on any thread."""
        return self._run.lost.is_set()

    @property
    def is_cancelled(self) -> bool:
        """See RunControl; safe on any thread."""
        return self._run.is_cancelled

    def tell(self, progress: bytes) -> None:
        """See RunControl; safe on any thread."""
        self._here.call(partial(self._run.tell, progress))

    def follow_up(self, tasks: Sequence[tuple[str, NewTask]]) -> None:
        """See RunControl; safe on any thread."""
        self._run.follow_up(tasks)

    def extend(self, seconds: float) -> None:
        """See RunControl; safe on any thread."""
        self._limit_seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._here.call(self._arm)

    def begin(self) -> None:
        """The run's time begins now; safe on any thread."""
        if self._limit_seconds is not None:
            self._deadline = time.monotonic() + self._limit_seconds

    def finish(self, result: bytes | None, error: BaseException | None) -> None:
        """The code has ended; safe on any thread."""
        self._here.call(lambda: self.end(result, error))

    # ------------------------------------------------------------ for the worker

    async def ended(self) -> bytes | None:
        """Wait for the run's end and return its result.

        Cancelling this interrupts the code, and waits all the same until it has ended. Cancelling
        it again waits no more: the process is about to end, which ends code that nothing else does.

        Raises:
            RunFailed: It took too long.
            StillRunning: It took too long and cannot be stopped.
            CancelledError: It was cancelled, and ended without a result.
            BaseException: What ended it.
        """
        was_cancelled = False
        while not self._is_over:
            try:
                await self._ended
            except asyncio.CancelledError:
                if was_cancelled:
                    raise
                self._ended = self._loop.create_future()
                if not self._is_over:
                    was_cancelled = True
                    self._cancel()
        if self._error is None:
            return self._result
        if was_cancelled and not isinstance(self._error, RunCrashed | StillRunning):
            raise asyncio.CancelledError
        raise self._error

    def end(self, result: bytes | None, error: BaseException | None) -> None:
        """The code has ended, or is given up; only the first end counts."""
        if self._is_over:
            return
        self._is_over = True
        self._result, self._error = result, error
        # They are called no more. Kept, they would hold the run that holds this: a cycle for each
        # task, and a third of the CPU of a busy worker went into the search for such garbage.
        self._interrupt, self._insist = _nothing, _nothing
        if self._exceeded_seconds is not None and not isinstance(error, StillRunning):
            self._error = RunFailed(_time_text(self._exceeded_seconds, _where(error)))
        if self._timer is not None:
            self._timer.cancel()
        if not self._ended.done():
            self._ended.set_result(None)

    def _arm(self) -> None:
        """Look again at the deadline, or after the whole limit if the run has not begun."""
        if self._timer is not None:
            self._timer.cancel()
        if self._is_over or self._exceeded_seconds is not None or self._limit_seconds is None:
            return
        left = self._limit_seconds
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
        self._timer = self._loop.call_later(max(left, 0.0), self._on_time)

    def _on_time(self) -> None:
        if self._deadline is None or self._deadline > time.monotonic():
            self._arm()
            return
        self._exceeded_seconds = self._limit_seconds
        self._interrupt()
        self._timer = self._loop.call_later(self._grace_seconds, self._on_grace)

    def _on_grace(self) -> None:
        if self._is_over:
            return
        where = self._insist()
        if where is None:
            self._timer = self._loop.call_later(self._grace_seconds, self._on_grace)
        elif self._exceeded_seconds is not None:
            self.end(None, StillRunning(_time_text(self._exceeded_seconds, where)))
        else:
            self._arm()  # Nobody wants its result, but its time limit stands.

    def _cancel(self) -> None:
        self._interrupt()
        if self._exceeded_seconds is None:
            grace = min(_CANCEL_GRACE_SECONDS, self._grace_seconds)
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(grace, self._on_grace)


def _nothing() -> None:
    """What is left to be done to a run that has ended."""


def make_context(run: Run, invocation: Invocation, control: RunControl) -> Context:
    """Return the context of a run."""
    return Context(
        UUID(bytes=run.task_id),
        invocation.task.name,
        run.queue,
        run.attempt,
        run.token,
        control,
        invocation.headers,
        invocation.task.app,
    )


def limit_seconds(invocation: Invocation) -> float | None:
    """Return how long an attempt may run."""
    return None if invocation.timeout_ms is None else invocation.timeout_ms / 1_000


def failed(error: BaseException) -> RunFailed:
    """Return a failure with everything that can be told of an exception.

    The calls of its traceback that are the worker's own say nothing to the task's author.
    """
    calls = error.__traceback__
    while calls is not None and calls.tb_next is not None and _is_ours(calls):
        calls = calls.tb_next
    return RunFailed(RemoteError.of(error.with_traceback(calls)).text, *terms(error))


def _is_ours(calls: TracebackType) -> bool:
    path = calls.tb_frame.f_code.co_filename
    return path.startswith(_OURS) or path == contextlib.__file__


def _time_text(seconds: float, where: str) -> str:
    message = f"the run was stopped at its time limit of {seconds:g} s"
    return RemoteError(type_name(TimeLimitExceeded), message, where).text


def _where(error: BaseException | None) -> str:
    """Return the traceback of what a run was ended with."""
    if error is None:
        return ""
    text = error.text if isinstance(error, RunFailed) else RemoteError.of(error).text
    return RemoteError.parse(text).traceback
