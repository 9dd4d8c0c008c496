"""From a call of a task to a task in a queue: `enqueue`, `aenqueue`, `draft`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar
from uuid import UUID

from raftq.client.async_client import AsyncClient
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.messages import NewTask
from raftq.worker.hooks import Outgoing, entered
from raftq.worker.job import Job
from raftq.worker.options import CallOptions, Policy

if TYPE_CHECKING:
    from raftq.worker.app import App
    from raftq.worker.task import Task

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
_NO_HOOKS: Final = nullcontext()


class Enqueueing(ABC, Generic[P, R]):
    """What can be enqueued: a task, with its own policies or with others."""

    @abstractmethod
    def _draft(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> "Draft[R]": ...

    @abstractmethod
    def _sending(self) -> AbstractContextManager[object]: ...

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Enqueue a run with these arguments; it is on the disks of a majority on return.

        Raises:
            InvalidArguments: They do not fit the function, or cannot be stored.
            PayloadTooLarge: They are more than a task may carry.
            OutcomeUnknown: It may be enqueued; use `draft` to be able to repeat it.
            RaftqError: See docs/reference/errors.md.
        """
        with self._sending():
            return self._draft(args, kwargs).send()

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Do what `enqueue` does."""
        with self._sending():
            return await self._draft(args, kwargs).asend()

    def draft(self, *args: P.args, **kwargs: P.kwargs) -> "Draft[R]":
        """Return a task that is to be enqueued later, alone or with others."""
        return self._draft(args, kwargs)


class Prepared(Enqueueing[P, R]):
    """A task with other policies than its own; made by `task.options(…)`."""

    def __init__(self, task: "Task[P, R]", options: CallOptions) -> None:
        self._task = task
        self._options = options
        self._policy = task.policy.with_options(options)

    def _draft(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> "Draft[R]":
        return make_draft(self._task, self._policy, self._options, args, kwargs)

    def _sending(self) -> AbstractContextManager[object]:
        return around_sending(self._task.app, self._policy.queue)


class Draft(Generic[R_co]):
    """A task with its id and payload, not enqueued yet.

    Enqueueing it again is harmless: it is one task, whose state is returned. So a draft is the way
    to repeat an enqueue whose outcome is unknown.

    Args:
        app: What it is enqueued with.
        queue: Where it goes.
        new_task: The task as the cluster gets it.
        decode: Reads its result.
    """

    def __init__(
        self,
        app: "App",
        queue: str,
        new_task: NewTask,
        decode: Callable[[bytes | None], R_co],
    ) -> None:
        self.queue: Final = queue
        self.new_task: Final = new_task
        self._app: Final = app
        self._decode: Final = decode

    def __repr__(self) -> str:
        return f"<draft {self.id} for queue {self.queue!r}>"

    @property
    def id(self) -> UUID:
        """The id that the task has or will have."""
        return UUID(bytes=self.new_task.id)

    def enqueue(self) -> Job[R_co]:
        """Enqueue it; it is on the disks of a majority on return."""
        with around_sending(self._app, self.queue):
            return self.send()

    async def aenqueue(self) -> Job[R_co]:
        """Do what `enqueue` does."""
        with around_sending(self._app, self.queue):
            return await self.asend()

    def send(self) -> Job[R_co]:
        """Enqueue it without telling the hooks; for those who have done so."""
        return self._app.access.run(self._enqueue)

    async def asend(self) -> Job[R_co]:
        """Do what `send` does."""
        return await self._enqueue(await self._app.access.client())

    async def _enqueue(self, client: AsyncClient) -> Job[R_co]:
        (made,) = await client.enqueue_many(self.queue, [self.new_task])
        return self.job(made.created)

    def job(self, created: bool | None = None) -> Job[R_co]:
        """Return its job, as if it had been enqueued."""
        return Job(self._app, self.id, self._decode, created)


def around_sending(app: "App", *queues: str) -> AbstractContextManager[object]:
    """Return what surrounds a call that sends a task to each of the queues."""
    if not app.hooks:
        return _NO_HOOKS
    queue = queues[0] if len(set(queues)) == 1 else None
    return entered(hook.sending(queue, len(queues)) for hook in app.hooks)


async def enqueue_drafts(client: AsyncClient, drafts: Sequence[Draft[R]]) -> list[Job[R]]:
    """Enqueue drafts, those of one queue with one call, and return their jobs in order."""
    by_queue: dict[str, list[Draft[R]]] = {}
    for draft in drafts:
        by_queue.setdefault(draft.queue, []).append(draft)
    jobs: dict[bytes, Job[R]] = {}
    for queue, together in by_queue.items():
        made = await client.enqueue_many(queue, [each.new_task for each in together])
        for draft, one in zip(together, made, strict=True):
            jobs[draft.new_task.id] = draft.job(one.created)
    return [jobs[draft.new_task.id] for draft in drafts]


def make_draft(
    task: "Task[..., R]",
    policy: Policy,
    options: CallOptions,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
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
    payload = task.payload(args, kwargs, headers, timeout_ms)
    new = NewTask(task_id, payload, policy.priority, policy.delay_ms, policy.attempts_max)
    return Draft(task.app, policy.queue, new, task.decode_result)


def _check_headers(headers: Mapping[Any, Any]) -> None:
    for name, value in headers.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise InvalidRequest(f"header {name!r} is {value!r}; names and values must be str")
