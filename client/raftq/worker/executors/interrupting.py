"""Raise an exception in another thread: the only way to end Python code that does not look up.

It works between two bytecodes. Code that waits in C, like `time.sleep`, meets it when it returns.
"""

import ctypes
import sys
import traceback
from typing import Final

_set_async_exception: Final = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_exception.argtypes = [ctypes.c_ulong, ctypes.py_object]
_set_async_exception.restype = ctypes.c_int


def raise_in_thread(thread_id: int, kind: type[BaseException]) -> None:
    """Have a thread raise an exception as soon as it executes Python code."""
    _set_async_exception(thread_id, kind)


def clear_in_thread(thread_id: int) -> None:
    """Take back an exception that the thread has not raised yet."""
    # The null object means: none. `None` would be an exception of that type.
    _set_async_exception(thread_id, ctypes.py_object())


def where_is(thread_id: int) -> str:
    """Return what a thread executes now, as a traceback."""
    frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage] - documented in `sys`
    frame = frames.get(thread_id)
    if frame is None:
        return ""
    return "Traceback (most recent call last):\n" + "".join(traceback.format_stack(frame))
