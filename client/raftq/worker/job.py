"""A task that was enqueued, as its producer sees it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast
from uuid import UUID

from raftq.client.async_client import AsyncClient
from raftq.client.durations import Duration
from raftq.client.parts.reading import OVER
from raftq.protocol.errors import ForgottenTask, InvalidRequest, UnknownTask
from raftq.protocol.fields import TaskState
from raftq.protocol.statuses import TaskStatus, Why
from raftq.worker.connections import ClusterAccess
from raftq.worker.errors import ResultTimeout, TaskFailed
from raftq.worker.serialising.progress import read_progress
from raftq.worker.serialising.remote_error import RemoteError, local_exception
from raftq.worker.waiting import Ending, Waiting, patience

if TYPE_CHECKING:
    from raftq.worker.app import App

R_co = TypeVar("R_co", covariant=True)


class Job(Generic[R_co]):
    """A task that was enqueued: its state, and its result when it has one.

    Made by `enqueue`, `task.job(id)` and `app.job(id)`. What has ended is not asked for again.

    Args:
        app: What it was enqueued with.
        id: Of the task.
        decode: Reads a recorded result.
        created: See the property.
    """

    def __init__(
        self,
        app: "App",
        id: UUID,
        decode: Callable[[bytes | None], R_co],
        created: bool | None = None,
    ) -> None:
        self.id: Final = id
        """The task's id: keep it to ask for the result elsewhere."""
        self.created: Final = created
        """Whether enqueueing made the task; False if it was there already; None if that is not
        known, as of `app.job(id)`."""
        self.access: Final[ClusterAccess] = app.access
        """Where it is asked for, in testing mode the cluster in memory, also after the test."""
        self._remote_exceptions: Final = app.remote_exceptions
        self._serializer: Final = app.serializer
        self._decode: Final = decode
        self._ending: Ending | None = None

    def __repr__(self) -> str:
        return f"<job {self.id}>"

    # ------------------------------------------------------------ state

    def status(self) -> TaskStatus:
        """Return the task's state, counts and reasons of failure.

        Raises:
            UnknownTask: There is none, or it finished long ago and was forgotten.
        """
        return self.access.run(self._status)

    async def astatus(self) -> TaskStatus:
        """Return what `status` does."""
        return await self._status(await self.access.client())

    async def _status(self, client: AsyncClient) -> TaskStatus:
        status = await client.task(self.id)
        if status.state in OVER:
            self._ending = status
        return status

    def why(self) -> Why:
        """Return the rules that hold the task back, the one that must go first at the front.

        Raises:
            UnknownTask: There is none.
        """
        return self.access.run(lambda client: client.why(self.id))

    async def awhy(self) -> Why:
        """Return what `why` does."""
        return await (await self.access.client()).why(self.id)

    def progress(self) -> Any:
        """Return what the task's run told last of how far it is; None if it told nothing.

        Raises:
            UnknownTask: There is none, or it finished long ago and was forgotten.
        """
        return self._progress(self.status())

    async def aprogress(self) -> Any:
        """Return what `progress` does."""
        return self._progress(await self.astatus())

    def _progress(self, status: TaskStatus) -> Any:
        return read_progress(self._serializer, status.progress)

    # ------------------------------------------------------------ control

    def cancel(self) -> TaskState:
        """Cancel the task, whether it waits or runs; repeating it is harmless.

        A run that is under way is interrupted when its worker next prolongs the lease; its result
        is refused in any case.

        Raises:
            Conflict: It is done or expired.
            UnknownTask: There is none.
        """
        return self.access.run(lambda client: client.cancel(self.id))

    async def acancel(self) -> TaskState:
        """Do what `cancel` does."""
        return await (await self.access.client()).cancel(self.id)

    def confirm(self) -> TaskState:
        """Let a prepared task go on (`confirm_within`); repeating it is harmless.

        Raises:
            Conflict: It expired, was cancelled or is dead.
            UnknownTask: There is none.
        """
        return self.access.run(lambda client: client.confirm(self.id))

    async def aconfirm(self) -> TaskState:
        """Do what `confirm` does."""
        return await (await self.access.client()).confirm(self.id)

    # ------------------------------------------------------------ result

    def result(self, timeout: Duration | None = None) -> R_co:
        """Wait for the task's end and return its result.

        Args:
            timeout: How long to wait; None is for ever.

        Raises:
            TaskFailed: It is dead, with what its last run raised; or cancelled, or expired.
            ResultTimeout: It has not ended in time, and goes on.
            UnknownTask: There is none, or it finished long ago and was forgotten.
            UnreadableResult: The result is not what the task's annotation says.
            UnavailableError: The cluster could not be asked in time.
        """
        if self._ending is None:
            waiting = self._waiting(timeout)
            self.access.run(lambda client: self._wait(client, waiting))
        return self._outcome()

    async def aresult(self, timeout: Duration | None = None) -> R_co:
        """Return what `result` does."""
        if self._ending is None:
            await self._wait(await self.access.client(), self._waiting(timeout))
        return self._outcome()

    def _waiting(self, timeout: Duration | None) -> Waiting:
        return Waiting([self.id.bytes], patience(self.access, timeout))

    async def _wait(self, client: AsyncClient, waiting: Waiting) -> None:
        try:
            ((_, self._ending),) = await waiting.next(client)
        except TimeoutError:
            raise timeout_of(self, waiting) from None
        finally:
            await waiting.close()

    @property
    def has_ended(self) -> bool:
        """Whether it is known here that the task has ended, so that `result` need not wait."""
        return self._ending is not None

    def end(self, ending: Ending) -> None:
        """Take note of how the task ended; `App` waits for many at a time."""
        self._ending = ending

    def _outcome(self) -> R_co:
        """Return the result of a task that ended, or raise what came of it."""
        match self._ending:
            case TaskStatus(state=TaskState.DONE, result=result):
                return self._decode(result)
            case TaskStatus() as status:
                raise self._failure(status)
            case error:
                was_there = isinstance(error, ForgottenTask)
                kind = ForgottenTask if was_there else UnknownTask
                raise kind(
                    f"task {self.id} finished, and its outcome is not kept any more"
                    if was_there
                    else f"the cluster knows no task {self.id}: it was never enqueued, or it "
                    "finished so long ago that it was forgotten"
                ) from error

    def _failure(self, status: TaskStatus) -> TaskFailed:
        last = status.errors[-1] if status.errors else ""
        reason = RemoteError.parse(last)
        what = f"{reason.type}: {reason.message}" if reason.type else last
        error = TaskFailed(
            f"task {self.id} is {status.state} after {status.failures} failures and "
            f"{status.crashes} crashes{': ' if what else ''}{what}",
            self.id,
            status.state,
            status.errors,
        )
        error.__cause__ = local_exception(reason, self._remote_exceptions)
        return error


def job_id(id: UUID | str) -> UUID:
    """Return a task's id.

    Raises:
        InvalidRequest: The text is none.
    """
    try:
        return id if isinstance(id, UUID) else UUID(id)
    except ValueError:
        raise InvalidRequest(f"{id!r} is no task id; it is a UUID, 32 hexadecimal digits") from None


def timeout_of(job: Job[object], waiting: Waiting) -> ResultTimeout:
    """Return what is raised when a wait is over."""
    state = waiting.last_state
    text = f"task {job.id} has not ended in time; it is {state}"
    if not job.access.is_live:
        text += ", and nothing runs by itself while testing: use run_pending or advance"
    return ResultTimeout(text, job.id, cast(TaskState, state))
