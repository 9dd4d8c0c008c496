"""One run of a task, and what its handler's end means."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from raftq.client.parts.working import error_text
from raftq.protocol import limits
from raftq.protocol.messages import AckItem, FailItem, LeasedTask
from raftq.worker.errors import RunFailed

_log = logging.getLogger(__name__)


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
    return AckItem(run.token, result)


def failure(run: Run, error: BaseException) -> FailItem:
    """Return what to record for a handler that raised."""
    if isinstance(error, RunFailed):
        return FailItem(run.token, error_text(error.text))
    kind = type(error).__name__
    try:
        text = f"{kind}: {error}"
    except Exception:
        text = f"{kind}: (its text cannot be shown)"
    return FailItem(run.token, error_text(text))


def log_failure(run: Run, failed: FailItem) -> None:
    """Log a failure once, where it is recorded; its traceback is shown as one."""
    reason, _, calls = failed.error.partition("\n\nTraceback")
    facts = {**run.facts, "error": reason}
    if calls:
        facts["exception"] = f"Traceback{calls}"
    _log.warning("run_failed", extra=facts)
