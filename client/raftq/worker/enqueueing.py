"""From a call of a task to a task in a queue: `enqueue`, `aenqueue`, `draft`, `s`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack
from uuid import UUID

from raftq.client.keywords.naming import refuse_unknown
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.options import NewTask
from raftq.worker.drafts import Draft, around_sending
from raftq.worker.flows import Step
from raftq.worker.hooks import Outgoing
from raftq.worker.job import Job
from raftq.worker.options import CALL_OPTIONS, CallOptions, Chained, Policy

if TYPE_CHECKING:
    from raftq.worker.app import App
    from raftq.worker.task import Task

P = ParamSpec("P")
R = TypeVar("R")


class Enqueueing(ABC, Generic[P, R]):
    """What can be enqueued: a task, with its own policies or with others."""

    @property
    @abstractmethod
    def app(self) -> "App":
        """What it is enqueued with."""

    @property
    @abstractmethod
    def queue(self) -> str:
        """Where it waits."""

    @property
    @abstractmethod
    def task_name(self) -> str:
        """What the task is called in payloads."""

    @abstractmethod
    def make_draft(
        self,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        chained: Chained | None = None,
    ) -> Draft[R]:
        """Return a task for these arguments, after the hooks have seen it.

        Args:
            args: Positional arguments.
            kwargs: Named arguments.
            chained: What a flow adds.

        Raises:
            InvalidArguments: They do not fit the function, or cannot be stored.
            PayloadTooLarge: They are more than a task may carry.
        """

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Enqueue a run with these arguments; it is on the disks of a majority on return.

        Raises:
            InvalidArguments: They do not fit the function, or cannot be stored.
            PayloadTooLarge: They are more than a task may carry.
            KeyTaken: Another live task has its unique key.
            OutcomeUnknown: It may be enqueued; use `draft` to be able to repeat it.
            RaftqError: See docs/reference/errors.md.
        """
        with around_sending(self.app, self.queue):
            return self.make_draft(args, kwargs).send()

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Do what `enqueue` does."""
        with around_sending(self.app, self.queue):
            return await self.make_draft(args, kwargs).asend()

    def draft(self, *args: P.args, **kwargs: P.kwargs) -> Draft[R]:
        """Return a task that is to be enqueued later, alone or with others."""
        return self.make_draft(args, kwargs)

    def s(self, *args: Any, **kwargs: Any) -> Step[R]:
        """Return a step of a flow; see `App.chain` and `App.group`.

        The arguments are those that remain: the first is the result of the step before.
        """
        return Step(self, args, kwargs)


class Prepared(Enqueueing[P, R]):
    """A task with other policies than its own; made by `task.options(…)`."""

    def __init__(self, task: "Task[P, R]", options: CallOptions) -> None:
        self._task = task
        self._options = options
        self._policy = task.policy.with_options(options)
        for rule in self._policy.keys.values():
            rule.check(task.name, task.arguments.names)

    def options(self, **options: Unpack[CallOptions]) -> "Prepared[P, R]":
        """Return the task with further policies, which go before those said so far."""
        refuse_unknown(options, CALL_OPTIONS, f"task {self.task_name!r}")
        return Prepared(self._task, {**self._options, **options})

    @property
    def app(self) -> "App":
        """See `Enqueueing`."""
        return self._task.app

    @property
    def queue(self) -> str:
        """See `Enqueueing`."""
        return self._policy.queue

    @property
    def task_name(self) -> str:
        """See `Enqueueing`."""
        return self._task.name

    def make_draft(
        self,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        chained: Chained | None = None,
    ) -> Draft[R]:
        """See `Enqueueing`."""
        return make_draft(self._task, self._policy, self._options, args, kwargs, chained)


def make_draft(
    task: "Task[..., R]",
    policy: Policy,
    options: CallOptions,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    chained: Chained | None = None,
) -> Draft[R]:
    """Return a task for these arguments, after the hooks have seen it.

    Raises:
        InvalidArguments: They do not fit the function, or cannot be stored.
        InvalidRequest: A header is no text.
        PayloadTooLarge: They are more than a task may carry.
    """
    given = options.get("id")
    task_id = task.app.access.new_id() if given is None else given.bytes
    headers = dict(options.get("headers", {}))
    if task.app.hooks:
        outgoing = Outgoing(UUID(bytes=task_id), task.name, policy.queue, headers)
        for hook in task.app.hooks:
            hook.enqueuing(outgoing)
        headers = outgoing.headers
    _check_headers(headers)
    timeout_ms = (policy.timeout_ms or 0) if "timeout" in options else None
    skipped = 0 if chained is None else chained.skipped
    payload = task.payload(
        args,
        kwargs,
        headers,
        timeout_ms,
        takes=None if chained is None else chained.takes,
        has_backoff="backoff" in options,
    )
    new = NewTask(
        task_id,
        payload,
        policy.priority,
        policy.delay_ms,
        policy.attempts_max,
        policy.not_before_ms,
        policy.wire_options(
            args, kwargs, partial(task.arguments.named, args, kwargs, skipped), chained
        ),
    )
    return Draft(task.app, policy.queue, new, task.decode_result)


def _check_headers(headers: Mapping[Any, Any]) -> None:
    for name, value in headers.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise InvalidRequest(f"header {name!r} is {value!r}; names and values must be str")
