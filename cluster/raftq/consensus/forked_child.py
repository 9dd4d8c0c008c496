"""One job in a forked child process, which ends with its parent whatever ends that.

The child closes every inherited descriptor first: it must hold neither sockets nor the data
folder's lock. It dies with its parent: a writer that outlived a killed node would rename its file
over what the next process of the node writes.
"""

import ctypes
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Collection
from itertools import pairwise
from typing import Final

from raftq.protocol.errors import CorruptRecord

_SET_PARENT_DEATH_SIGNAL: Final = 1
"""PR_SET_PDEATHSIG of Linux' prctl(2)."""
_EXIT_CORRUPT: Final = 3


class ForkedChild:
    """Runs a job in a forked child process."""

    def __init__(self) -> None:
        self._pid = 0

    def start(self, job: Callable[[], None], keep: Collection[int] = ()) -> None:
        """Fork and run the job in the child.

        Args:
            job: What the child does before it ends.
            keep: The descriptors, besides the standard ones, that stay open in the child.
        """
        assert self._pid == 0, "one job at a time"
        parent = os.getpid()
        was_enabled = gc.isenabled()
        gc.disable()  # A collection in the child would touch, and copy, every page.
        try:
            self._pid = os.fork()
            if self._pid == 0:
                _run_and_exit(job, keep, parent)
        finally:
            if was_enabled:
                gc.enable()

    def poll(self) -> bool | None:
        """Return None while the child runs, else whether it did its job.

        Raises:
            CorruptRecord: It met damaged files; this node must stop.
        """
        if self._pid == 0:
            return False
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return None
        self._pid = 0
        exit_code = os.waitstatus_to_exitcode(status)
        if exit_code == _EXIT_CORRUPT:
            raise CorruptRecord(
                "a file of this node is damaged; which one, and where, is said by the process "
                f"{pid} in the lines before. Rebuild this node from its peers"
            )
        return exit_code == 0

    def kill(self) -> None:
        """End a running child for certain; `poll` reaps it."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)

    def stop(self) -> None:
        """Kill and reap a running child; its unfinished file is removed at the next start."""
        if self._pid:
            self.kill()
            os.waitpid(self._pid, 0)
            self._pid = 0


def _run_and_exit(job: Callable[[], None], keep: Collection[int], parent: int) -> None:
    """Be the child: hold nothing of the parent's, do the job, never return."""
    status = 1
    try:
        _die_with(parent)
        kept = sorted({each for each in keep if each > 2})
        for before, after in pairwise([2, *kept, os.sysconf("SC_OPEN_MAX")]):
            os.closerange(before + 1, after)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.nice(10)  # The node's own work goes first.
        job()
        status = 0
    except BaseException as error:
        status = _EXIT_CORRUPT if isinstance(error, CorruptRecord) else 1
        traceback.print_exc()
    finally:
        os._exit(status)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # It died before the kernel was asked.
        os._exit(1)
