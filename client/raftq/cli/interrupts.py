"""Signals that end a command, in commands that have processes to stop."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def raise_keyboard_interrupts() -> None:
    """From now on, let each of the signals raise KeyboardInterrupt."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


@contextmanager
def interrupts_held() -> Generator[None]:
    """Put off the signals for the length of a block.

    A process whose start is cut short is nobody's, and would be left behind. Python hears signals
    on the main thread only, so on others there is nothing to put off.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {
        each: signal.signal(each, lambda number, _: came.append(number)) for each in SIGNALS
    }
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
        for number in came:
            signal.raise_signal(number)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
