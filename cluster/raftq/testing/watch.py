"""A process that outlives a test session and takes away the nodes that it left behind.

`python -m raftq.testing.watch FOLDER PID…` waits for the end of its input. If the session did not
say before that it ended well, it was killed: then the nodes with data in the folder are, too.
"""

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from raftq.cli.local_cluster import NODE_PROGRAM

ENDED: Final = "ended"
"""What a session says that has stopped its nodes itself."""
_PROCESSES: Final = Path("/proc")


def main(arguments: Sequence[str]) -> None:
    """Watch over a session.

    Args:
        arguments: The folder of the nodes' data, and the nodes that were started first.
    """
    folder, *first = arguments
    if sys.stdin.read() == ENDED:
        return
    for process in _nodes(folder) if _PROCESSES.is_dir() else map(int, first):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def _nodes(folder: str) -> list[int]:
    """Return the processes that are nodes with data in a folder: also those started again since.

    Looked up by their command lines, because ids are used again.
    """
    found: list[int] = []
    for file in _PROCESSES.glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = file.read_bytes().decode(errors="replace").split("\0")
            if NODE_PROGRAM[-1] in words and any(word.startswith(f"{folder}/") for word in words):
                found.append(int(file.parent.name))
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
