"""Tasks that are made but not sent yet, and how one or many of them are sent."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from uuid import UUID

from raftq.client.async_client import AsyncClient
from raftq.protocol.options import NewTask
from raftq.protocol.replies import EnqueuedTask
from raftq.worker.hooks import entered
from raftq.worker.job import Job
from raftq.worker.parts import in_parts

if TYPE_CHECKING:
    from raftq.worker.app import App

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
_NO_HOOKS: Final = nullcontext()


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
        return self.job(made)

    def job(self, made: EnqueuedTask | None = None) -> Job[R_co]:
        """Return its job, as if it had been enqueued.

        Args:
            made: What came of its enqueue: perhaps another task, which has its unique key.
        """
        if made is None:
            return Job(self._app, self.id, self._decode)
        return Job(self._app, UUID(bytes=made.id), self._decode, made.created)

    def plan(self) -> "Plan[Job[R_co]]":
        """Return what is to be sent, and what is made of the answer; see `Plan`."""
        return Plan([self], lambda made: self.job(made.get(self.new_task.id)))


class Plan(Generic[R_co]):
    """Tasks that are sent together, all or none.

    Args:
        drafts: The tasks; each comes behind those that it depends on.
        outcome: Makes the jobs for the caller, of what came of each task by its id; of nothing, if
            that is not known.
    """

    def __init__(
        self,
        drafts: Sequence[Draft[Any]],
        outcome: Callable[[Mapping[bytes, EnqueuedTask]], R_co],
    ) -> None:
        self.drafts: Final = drafts
        self._outcome: Final = outcome

    async def send(self, client: AsyncClient) -> R_co:
        """Enqueue them."""
        return self._outcome(await send_drafts(client, self.drafts))

    def outcome(self) -> R_co:
        """Return the jobs, as if they had been enqueued."""
        return self._outcome({})


def around_sending(app: "App", *queues: str) -> AbstractContextManager[object]:
    """Return what surrounds a call that sends a task to each of the queues."""
    if not app.hooks:
        return _NO_HOOKS
    queue = queues[0] if len(set(queues)) == 1 else None
    return entered(hook.sending(queue, len(queues)) for hook in app.hooks)


async def enqueue_drafts(client: AsyncClient, drafts: Sequence[Draft[R]]) -> list[Job[R]]:
    """Enqueue drafts, all or none, and return their jobs in order."""
    made = await send_drafts(client, drafts)
    return [draft.job(made[draft.new_task.id]) for draft in drafts]


async def send_drafts(
    client: AsyncClient, drafts: Sequence[Draft[Any]]
) -> dict[bytes, EnqueuedTask]:
    """Enqueue drafts, all or none, with one call; return what came of each by its id."""
    unique = {draft.new_task.id: draft for draft in drafts}
    parts = in_parts((draft.queue, draft.new_task) for draft in unique.values())
    if len(parts) == 1:
        answers = await client.enqueue_many(parts[0].queue, parts[0].tasks)
    else:
        answers = await client.enqueue_parts([(part.queue, part.tasks) for part in parts])
    sent = [task.id for part in parts for task in part.tasks]
    return dict(zip(sent, answers, strict=True))
