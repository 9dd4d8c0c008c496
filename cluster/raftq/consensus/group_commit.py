"""One fsync at a time, beside the loop: everything recorded meanwhile shares the next one."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple, Protocol

from raftq.protocol.errors import StorageError
from raftq.storage.journal import Journal


class Offload(Protocol):
    """Runs a blocking job beside the event loop."""

    def __call__(self, job: Callable[[], None]) -> "asyncio.Future[None]": ...


class GroupCommit:
    """Keeps the journal's durable index following its last index.

    Args:
        journal: The journal.
        offload: Runs the blocking sync.
        on_durable: Called on the loop after each finished sync.
        on_failure: Called with the error of a failed sync; it is never retried, because the
            kernel may already have dropped the pages.
    """

    def __init__(
        self,
        journal: Journal,
        offload: Offload,
        on_durable: Callable[[], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._journal = journal
        self._offload = offload
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._running: asyncio.Future[None] | None = None
        self.syncs_total = 0

    def start(self) -> None:
        """Write what is buffered and sync it, unless a sync is running."""
        if self._running is not None:
            return
        job = self._journal.begin_sync()
        if job is None:
            return
        self._running = self._offload(job.run)

        def on_done(future: "asyncio.Future[None]") -> None:
            self._running = None
            error = None if future.cancelled() else future.exception()
            if future.cancelled():
                return
            if error is not None:
                self._on_failure(error)
                return
            try:
                self._journal.finish_sync(job)  # It may write, and find the disk full.
            except StorageError as failure:
                self._on_failure(failure)
                return
            self.syncs_total += 1
            self._on_durable()

        self._running.add_done_callback(on_done)

    async def drain(self) -> None:
        """Wait for a running sync, so that the journal can be closed."""
        if self._running is not None:
            await asyncio.wait([self._running])


class SyncThread:
    """An `Offload` on one thread of its own.

    Not a `ThreadPoolExecutor`: its second future, chained to the loop's, costs each of three nodes
    18 µs of CPU and the caller 20 µs of waiting for every log entry.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # Not waited for at exit: a process that ends without `close` has been given up.
        self._thread = Thread(target=self._run, name="raftq-sync", daemon=True)
        self._thread.start()

    def __call__(self, job: Callable[[], None]) -> "asyncio.Future[None]":
        """Run the job on the thread."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._jobs.put(_Job(job, loop, future))
        return future

    def close(self) -> None:
        """Wait for the running job and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (each := self._jobs.get()) is not None:
            error: BaseException | None = None
            try:
                each.run()
            except BaseException as failure:
                error = failure
            with suppress(RuntimeError):  # The loop is closed, and nobody waits any more.
                each.loop.call_soon_threadsafe(_tell, each.future, error)
            del each  # Not kept until the next one: a job refers to the journal's files.


class _Job(NamedTuple):
    run: Callable[[], None]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[None]"


def _tell(future: "asyncio.Future[None]", error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
