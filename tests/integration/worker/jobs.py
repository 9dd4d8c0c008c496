"""An App for `raftq worker`; the tests copy it into a folder of their own."""

import asyncio
import os
import subprocess
import time
from pathlib import Path

from raftq.worker import App, current

app = App()
VERSION = "first"


def mark(folder: str, word: str) -> None:
    """Leave a word for the test."""
    with (Path(folder) / "marks").open("a") as file:
        file.write(f"{word} {os.getpid()}\n")


def is_open(folder: str) -> bool:
    """Return whether the test lets runs end."""
    return (Path(folder) / "gate").exists()


@app.task
async def hold(folder: str) -> str:
    """Run until the test opens the gate."""
    mark(folder, "began")
    while not is_open(folder):
        await asyncio.sleep(0.01)
    return VERSION


@app.task
def hold_in_thread(folder: str) -> str:
    """Run until the test opens the gate."""
    mark(folder, "began")
    while not is_open(folder):
        time.sleep(0.01)
    return VERSION


@app.task(execution="process")
def hold_in_process(folder: str) -> str:
    """Run until the test opens the gate."""
    mark(folder, "began")
    while not is_open(folder):
        time.sleep(0.01)
    return VERSION


@app.task
async def version() -> str:
    """Return a word that tells which code runs."""
    return VERSION


@app.task
def hang() -> None:
    """Wait where no interrupt reaches."""
    time.sleep(120)


@app.task
async def hang_on_the_loop(folder: str) -> None:
    """Wait where no interrupt reaches, and block the loop with it."""
    mark(folder, "began")
    time.sleep(120)


@app.task
def hang_in_thread(folder: str) -> None:
    """Wait where no interrupt reaches."""
    mark(folder, "began")
    time.sleep(120)


@app.task(execution="process")
def die_once(folder: str) -> int:
    """End the process at the first attempt."""
    mark(folder, "died")
    if current().attempt == 1:
        os._exit(1)
    return current().attempt


@app.task(execution="process")
def die_always(folder: str) -> None:
    """End the process at each attempt."""
    mark(folder, "died")
    os._exit(1)


@app.task(queue="narrow")
async def overlap(folder: str) -> None:
    """Note when a run begins and ends."""
    mark(folder, "in")
    await asyncio.sleep(0.02)
    mark(folder, "out")


@app.task(execution="process")
def leave_an_orphan(folder: str) -> None:
    """Start a program that outlives this process, and die with the worker."""
    left = subprocess.Popen(["sleep", "0.5"], start_new_session=True)
    mark(folder, f"left-{left.pid}")
    os._exit(1)
