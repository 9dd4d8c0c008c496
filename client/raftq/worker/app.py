"""The App: tasks by name, and how to reach the cluster."""

import builtins
import inspect
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar, Unpack, cast, overload
from uuid import UUID

from raftq.client.async_client import AsyncClient
from raftq.client.blocking import Client
from raftq.client.durations import Duration
from raftq.client.environment import DEFAULT_ADDRESSES, client_credentials
from raftq.protocol.errors import InvalidRequest
from raftq.worker import envelope
from raftq.worker.connections import ClusterAccess, Connections
from raftq.worker.endings import TimeLimitExceeded
from raftq.worker.enqueueing import Draft, around_sending, enqueue_drafts
from raftq.worker.errors import InvalidTask, UnknownTaskName
from raftq.worker.hooks import Hook
from raftq.worker.job import Job, job_id
from raftq.worker.options import TASK_OPTIONS, TaskOptions, did_you_mean, refuse_unknown
from raftq.worker.results import Completing, agather, gather
from raftq.worker.serialising.serializer import MsgpackSerializer, Serializer
from raftq.worker.task import AsyncTask, Invocation, SyncTask, Task

if TYPE_CHECKING:
    from raftq.worker.testing.session import Testing

P = ParamSpec("P")
R = TypeVar("R")
_BUILTIN_EXCEPTIONS: Final = tuple(
    kind
    for kind in vars(builtins).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)


class App:
    """Tasks that belong together, and the cluster that keeps them.

    Args:
        addresses: Any nodes, as `AsyncClient` takes them. Without them `RAFTQ_ADDRESSES` counts
            when the App is first used.
        token: See `AsyncClient`; without it `RAFTQ_TOKEN` or `RAFTQ_TOKEN_FILE` counts.
        tls_ca: See `AsyncClient`; without it `RAFTQ_TLS_CA` counts.
        serializer: Stores arguments and results.
        hooks: Called around every enqueue and every run.
        remote_exceptions: Classes of which `TaskFailed.cause` may be, beside Python's own and
            `TimeLimitExceeded`.
        timeout: How long a call to the cluster may take.
    """

    def __init__(
        self,
        addresses: str | Sequence[str] | None = None,
        *,
        token: str | None = None,
        tls_ca: str | os.PathLike[str] | None = None,
        serializer: Serializer | None = None,
        hooks: Sequence[Hook] = (),
        remote_exceptions: Iterable[type[Exception]] = (),
        timeout: Duration = 10.0,
    ) -> None:
        self.addresses: Final = addresses
        self.token: Final = token
        self.tls_ca: Final = tls_ca
        self.serializer: Final[Serializer] = serializer or MsgpackSerializer()
        self.hooks: Final = tuple(hooks)
        self.remote_exceptions: Final = (
            *remote_exceptions,
            TimeLimitExceeded,
            *_BUILTIN_EXCEPTIONS,
        )
        self.timeout: Final = timeout
        self.access: ClusterAccess = Connections(self.new_client, self.new_async_client)
        """How it reaches the cluster; connects when first used."""
        self._tasks: dict[str, Task[..., Any]] = {}
        self.tasks: Final[Mapping[str, Task[..., Any]]] = MappingProxyType(self._tasks)
        """Every task by its name."""

    # ------------------------------------------------------------ declaring

    @overload
    # The ignored overlap: an async def fits the second signature too; the first that fits counts.
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(self, function: None = None, /, **options: Unpack[TaskOptions]) -> "Declaring": ...
    def task(
        self, function: Callable[..., Any] | None = None, /, **options: Any
    ) -> "Task[..., Any] | Declaring":
        """Make a function a task: `@app.task` or `@app.task(queue=…, …)`.

        The options are those of `TaskOptions`. Calling the task stays a plain call.

        Raises:
            InvalidTask: It cannot work as declared, or there is another task of this name.
            InvalidRequest: There is no such option.
        """
        refuse_unknown(options, TASK_OPTIONS, "@app.task")
        declaring = Declaring(self, cast(TaskOptions, options))
        return declaring if function is None else declaring(function)

    def declare(self, function: Callable[..., Any], options: TaskOptions) -> Task[..., Any]:
        """Make a function a task; `task` is the same for decorators."""
        refuse_unknown(options, TASK_OPTIONS, "a task")
        task: Task[..., Any]
        if inspect.iscoroutinefunction(function):
            task = AsyncTask(self, function, options, self.serializer)
        else:
            task = SyncTask(self, function, options, self.serializer)
        other = self._tasks.get(task.name)
        if other is not None and not _is_cell_run_again(other, task):
            raise InvalidTask(
                f"two tasks are named {task.name!r}: {_place(other)} and {_place(task)}; "
                "give one of them another name, like @app.task(name='…')"
            )
        self._tasks[task.name] = task
        return task

    def read(self, payload: bytes) -> Invocation:
        """Return what a payload asks for.

        Raises:
            UnreadablePayload: It was not written by an App.
            UnknownTaskName: This App has no such task.
            InvalidArguments: The arguments do not fit the task's function.
        """
        packed = envelope.unpack(payload)
        task = self._tasks.get(packed.name)
        if task is None:
            raise UnknownTaskName(
                f"no task is named {packed.name!r}{did_you_mean(packed.name, self._tasks)}; is "
                "its module imported here, or is the producer newer than this worker?"
            )
        return task.read(packed)

    # ------------------------------------------------------------ enqueueing and results

    def enqueue_many(self, drafts: Sequence[Draft[R]]) -> list[Job[R]]:
        """Enqueue drafts and return their jobs in order; those of one queue all or none.

        Raises:
            PayloadTooLarge: They are more than one call may carry.
            OutcomeUnknown: Some may be enqueued; repeating it with the same drafts is harmless.
            RaftqError: See docs/reference/errors.md.
        """
        with around_sending(self, *(draft.queue for draft in drafts)):
            return self.access.run(lambda client: enqueue_drafts(client, drafts))

    async def aenqueue_many(self, drafts: Sequence[Draft[R]]) -> list[Job[R]]:
        """Do what `enqueue_many` does."""
        with around_sending(self, *(draft.queue for draft in drafts)):
            return await enqueue_drafts(await self.access.client(), drafts)

    def job(self, id: UUID | str) -> Job[object]:
        """Return the job of a task that was enqueued elsewhere; `task.job(id)` knows its type."""
        return Job(self, job_id(id), self._decode_any)

    def gather(self, jobs: Iterable[Job[R]], timeout: Duration | None = None) -> list[R]:
        """Wait for all jobs and return their results in order; see `Job.result` for errors.

        The first failure that is seen is raised at once; the other tasks go on.
        """
        return gather(self.access, jobs, timeout)

    async def agather(self, jobs: Iterable[Job[R]], timeout: Duration | None = None) -> list[R]:
        """Do what `gather` does."""
        return await agather(self.access, jobs, timeout)

    def as_completed(
        self, jobs: Iterable[Job[R]], timeout: Duration | None = None
    ) -> Completing[R]:
        """Return an iterable of the jobs as they end, for `for` and for `async for`.

        A job that has ended, in whatever way, is yielded; its `result` returns or raises at once.
        If some have not ended in time, the iteration raises ResultTimeout.
        """
        return Completing(self.access, jobs, timeout)

    @cached_property
    def _decode_any(self) -> Callable[[bytes | None], object]:
        decode = self.serializer.decoder(Any)
        return lambda stored: None if stored is None else decode(stored)

    # ------------------------------------------------------------ connections

    def new_client(self, name: str = "app") -> Client:
        """Return a new blocking client of the App's cluster; the caller closes it.

        Raises:
            InvalidRequest: The App is in testing mode.
        """
        self._check_live()
        token, tls_ca = self._credentials()
        return Client(
            self._addresses(), timeout=self.timeout, name=name, token=token, tls_ca=tls_ca
        )

    def new_async_client(self, name: str = "app") -> AsyncClient:
        """Return a new asyncio client of the App's cluster; the caller closes it.

        Raises:
            InvalidRequest: The App is in testing mode.
        """
        self._check_live()
        token, tls_ca = self._credentials()
        return AsyncClient(
            self._addresses(), timeout=self.timeout, name=name, token=token, tls_ca=tls_ca
        )

    def _check_live(self) -> None:
        if not self.access.is_live:
            raise InvalidRequest(
                "this App is in testing mode, where nothing touches the network: leave it before "
                "starting a worker; testing.client() is a client of the cluster in memory"
            )

    def _addresses(self) -> str | Sequence[str]:
        return self.addresses or os.environ.get("RAFTQ_ADDRESSES") or DEFAULT_ADDRESSES

    def _credentials(self) -> tuple[str | None, str | os.PathLike[str] | None]:
        token, tls_ca = client_credentials(os.environ)
        return self.token or token, self.tls_ca or tls_ca

    def close(self) -> None:
        """Close what blocking code uses; harmless when repeated, and not needed at exit."""
        self.access.close()

    async def aclose(self) -> None:
        """Close what the running loop uses; not needed where `asyncio.run` ends the loop."""
        await self.access.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    # ------------------------------------------------------------ testing

    def testing(self, start: datetime | None = None) -> "Testing":
        """Return a test mode, for `with` or `async with`: a cluster in memory, driven by hand.

        Meanwhile all that goes through this App reaches that cluster. See docs/howto/testing.md.

        Args:
            start: Wall time at first, with a time zone; the real one by default.
        """
        from raftq.worker.testing.session import Testing

        return Testing(self, start)


class Declaring:
    """`@app.task(…)` before it has seen the function."""

    def __init__(self, app: App, options: TaskOptions) -> None:
        self._app = app
        self._options = options

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Task[..., Any]:
        """Make a function a task."""
        return self._app.declare(function, self._options)


def _is_cell_run_again(old: Task[..., Any], new: Task[..., Any]) -> bool:
    """Tell whether somebody edits a function in a session like a notebook."""
    return hasattr(sys, "ps1") and _qualified(old) == _qualified(new)


def _qualified(task: Task[..., Any]) -> str:
    return f"{task.function.__module__}.{task.function.__qualname__}"


def _place(task: Task[..., Any]) -> str:
    code = getattr(task.function, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return _qualified(task) + where
