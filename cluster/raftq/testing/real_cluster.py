"""Real nodes for the length of a test session, which leave nothing behind however it ends.

A session that ends by itself or by Ctrl-C stops them. One that is killed cannot; so a process of
its own watches it, and does it then.
"""

import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from raftq.cli.local_cluster import LocalCluster
from raftq.testing.watch import ENDED

NODES: Final = 3
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
            for node in cluster.nodes:
                node.start()
            with _watch(cluster) as watcher:
                cluster.wait_ready()
                yield cluster
                cluster.stop()
                _ = watcher.communicate(ENDED, _WATCH_SECONDS)
        finally:
            # Whatever went wrong, nobody needs a clean stop, which may take seconds.
            cluster.kill_all()


def _watch(cluster: LocalCluster) -> "subprocess.Popen[str]":
    """Start the process that kills the nodes if this one dies before it could."""
    nodes = [str(node.process.pid) for node in cluster.nodes if node.process is not None]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "raftq.testing.watch", str(cluster.folder), *nodes],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C and the end of a terminal reach the session, not this.
    )
