"""An App and programs that use it: `apps.py MODE`; each prints the ids that it enqueued."""

import asyncio
import os
import sys
import threading
import warnings
from collections.abc import Callable
from uuid import UUID

from tornado.ioloop import IOLoop

from raftq.worker import App, current


class MailboxFull(Exception):
    """Why a mail is not sent."""


app = App(os.environ.get("RAFTQ_ADDRESSES"), remote_exceptions=[MailboxFull])


@app.task(queue="apps")
def add(left: int, right: int) -> int:
    """Run in a thread."""
    return left + right


@app.task(queue="apps", attempts_max=2)
async def send(address: str, *, key: UUID) -> tuple[str, UUID, int]:
    """Run on the loop; fail if the address is `full`."""
    if address == "full":
        raise MailboxFull(f"attempt {current().attempt}")
    return address, key, current().attempt


def show(task_id: UUID) -> None:
    """Print an id and the end of its line at once: threads share the output."""
    sys.stdout.write(f"{task_id}\n")


def blocking() -> None:
    """Enqueue from the main thread and end without closing anything."""
    show(add.enqueue(1, 2).id)


def threads() -> None:
    """Enqueue from many threads at once."""
    jobs = [threading.Thread(target=blocking) for _ in range(8)]
    for each in jobs:
        each.start()
    for each in jobs:
        each.join()


def loops() -> None:
    """Enqueue from one loop after the other, from a thread's, and from blocking code between."""
    asyncio.run(on_loop())
    blocking()
    asyncio.run(on_loop())
    thread = threading.Thread(target=lambda: asyncio.run(on_loop()))
    thread.start()
    thread.join()


async def on_loop() -> None:
    """Enqueue from a loop."""
    show((await add.aenqueue(1, 2)).id)


def tornado() -> None:
    """Enqueue from a handler of Tornado."""

    async def main() -> None:
        await on_loop()
        await app.aclose()

    loop = IOLoop(make_current=True)
    loop.run_sync(main)
    loop.close(all_fds=True)


def fork() -> None:
    """Enqueue before a fork, in two children, and in the parent after them."""
    asyncio.run(on_loop())
    blocking()
    sys.stdout.flush()
    children: list[int] = []
    for _ in range(2):
        with warnings.catch_warnings():
            # Newer Pythons warn of every fork of a process with threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            blocking()
            asyncio.run(on_loop())
            return  # Like a server's worker process, the child ends as the interpreter does.
        children.append(child)
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    blocking()
    asyncio.run(on_loop())


def close() -> None:
    """Close, use it again, and close twice."""
    with app:
        blocking()
    blocking()
    app.close()
    app.close()

    async def main() -> None:
        async with app:
            await on_loop()
        await on_loop()
        await app.aclose()

    asyncio.run(main())


MODES: dict[str, Callable[[], None]] = {
    each.__name__: each for each in (blocking, threads, loops, tornado, fork, close)
}

if __name__ == "__main__":
    MODES[sys.argv[1]]()
