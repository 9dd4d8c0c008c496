"""The results of many jobs: all of them, or each as it arrives."""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Final, Generic, TypeVar

from raftq.client.async_client import AsyncClient
from raftq.client.durations import Duration
from raftq.worker.connections import ClusterAccess
from raftq.worker.job import Job, timeout_of
from raftq.worker.waiting import Waiting, patience

R = TypeVar("R")


class Completing(Generic[R]):
    """Jobs as they end: iterate with `for` in blocking code, with `async for` in async code.

    Args:
        access: The cluster.
        jobs: What is waited for; those that are known to have ended come first.
        timeout: For all of them, from now.
    """

    def __init__(
        self, access: ClusterAccess, jobs: Iterable[Job[R]], timeout: Duration | None
    ) -> None:
        self._access: Final = access
        self._ended: list[Job[R]] = []
        self._open: dict[bytes, list[Job[R]]] = {}
        for job in jobs:
            if job.has_ended:
                self._ended.append(job)
            else:
                self._open.setdefault(job.id.bytes, []).append(job)
        self._waiting: Final = Waiting(self._open, patience(access, timeout))

    def __iter__(self) -> Iterator[Job[R]]:
        """Yield jobs as they end; raises ResultTimeout if some have not in time."""
        try:
            while ended := self._ended or self._access.run(self._next):
                self._ended = []
                yield from ended
        finally:
            if self._waiting.is_asking:
                self._access.run(lambda _: self._waiting.close())

    async def __aiter__(self) -> AsyncIterator[Job[R]]:
        """Yield jobs as they end; raises ResultTimeout if some have not in time."""
        try:
            while ended := self._ended or await self._next(await self._access.client()):
                self._ended = []
                for job in ended:
                    yield job
        finally:
            await self._waiting.close()

    async def _next(self, client: AsyncClient) -> list[Job[R]]:
        """Return jobs that have ended, at least one; nothing once all have been returned."""
        try:
            endings = await self._waiting.next(client)
        except TimeoutError:
            (job, *_) = self._open[self._waiting.pending[0]]
            raise timeout_of(job, self._waiting) from None
        ended: list[Job[R]] = []
        for task_id, ending in endings:
            for job in self._open.pop(task_id):
                job.end(ending)
                ended.append(job)
        return ended


def gather(access: ClusterAccess, jobs: Iterable[Job[R]], timeout: Duration | None) -> list[R]:
    """Wait for all jobs and return their results in order."""
    wanted = list(jobs)
    for job in Completing(access, wanted, timeout):
        job.result()  # Raises at once what the first failure was.
    return [job.result() for job in wanted]


async def agather(
    access: ClusterAccess, jobs: Iterable[Job[R]], timeout: Duration | None
) -> list[R]:
    """Do what `gather` does."""
    wanted = list(jobs)
    async for job in Completing(access, wanted, timeout):
        await job.aresult()
    return [await job.aresult() for job in wanted]
