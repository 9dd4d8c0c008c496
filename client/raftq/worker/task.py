"""A declared task: a function with a name and policies. Calling it stays a plain call.

`AsyncTask` and `SyncTask` differ only in what a plain call returns.
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, Unpack, cast
from uuid import UUID

from raftq.client.keywords.naming import refuse_unknown
from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest, PayloadTooLarge
from raftq.worker import envelope
from raftq.worker.drafts import Draft
from raftq.worker.enqueueing import Enqueueing, Prepared, make_draft
from raftq.worker.errors import InvalidTask, UnreadablePayload
from raftq.worker.job import Job, job_id
from raftq.worker.options import (
    CALL_OPTIONS,
    CallOptions,
    Chained,
    ExecutionKind,
    Policy,
    TaskOptions,
    check_name,
)
from raftq.worker.serialising.arguments import Arguments
from raftq.worker.serialising.serializer import Serializer

if TYPE_CHECKING:
    from raftq.worker.app import App

P = ParamSpec("P")
R = TypeVar("R")
B = TypeVar("B", bound=bool | Awaitable[bool])


@dataclass(frozen=True, slots=True)
class Invocation:
    """A task with arguments, as a worker read it from a payload."""

    task: "Task[..., Any]"
    args: list[object]
    kwargs: dict[str, object]
    headers: Mapping[str, str]
    timeout_ms: int | None
    """How long this attempt may run: the producer's word, else the task's; None is for ever."""
    has_backoff: bool = False
    """Whether the cluster knows a backoff of this call."""
    skipped: int = 0
    """How many arguments come before these, when the results of its parents are known."""
    is_check: bool = False
    """Whether its function decides what becomes of a task that was prepared and not confirmed."""


class Task(Enqueueing[P, R]):
    """A declared task; made by `@app.task`.

    Args:
        app: What it is declared with.
        function: What it runs.
        options: What was said where it was declared.
        serializer: Of the App; the options may name another.

    Raises:
        InvalidTask: It cannot work as declared.
    """

    name: Final[str]
    """What it is called in payloads; does not depend on the module."""
    execution: Final[ExecutionKind]
    """Where its function runs."""
    is_async: Final[bool]

    def __init__(
        self,
        app: "App",
        function: Callable[P, Any],
        options: TaskOptions,
        serializer: Serializer,
    ) -> None:
        _check_function(function)
        self._app = app
        self.function: Final = function
        try:
            self.name = options.get("name", function.__name__)
            check_name("name", self.name)
            self.policy: Final = Policy().with_options(options)
        except InvalidRequest as error:
            raise InvalidTask(f"task {options.get('name', function.__name__)!r}: {error}") from None
        self.is_async = inspect.iscoroutinefunction(function)
        self.execution = _execution(self.name, options.get("execution", "auto"), self.is_async)
        self.serializer: Final = options.get("serializer", serializer)
        self.arguments: Final = Arguments(function, self.name, self.serializer)
        for rule in self.policy.keys.values():
            rule.check(self.name, self.arguments.names)
        self.checker: Task[P, Any] | None = None
        """What decides about prepared tasks that were not confirmed; see `check`."""
        self.__wrapped__ = function  # So that `inspect.signature` and `help` show the function's.
        self.__module__, self.__doc__ = function.__module__, function.__doc__
        self.__name__, self.__qualname__ = function.__name__, function.__qualname__

    def __repr__(self) -> str:
        return f"<task {self.name!r} on queue {self.queue!r}>"

    @property
    def app(self) -> "App":
        """What it is declared with."""
        return self._app

    @property
    def task_name(self) -> str:
        """Its name."""
        return self.name

    @property
    def queue(self) -> str:
        """The queue it waits in, unless a call says otherwise."""
        return self.policy.queue

    @property
    def priority(self) -> int:
        """0 (first) to 9."""
        return self.policy.priority

    @property
    def attempts_max(self) -> int:
        """Failures after which it is dead; 0 means the queue's setting."""
        return self.policy.attempts_max

    @property
    def timeout_ms(self) -> int | None:
        """How long one attempt may run; None is for ever."""
        return self.policy.timeout_ms

    # ------------------------------------------------------------ enqueueing

    def options(self, **options: Unpack[CallOptions]) -> Prepared[P, R]:
        """Return this task with other policies, ready to be enqueued with them.

        The options are those of `CallOptions`; what they do not name stays as declared.

        Raises:
            InvalidRequest: There is no such option, or its value is out of range.
        """
        refuse_unknown(options, CALL_OPTIONS, f"task {self.name!r}")
        return Prepared(self, options)

    def check(self, function: Callable[P, B], /) -> Callable[P, B]:
        """Make a function the check of this task: `@task.check`.

        It gets the arguments of a call that was prepared and not confirmed in time, and returns
        whether the producer's own commit happened: then the call is confirmed, else cancelled.
        """
        if self.policy.check_queue is None:
            raise InvalidTask(f"task {self.name!r} has no check_queue, where its check would run")
        self.checker = Task(self.app, function, {"name": self.name}, self.serializer)
        return function

    def validate(self) -> None:
        """Look at what can only be looked at when all is declared.

        Raises:
            InvalidTask: An annotation can never be read, or a check is missing.
        """
        self.arguments.check()
        if self.checker is not None:
            self.checker.arguments.check()
        elif self.policy.check_queue is not None:
            raise InvalidTask(
                f"task {self.name!r} has a check_queue and no check: declare one with "
                f"@{self.__name__}.check"
            )

    def job(self, id: UUID | str) -> Job[R]:
        """Return the job of a task that was enqueued elsewhere, by its id."""
        return Job(self.app, job_id(id), self.decode_result)

    def make_draft(
        self,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        chained: Chained | None = None,
    ) -> Draft[R]:
        """See `Enqueueing`."""
        return make_draft(self, self.policy, {}, args, kwargs, chained)

    # ------------------------------------------------------------ bytes

    def payload(
        self,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        headers: Mapping[str, str],
        timeout_ms: int | None = None,
        *,
        takes: int | None = None,
        has_backoff: bool = False,
    ) -> bytes:
        """Return the payload that asks for a run with these arguments.

        Args:
            args: Positional ones.
            kwargs: Named ones.
            headers: Beside the arguments.
            timeout_ms: A run limit in the place of the task's own; 0 is none.
            takes: See `envelope.Extras`.
            has_backoff: See `envelope.Extras`.

        Raises:
            InvalidArguments: They do not fit the function, or cannot be stored.
            PayloadTooLarge: They are more than a task may carry.
        """
        skipped = 0 if takes is None else 1
        positional, named = self.arguments.encode(args, kwargs, skipped)
        extras = envelope.Extras(
            dict(headers), timeout_ms, self.serializer.name, takes, has_backoff
        )
        return envelope.pack(self.name, positional, named, extras)

    def decode_arguments(self, payload: bytes) -> tuple[list[object], dict[str, object]]:
        """Return the arguments of a payload, as the function's annotations say.

        Raises:
            InvalidArguments: They do not fit the function.
            UnreadablePayload: It was not written for this task.
        """
        invocation = self.read(envelope.unpack(payload))
        return invocation.args, invocation.kwargs

    def read(self, packed: envelope.Envelope, queue: str | None = None) -> Invocation:
        """Return what an envelope asks for.

        Args:
            packed: The envelope.
            queue: Where the task was leased from: in the task's check queue, its check is meant.

        Raises:
            InvalidTask: The check is missing.
            InvalidArguments: The arguments do not fit the function.
            UnreadablePayload: It was not written for this task.
        """
        extras = packed.extras
        if packed.name != self.name or extras.serializer != self.serializer.name:
            raise UnreadablePayload(
                f"the payload is for task {packed.name!r} in the format {extras.serializer!r}; "
                f"this is task {self.name!r}, which reads {self.serializer.name!r}"
            )
        skipped = 0 if extras.takes is None else 1
        args, kwargs = self.arguments.decode(
            [envelope.argument(each, extras.serializer) for each in packed.args],
            {
                key: envelope.argument(each, extras.serializer)
                for key, each in packed.kwargs.items()
            },
            skipped,
        )
        timeout_ms = self.timeout_ms if extras.timeout_ms is None else extras.timeout_ms or None
        has_backoff = extras.has_backoff or self.policy.has_backoff
        is_check = queue is not None and queue == self.policy.check_queue
        if is_check and self.checker is None:
            self.validate()
        task = self.checker if is_check and self.checker is not None else self
        return Invocation(
            task, args, kwargs, extras.headers, timeout_ms, has_backoff, skipped, is_check
        )

    def encode_result(self, value: object) -> bytes | None:
        """Return what is recorded as the result; nothing for None.

        Raises:
            InvalidArguments: It cannot be stored.
            PayloadTooLarge: It is more than the cluster keeps.
        """
        stored = self.arguments.encode_result(value)
        if stored is not None and len(stored) > limits.RESULT_BYTES_MAX:
            raise PayloadTooLarge(
                f"the result of task {self.name!r} takes {len(stored)} bytes; at most "
                f"{limits.RESULT_BYTES_MAX} are kept: store it elsewhere and return a reference"
            )
        return stored

    def decode_result(self, stored: bytes | None) -> R:
        """Return a recorded result, as the function's return annotation says.

        Raises:
            UnreadableResult: It is something else.
        """
        return cast(R, self.arguments.decode_result(stored))


class SyncTask(Task[P, R]):
    """A task whose function is `def`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, as if it were no task."""
        return cast(R, self.function(*args, **kwargs))


class AsyncTask(Task[P, R]):
    """A task whose function is `async def`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Return the function's coroutine, as if it were no task."""
        return cast("Coroutine[Any, Any, R]", self.function(*args, **kwargs))


def _check_function(function: Callable[..., object]) -> None:
    if not inspect.isroutine(function):
        raise InvalidTask(f"a task is made of a function, not of {type(function).__qualname__}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidTask(f"{function.__qualname__} yields; a task returns one result")


def _execution(name: str, declared: str, is_async: bool) -> ExecutionKind:
    if declared == "auto":
        return "async" if is_async else "thread"
    if declared == "async" and is_async:
        return "async"
    if declared == "thread" and not is_async:
        return "thread"
    if declared == "process" and not is_async:
        return "process"
    if declared not in ("async", "thread", "process"):
        raise InvalidTask(
            f"task {name!r}: execution is {declared!r}; it is auto, async, thread or process"
        )
    kind = "async def, which runs on the loop" if is_async else "def, which would block the loop"
    raise InvalidTask(f"task {name!r} cannot have execution={declared!r}: its function is {kind}")
