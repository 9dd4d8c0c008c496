"""What a test can look at: calls that were enqueued, and runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask, TaskOptions
from raftq.worker.job import Job
from raftq.worker.task import Invocation, Task


@dataclass(frozen=True, slots=True)
class EnqueuedCall:
    """A task that was enqueued, with its arguments as a worker reads them."""

    id: UUID
    task: Task[..., Any]
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    queue: str
    priority: int
    delay_ms: int
    """The earliest start, from when it was enqueued."""
    attempts_max: int
    headers: Mapping[str, str]
    options: TaskOptions | None
    """Its keys, expiry, parents and all else that most tasks do without."""
    skipped: int = 0
    """How many arguments come before these, when the results of its parents are known."""

    @classmethod
    def of(cls, queue: str, new: NewTask, invocation: Invocation) -> "EnqueuedCall":
        """Return the call that a new task carries."""
        return cls(
            UUID(bytes=new.id),
            invocation.task,
            tuple(invocation.args),
            invocation.kwargs,
            queue,
            new.priority,
            new.delay_ms,
            new.attempts_max,
            invocation.headers,
            new.options,
            invocation.skipped,
        )

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name

    @property
    def arguments(self) -> dict[str, object]:
        """All arguments by name, defaults included, however the caller passed them.

        Of a step in a flow without the first, which is a result that is not there yet.
        """
        return self.task.arguments.named(self.args, self.kwargs, self.skipped)

    @property
    def job(self) -> Job[Any]:
        """Its job."""
        return self.task.job(self.id)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of a task by a test, and what the cluster recorded of it."""

    id: UUID
    task: Task[..., Any]
    attempt: int
    """Counts from 1."""
    state: TaskState | None
    """Of the task, after the run; None if the lease was lost and the run counts for nothing."""
    error: BaseException | None = None
    """What the function raised, if it did."""
    is_forced: bool = False
    """Whether the test made it fail, or killed its worker."""
    stored: bytes | None = field(default=None, repr=False)
    """The result as it is stored."""

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name

    @property
    def result(self) -> Any:
        """What the function returned, as it comes back from the cluster."""
        return self.task.decode_result(self.stored)

    @property
    def job(self) -> Job[Any]:
        """Its job."""
        return self.task.job(self.id)
