"""An App whose tasks behave in every way, for the tests of workers."""

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from raftq.worker import App, current

app = App()


@app.task
async def echo(value: int) -> int:
    """Return what is given."""
    return value


@app.task
def echo_in_thread(value: int) -> int:
    """Return what is given."""
    return value


@app.task(execution="process")
def echo_in_process(value: int) -> int:
    """Return what is given."""
    return value


def _fail(text: str) -> None:
    raise ValueError(text)


@app.task
async def fail(text: str) -> None:
    """Raise."""
    _fail(text)


@app.task
def fail_in_thread(text: str) -> None:
    """Raise."""
    _fail(text)


@app.task(execution="process")
def fail_in_process(text: str) -> None:
    """Raise."""
    _fail(text)


# ---------------------------------------------------------------- code that takes too long


@app.task
async def wait(mark: str = "") -> None:
    """Wait for ever, and leave a mark when cancelled."""
    try:
        await asyncio.Event().wait()
    finally:
        _mark(mark, "ended")


@app.task
async def swallow() -> None:
    """Ignore the first cancellation."""
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()


@app.task
async def block() -> None:
    """Block the loop with Python code."""
    while True:
        pass


@app.task
async def block_in_c(seconds: float) -> None:
    """Block the loop with a call that does not look up."""
    time.sleep(seconds)


@app.task
def spin_in_thread(mark: str = "") -> None:
    """Compute for ever, and leave a mark when interrupted."""
    try:
        while True:
            try:
                sum(range(100))
            except Exception:
                continue
    finally:
        _mark(mark, "ended")


@app.task
def sleep_in_thread(seconds: float, mark: str = "") -> None:
    """Wait in a call that does not look up."""
    _mark(mark, "began")
    time.sleep(seconds)


@app.task(execution="process")
def spin_in_process(mark: str = "") -> None:
    """Compute for ever, and leave a mark when interrupted."""
    _mark(mark, "began")
    try:
        while True:
            pass
    finally:
        _mark(mark, "ended")


@app.task(execution="process")
def sleep_in_process(seconds: float, mark: str = "") -> None:
    """Wait in a system call."""
    _mark(mark, "began")
    time.sleep(seconds)


@app.task(execution="process")
def ignore_in_process() -> None:
    """Ignore every request to end."""
    while True:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(60)
        except BaseException:
            continue


# ---------------------------------------------------------------- what runs can ask for


@app.task
async def extend_and_wait(first: float, then: float) -> str:
    """Ask for more time, and take some of it."""
    current().extend(first)
    await asyncio.sleep(then)
    return "done"


@app.task
def extend_in_thread(first: float, then: float) -> str:
    """Ask for more time, and take some of it."""
    current().extend(first)
    time.sleep(then)
    return "done"


@app.task(execution="process")
def extend_in_process(first: float, then: float) -> str:
    """Ask for more time, and take some of it."""
    current().extend(first)
    time.sleep(then)
    return "done"


@app.task(execution="process")
def facts_in_process() -> list[str]:
    """Return what the context says, and the process."""
    run = current()
    return [str(run.task_id), run.name, run.queue, str(run.attempt), str(run.token)]


@app.task
def facts_in_thread() -> list[str]:
    """Return what the context says."""
    run = current()
    return [str(run.task_id), run.name, run.queue, str(run.attempt), str(run.token)]


@app.task
async def facts() -> list[str]:
    """Return what the context says."""
    run = current()
    return [str(run.task_id), run.name, run.queue, str(run.attempt), str(run.token)]


# ---------------------------------------------------------------- processes that die


@app.task(execution="process")
def pid() -> int:
    """Return the child's process id."""
    return os.getpid()


@app.task(execution="process")
def grow(megabytes: int) -> int:
    """Take memory and keep it; return the child's process id."""
    _kept.append(bytes(b"x" * (megabytes << 20)))
    return os.getpid()


_kept: list[bytes] = []


@app.task(execution="process")
def exit_at_once(code: int) -> None:
    """End the process without a word."""
    os._exit(code)


@app.task(execution="process")
def kill_itself() -> None:
    """Be killed, as by a system that ran out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(execution="process")
def kill_itself_and_leave_a_child() -> None:
    """Be killed while something that was forked lives on and holds the same files."""
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(execution="process")
def leave_politely() -> None:
    """Call sys.exit, which is an exception like others."""
    sys.exit(3)


def _mark(path: str, word: str) -> None:
    if path:
        with Path(path).open("a") as file:
            file.write(f"{word}\n")
