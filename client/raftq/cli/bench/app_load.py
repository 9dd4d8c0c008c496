"""The load of programs that use an App: `python -m …app_load ADDRESSES JSON`; see `load`."""

import asyncio
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from raftq.cli.bench import load
from raftq.cli.bench.app import TASKS, app
from raftq.cli.bench.load import LoadRun


async def fill(run: LoadRun) -> None:
    """Enqueue so many tasks, many with a call."""
    task = TASKS[run.load.queue]
    while count := run.claim():
        since = time.monotonic()
        await app.aenqueue_many([task.draft() for _ in range(count)])
        run.did(count, since)


async def enqueue(run: LoadRun) -> None:
    """Enqueue with a number of callers on one loop."""
    task = TASKS[run.load.queue]

    async def caller() -> None:
        while run.claim():
            since = time.monotonic()
            await task.aenqueue()
            run.did(1, since)

    await asyncio.gather(*(caller() for _ in range(run.load.callers)))


async def enqueue_blocking(run: LoadRun) -> None:
    """Enqueue with as many callers, each in a thread of its own."""
    task = TASKS[run.load.queue]
    noting = threading.Lock()

    def caller() -> None:
        while run.claim():
            since = time.monotonic()
            task.enqueue()
            with noting:
                run.did(1, since)

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(run.load.callers, "caller") as threads:
        await asyncio.gather(
            *(loop.run_in_executor(threads, caller) for _ in range(run.load.callers))
        )
    await asyncio.to_thread(app.close)


async def round_trips(run: LoadRun) -> None:
    """Enqueue and wait for the result, with a number of callers on one loop."""
    task = TASKS[run.load.queue]

    async def caller() -> None:
        while run.claim():
            since = time.monotonic()
            job = await task.aenqueue()
            await job.aresult()
            run.did(1, since)

    await asyncio.gather(*(caller() for _ in range(run.load.callers)))


_ROLES: Final[dict[str, load.Role]] = {
    "fill": fill,
    "enqueue": enqueue,
    "enqueue-blocking": enqueue_blocking,
    "round-trips": round_trips,
}


def main() -> None:
    """Do the load that the command line describes, with the App on the same cluster."""
    os.environ["RAFTQ_ADDRESSES"] = sys.argv[1]
    load.main(_ROLES)


if __name__ == "__main__":
    main()
