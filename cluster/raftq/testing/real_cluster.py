"""Real nodes for the length of a test session, which leave nothing behind however it ends.

A session that ends by itself or by Ctrl-C stops them. One that is killed cannot; so a process of
its own watches it, and does it then.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from raftq.cli.local_cluster import LocalCluster

NODES: Final = 3
_WATCH: Final = """
import os, shutil, signal, sys
from contextlib import suppress
told = sys.stdin.read()
if told != "ended":
    for process in sys.argv[2:]:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(int(process), signal.SIGKILL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)
"""
"""Waits for the end of its input, which is the session's end, and kills who is left."""
_WATCH_SECONDS: Final = 10.0


@contextmanager
def real_cluster() -> Generator[LocalCluster]:
    """Start three nodes on free ports, with their data in a folder that goes away.

    Raises:
        RuntimeError: They did not start; the text has a log.
    """
    with tempfile.TemporaryDirectory(prefix="raftq-testing-", ignore_cleanup_errors=True) as folder:
        cluster = LocalCluster(Path(folder), NODES)
        try:
            with _interrupts_held():
                for node in cluster.nodes:
                    node.start()
                watcher = _watch(cluster)
            with watcher:
                cluster.wait_ready()
                yield cluster
                cluster.stop()
                _ = watcher.communicate("ended", _WATCH_SECONDS)
        finally:
            # Whatever went wrong, nobody needs a clean stop, which may take seconds.
            cluster.kill_all()


def _watch(cluster: LocalCluster) -> "subprocess.Popen[str]":
    """Start the process that kills the nodes if this one dies before it could."""
    groups = [str(node.process.pid) for node in cluster.nodes if node.process is not None]
    return subprocess.Popen(
        [sys.executable, "-S", "-c", _WATCH, str(cluster.folder), *groups],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C and the end of a terminal reach the session, not this.
        cwd=os.sep,
    )


@contextmanager
def _interrupts_held() -> Generator[None]:
    """Put off Ctrl-C: a process whose start is cut short is nobody's, and is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        pending.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pending:
        raise KeyboardInterrupt
