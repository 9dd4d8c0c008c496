"""The App: tasks by name, and how to reach the cluster."""

import inspect
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, ParamSpec, TypeVar, Unpack, cast, overload

from raftq.worker import envelope
from raftq.worker.errors import InvalidTask, UnknownTaskName
from raftq.worker.hooks import Hook
from raftq.worker.options import (
    TASK_OPTIONS,
    TaskOptions,
    did_you_mean,
    refuse_unknown,
)
from raftq.worker.serialising.serializer import MsgpackSerializer, Serializer
from raftq.worker.task import AsyncTask, Invocation, SyncTask, Task

P = ParamSpec("P")
R = TypeVar("R")


class App:
    """Tasks that belong together, and the cluster that keeps them.

    Args:
        addresses: Any nodes, as `AsyncClient` takes them. Without them `RAFTQ_ADDRESSES` counts
            when the App is first used.
        token: See `AsyncClient`; without it `RAFTQ_TOKEN` or `RAFTQ_TOKEN_FILE` counts.
        tls_ca: See `AsyncClient`; without it `RAFTQ_TLS_CA` counts.
        serializer: Stores arguments and results.
        hooks: Called around every enqueue and every run.
    """

    def __init__(
        self,
        addresses: str | Sequence[str] | None = None,
        *,
        token: str | None = None,
        tls_ca: str | os.PathLike[str] | None = None,
        serializer: Serializer | None = None,
        hooks: Sequence[Hook] = (),
    ) -> None:
        self.addresses: Final = addresses
        self.token: Final = token
        self.tls_ca: Final = tls_ca
        self.serializer: Final[Serializer] = serializer or MsgpackSerializer()
        self.hooks: Final = tuple(hooks)
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
        if other is not None:
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


def _place(task: Task[..., Any]) -> str:
    code = getattr(task.function, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"{task.function.__module__}.{task.function.__qualname__}{where}"
