"""One worker process, as its parent sees it."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from raftq.worker.supervision import link
from raftq.worker.supervision.settings import Settings

_log = logging.getLogger(__name__)
_READ_BYTES: Final = 4_096


class WorkerProcess:
    """A place for a worker process; the process in it may be replaced.

    Args:
        number: Which of the worker's processes it is, from 1.
        settings: What the process is told.
        on_loaded: Called when the process has imported the App.
    """

    def __init__(self, number: int, settings: Settings, on_loaded: Callable[[], None]) -> None:
        self.number: Final = number
        self._settings = settings
        self._on_loaded = on_loaded
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self.started_at = 0.0
        self.heard_at: float | None = None
        """When the process last showed life; None if it never did."""
        self.is_ready = False
        self.was_told_to_end = False

    @property
    def is_running(self) -> bool:
        """Whether there is a process that has not been seen to end."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start a process.

        Raises:
            OSError: The system can start none now.
        """
        ours, its = socket.socketpair()
        ours.setblocking(False)
        settings = msgspec.json.encode(self._settings).decode()
        module = "raftq.worker.supervision.process"
        # A session of its own: Ctrl-C reaches the parent only, which lets runs end, and what tasks
        # have started can be ended with the process.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, settings, str(its.fileno()), str(self.number)],
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            its.close()
        self._socket = ours
        self.started_at = time.monotonic()
        self.heard_at, self.is_ready, self.was_told_to_end = None, False, False
        asyncio.get_running_loop().add_reader(ours, self._on_readable)

    def tell(self, word: bytes) -> None:
        """Tell the process to end, in this way or that."""
        self.was_told_to_end = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.send(word)

    def kill(self) -> None:
        """End the process at once, with all that it has started."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def poll(self) -> int | None:
        """Return the exit code if the process has just ended: minus the signal if one killed it."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._sweep(self._process.pid)
        self._process = None
        self._close()
        return code

    def _on_readable(self) -> None:
        assert self._socket is not None
        try:
            words = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            words = b""
        if not words:
            self._close()
            return
        self.heard_at = time.monotonic()
        self.is_ready = self.is_ready or link.READY in words
        if link.LOADED in words:
            self._on_loaded()

    def _close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _sweep(self, group: int) -> None:
        """End what the process left behind: its child processes, and what tasks have started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
            _log.warning("left_behind", extra={"number": self.number, "group": group})
