"""Ctrl-C as a question that is asked between two runs, so that what was found is still told."""

import multiprocessing
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from types import FrameType

EXIT_INTERRUPTED = 130

_wanted: Event = multiprocessing.Event()


def is_stop_wanted() -> bool:
    """Tell whether somebody pressed Ctrl-C, in this process or the one that started it."""
    return _wanted.is_set()


def stop_event() -> Event:
    """Return what `in_worker` needs."""
    return _wanted


def in_worker(event: Event) -> None:
    """Let a worker process hear of Ctrl-C from its starter alone, and finish its run."""
    global _wanted  # one for each process, given when it starts
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _wanted = event


@contextmanager
def asked_between_runs() -> Generator[None]:
    """Let the first Ctrl-C only be noted; the second one interrupts as usual."""

    def note(_number: int, _frame: FrameType | None) -> None:
        print("raftq sim: stopping after the runs under way", file=sys.stderr)
        _wanted.set()
        signal.signal(signal.SIGINT, before)

    _wanted.clear()
    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
