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
from raftq.client.keywords.naming import did_you_mean, refuse_unknown
from raftq.client.keywords.rates import BackoffText, backoff_of
from raftq.client.parts.configuring import MissedName, OverlapName
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.options import Backoff
from raftq.worker import envelope
from raftq.worker.connections import ClusterAccess, Connections
from raftq.worker.drafts import Draft, around_sending, enqueue_drafts
from raftq.worker.endings import TimeLimitExceeded
from raftq.worker.errors import InvalidTask, UnknownTaskName
from raftq.worker.flows import Chain, Flow, Group, Single
from raftq.worker.hooks import Hook
from raftq.worker.job import Job, job_id
from raftq.worker.options import TASK_OPTIONS, TaskOptions
from raftq.worker.pauses import pause_ms
from raftq.worker.results import Completing, agather, gather
from raftq.worker.scheduling import Declared, Scheduling, sync_schedules, timing
from raftq.worker.serialising.serializer import MsgpackSerializer, Serializer
from raftq.worker.task import AsyncTask, Invocation, SyncTask, Task

if TYPE_CHECKING:
    from raftq.worker.testing.session import Testing

P = ParamSpec("P")
R = TypeVar("R")
DEFAULT_BACKOFF: Final = Backoff()
"""A second after the first failure, then twice as long each time, up to ten minutes."""
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
        backoff: The pauses before retries of tasks that say nothing of their own; with None the
            setting of the queue counts.
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
        backoff: BackoffText | None = DEFAULT_BACKOFF,
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
        self.backoff: Final = None if backoff is None else backoff_of(backoff)
        """The pauses before retries of tasks that say nothing of their own."""
        self.access: ClusterAccess = Connections(self.new_client, self.new_async_client)
        """How it reaches the cluster; connects when first used."""
        self._tasks: dict[str, Task[..., Any]] = {}
        self.tasks: Final[Mapping[str, Task[..., Any]]] = MappingProxyType(self._tasks)
        """Every task by its name."""
        self._schedules: dict[str, Declared] = {}
        self.schedules: Final[Mapping[str, Declared]] = MappingProxyType(self._schedules)
        """Every schedule by its name."""

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

    def read(self, payload: bytes, queue: str | None = None) -> Invocation:
        """Return what a payload asks for.

        Args:
            payload: Of the task.
            queue: Where it was leased from; see `Task.read`.

        Raises:
            UnreadablePayload: It was not written by an App.
            UnknownTaskName: This App has no such task.
            InvalidArguments: The arguments do not fit the task's function.
        """
        return self.read_packed(envelope.unpack(payload), queue)

    def read_packed(self, packed: envelope.Envelope, queue: str | None = None) -> Invocation:
        """Return what an envelope asks for; see `read`."""
        return self.named(packed.name).read(packed, queue)

    def named(self, name: str) -> Task[..., Any]:
        """Return the task of a name.

        Raises:
            UnknownTaskName: This App has no such task.
        """
        task = self._tasks.get(name)
        if task is None:
            raise UnknownTaskName(
                f"no task is named {name!r}{did_you_mean(name, self._tasks)}; is "
                "its module imported here, or is the producer newer than this worker?"
            )
        return task

    # ------------------------------------------------------------ schedules

    def schedule(
        self,
        cron: str | None = None,
        *,
        every: Duration | None = None,
        tz: str = "UTC",
        catch_up: MissedName = "one",
        overlap: OverlapName = "allow",
        jitter: Duration = 0,
        name: str | None = None,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] = MappingProxyType({}),
    ) -> Scheduling:
        """Have the cluster enqueue a task again and again: `@app.schedule(…)` above `@app.task`.

        Workers tell the cluster when they start; each tick then enqueues one task, whatever nodes,
        workers and producers are there. The task's own policies count, but for its delay.

        Args:
            cron: Minute, hour, day of the month, month, day of the week.
            every: The time between two; either this or `cron`.
            tz: The time zone of `cron`, as the IANA names it.
            catch_up: What if ticks passed while the cluster was down: `skip`, `one` or `all`.
            overlap: What if the task of the tick before is not over: `allow`, `skip` or `replace`.
            jitter: Up to how much later a task may start.
            name: Of the schedule; the task's unless given.
            args: The task's arguments, each time the same.
            kwargs: The same by name.

        Raises:
            InvalidTask: It cannot work as declared.
        """
        when = timing(cron, every, tz, catch_up, overlap, jitter)
        return Scheduling(self, name, when, args, kwargs)

    def add_schedule(self, declared: Declared) -> None:
        """Take note of a schedule; `schedule` is the same for decorators."""
        other = self._schedules.get(declared.name)
        if other is not None and not _is_cell_run_again(other.task, declared.task):
            raise InvalidTask(
                f"two schedules are named {declared.name!r}; give one of them another name, like "
                "@app.schedule(…, name='…')"
            )
        self._schedules[declared.name] = declared

    def sync_schedules(self) -> list[str]:
        """Tell the cluster of the schedules, as workers do when they start.

        Returns:
            The names of those that were different before.

        Raises:
            InvalidRequest: The cluster refuses one; the text says which and why.
        """
        declared = list(self.schedules.values())
        return self.access.run(lambda client: sync_schedules(client, declared))

    async def async_schedules(self) -> list[str]:
        """Do what `sync_schedules` does."""
        return await sync_schedules(await self.access.client(), list(self.schedules.values()))

    # ------------------------------------------------------------ flows

    @overload
    def chain(self, last: Single[R], /) -> Chain[R]: ...
    @overload
    def chain(self, first: Flow[Any], last: Single[R], /) -> Chain[R]: ...
    @overload
    def chain(self, first: Flow[Any], second: Flow[Any], last: Single[R], /) -> Chain[R]: ...
    @overload
    def chain(
        self, first: Flow[Any], second: Flow[Any], third: Flow[Any], last: Single[R], /
    ) -> Chain[R]: ...
    @overload
    def chain(
        self,
        first: Flow[Any],
        second: Flow[Any],
        third: Flow[Any],
        fourth: Flow[Any],
        fifth: Flow[Any],
        /,
        *more: Flow[Any],
    ) -> Chain[Any]: ...
    def chain(self, *work: Flow[Any]) -> Chain[Any]:
        """Return a flow of steps one after the other: each gets the result of the one before.

        It is the first argument; behind a group it is the list of the results. If a step does not
        succeed, those after it are cancelled, unless their task says otherwise
        (`on_parent_failure`).

        Args:
            work: Steps (`task.s(…)`), groups and chains; the last has one result.

        Raises:
            InvalidRequest: The last one is a group.
        """
        return Chain(work)

    def group(self, members: Iterable[Single[R]]) -> Group[R]:
        """Return a flow of steps or chains beside each other; `group.join(step)` goes on.

        Raises:
            InvalidRequest: There are none, or too many.
        """
        return Group(members)

    # ------------------------------------------------------------ enqueueing and results

    def enqueue_many(self, drafts: Sequence[Draft[R]]) -> list[Job[R]]:
        """Enqueue drafts, all or none, and return their jobs in order.

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

    def pause_ms(self, attempt: int) -> int | None:
        """Return the pause before a retry that the App asks for; None leaves it to the queue."""
        return None if self.backoff is None else pause_ms(self.backoff, attempt)

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
