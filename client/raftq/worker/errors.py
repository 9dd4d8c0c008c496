"""What can go wrong between a task's declaration and its result.

All are `RaftqError`; what the cluster itself refuses keeps its own types.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from raftq.protocol.errors import InvalidRequest, RaftqError
from raftq.protocol.fields import TaskState
from raftq.worker.serialising.remote_error import RemoteError


class InvalidTask(InvalidRequest):
    """A task is declared in a way that cannot work: raised where it is declared or first used."""


class InvalidArguments(InvalidRequest):
    """The arguments do not fit the task, or cannot be sent; `argument` names the one at fault."""

    def __init__(self, message: str, argument: str | None = None) -> None:
        super().__init__(message, argument=argument)
        self.argument: Final = argument


class UnknownTaskName(InvalidRequest):
    """A payload names a task that this App does not have."""


class UnreadablePayload(InvalidRequest):
    """A payload is not what `enqueue` writes: some other program put it into this queue."""


class UnreadableResult(RaftqError):
    """A recorded result does not fit the task's return annotation; `raw` is what was recorded."""

    code = "unreadable_result"

    def __init__(self, message: str, raw: bytes) -> None:
        super().__init__(message)
        self.raw: Final = raw


class NotRunning(InvalidRequest):
    """`current()` was asked outside of a task's run."""


class ResultTimeout(RaftqError, TimeoutError):
    """The task has not finished in time; it goes on. `state` is what it was last."""

    code = "result_timeout"

    def __init__(self, message: str, task_id: UUID, state: TaskState | None) -> None:
        super().__init__(message, task_id=str(task_id), state=state)
        self.task_id: Final = task_id
        self.state: Final = state


class TaskFailed(RaftqError):
    """The task is over without a result: dead, cancelled or expired.

    `remote_type`, `remote_message` and `remote_traceback` tell about its last run; `reasons` are
    all that are kept, oldest first. `cause` (also `__cause__`) is an exception of that type if it
    is a builtin, or one of those the App was told of; else None.
    """

    code = "task_failed"

    def __init__(
        self, message: str, task_id: UUID, state: TaskState, reasons: Sequence[str] = ()
    ) -> None:
        super().__init__(message, task_id=str(task_id), state=state)
        self.task_id: Final = task_id
        self.state: Final = state
        self.reasons: Final = list(reasons)
        last = RemoteError.parse(reasons[-1]) if reasons else RemoteError("", "")
        self.remote_type: Final = last.type
        self.remote_message: Final = last.message
        self.remote_traceback: Final = last.traceback

    @property
    def cause(self) -> BaseException | None:
        """The exception of the last run, made again here, if its class is known."""
        return self.__cause__


class RunFailed(Exception):
    """A run failed somewhere else, like in a child process; `text` is recorded as it is.

    Raised by executors, never by tasks.

    Args:
        text: The reason.
        delay_ms: The pause before the retry, if the run said one.
        is_final: Whether no retry can help.
    """

    def __init__(self, text: str, delay_ms: int | None = None, is_final: bool = False) -> None:
        super().__init__(text)
        self.text: Final = text
        self.delay_ms = delay_ms
        self.is_final: Final = is_final
