"""An App whose tasks use the whole task model; its worker runs beside the tests."""

import asyncio
import os
import signal
import time
from pathlib import Path

from raftq.worker import App, DoNotRetry, RetryLater, current

app = App(os.environ.get("RAFTQ_ADDRESSES"), backoff="100ms")


def mark(word: str) -> None:
    """Note something where the tests look."""
    with Path("marks").open("a") as file:
        file.write(f"{word}\n")


@app.task(queue="m")
def number(value: int) -> int:
    """Return it."""
    return value


@app.task(queue="m")
async def add(result: int, more: int) -> int:
    """Add to the result of the step before."""
    return result + more


@app.task(queue="m")
def total(results: list[int]) -> int:
    """Sum the results of a group."""
    return sum(results)


@app.task(queue="m", execution="process")
def total_elsewhere(results: list[int]) -> int:
    """Sum the results of a group in a process of its own, and go on from there."""
    current().progress({"members": len(results)})
    current().follow_up(note.s(f"summed {sum(results)}"))
    return sum(results)


@app.task(queue="m")
async def look_back() -> list[int]:
    """Return the results of the parents."""
    return [2 * each for each in await current().aparent_results()]


@app.task(queue="m")
def note(word: str) -> None:
    """Note that it ran."""
    mark(word)


@app.task(queue="m")
async def hold(word: str) -> None:
    """Hold until somebody cancels it."""
    mark(f"{word} began")
    try:
        await asyncio.Event().wait()
    finally:
        mark(f"{word} cancelled" if current().is_cancelled else f"{word} ended")


@app.task(queue="m")
def hold_thread(word: str) -> None:
    """The same in a thread."""
    mark(f"{word} began")
    try:
        while True:
            time.sleep(0.02)
    finally:
        mark(f"{word} cancelled" if current().is_cancelled else f"{word} ended")


@app.task(queue="m", execution="process")
def hold_process(word: str) -> None:
    """The same in a process."""
    mark(f"{word} began")
    time.sleep(600)


@app.task(queue="m", execution="process", crashes_max=2)
def die() -> None:
    """Take the process along."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(queue="m")
def give_up() -> None:
    """Fail in a way that no retry mends."""
    raise DoNotRetry("no such user")


@app.task(queue="m")
def later() -> int:
    """Succeed at the second attempt, half a second later."""
    if current().attempt == 1:
        raise RetryLater("busy", "500ms")
    return current().attempt


@app.task(queue="m")
def greet(name: str) -> str:
    """Report how far it is, and have another task follow."""
    current().progress("half")
    time.sleep(1.0)
    follower = current().follow_up(note.s(f"hello {name}"))
    return str(follower.id)


@app.task(queue="m", confirm_within="500ms", check_queue="m.check")
def pay(order: str) -> str:
    """Run if the order was committed."""
    return f"paid {order}"


@pay.check
def was_committed(order: str) -> bool:
    """Look where the application keeps its orders."""
    mark(f"checked {order}")
    return order.startswith("committed")


@app.schedule(every="1s", name="ticking", args=["tick"])
@app.task(queue="m", name="scheduled_note")
def scheduled(word: str) -> None:
    """Note a tick."""
    mark(word)
