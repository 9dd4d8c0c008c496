"""One run of a task, and what its handler's end means."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from raftq.client.parts.working import error_text
from raftq.protocol import limits
from raftq.protocol.commands import AckItem, FailItem
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.options import NewTask
from raftq.protocol.replies import LeasedTask
from raftq.worker.endings import DoNotRetry, RetryLater
from raftq.worker.errors import RunFailed
from raftq.worker.parts import in_parts

_log = logging.getLogger(__name__)


def _tell_nobody(_progress: bytes) -> None:
    """Nobody listens to a run that no worker holds."""


@dataclass(slots=True, eq=False)
class Run:
    """One run of a task, as its handler sees it.

    `token` is the fencing token: hand it to stores that can refuse a smaller one.
    """

    task_id: bytes
    queue: str
    token: int
    attempt: int
    payload: bytes
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the lease was lost: whatever the handler still does will not be recorded."""
    is_cancelled: bool = False
    """Whether it was lost because somebody cancelled the task."""
    follow_ups: list[tuple[str, NewTask]] = field(default_factory=list[tuple[str, NewTask]])
    """Queues and tasks to be enqueued with the ack."""
    tell: Callable[[bytes], None] = _tell_nobody
    """Called with the progress of the run, on the worker's loop."""

    def follow_up(self, tasks: Sequence[tuple[str, NewTask]]) -> None:
        """Have tasks enqueued with the ack, each in its queue; safe on any thread.

        Raises:
            InvalidRequest: One ack cannot carry so many.
        """
        if len(self.follow_ups) + len(tasks) > limits.FOLLOW_UPS_MAX:
            raise InvalidRequest(
                f"a run may have {limits.FOLLOW_UPS_MAX} follow-ups; let one of them enqueue the "
                "others"
            )
        self.follow_ups += tasks

    @property
    def facts(self) -> dict[str, object]:
        """What a line of the log says about it."""
        return {
            "task_id": str(UUID(bytes=self.task_id)),
            "queue": self.queue,
            "attempt": self.attempt,
            "token": self.token,
        }

    @classmethod
    def of(cls, lease: LeasedTask) -> "Run":
        """Return the run of a lease."""
        return cls(lease.task_id, lease.queue, lease.token, lease.attempt, lease.payload)


Handler: TypeAlias = Callable[[Run], Awaitable[bytes | None]]
"""Runs a task and returns its result; an exception is a failure."""


def success(run: Run, result: object) -> AckItem | FailItem:
    """Return what to record for a handler that returned.

    A result that the cluster would refuse is a failure of the handler: sent as it is, it would
    take every other outcome of its batch with it.
    """
    if result is not None and not isinstance(result, bytes):
        kind = type(result).__name__
        return FailItem(run.token, f"TypeError: the handler returned {kind}, not bytes or None")
    if result is not None and len(result) > limits.RESULT_BYTES_MAX:
        return FailItem(
            run.token,
            f"PayloadTooLarge: the result has {len(result)} bytes; at most "
            f"{limits.RESULT_BYTES_MAX} are kept: store it elsewhere and return a reference",
        )
    return AckItem(run.token, result, in_parts(run.follow_ups))


def failure(run: Run, error: BaseException) -> FailItem:
    """Return what to record for a handler that raised."""
    if isinstance(error, RunFailed):
        return FailItem(run.token, error_text(error.text), error.delay_ms, error.is_final)
    delay_ms, is_final = terms(error)
    kind = type(error).__name__
    try:
        text = f"{kind}: {error}"
    except Exception:
        text = f"{kind}: (its text cannot be shown)"
    return FailItem(run.token, error_text(text), delay_ms, is_final)


def terms(error: BaseException) -> tuple[int | None, bool]:
    """Return what an exception says about retries: (pause in ms, whether there is none)."""
    if isinstance(error, RetryLater):
        return error.delay_ms, False
    return None, isinstance(error, DoNotRetry)


def log_failure(run: Run, failed: FailItem) -> None:
    """Log a failure once, where it is recorded; its traceback is shown as one."""
    reason, _, calls = failed.error.partition("\n\nTraceback")
    facts = {**run.facts, "error": reason}
    if calls:
        facts["exception"] = f"Traceback{calls}"
    _log.warning("run_failed", extra=facts)
