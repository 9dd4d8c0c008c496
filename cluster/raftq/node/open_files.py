"""How many files a node may have open at a time: its clients, and each segment of its log."""

import resource
from contextlib import suppress


def allow_many_files() -> None:
    """Raise the limit of open files as far as the operating system lets this process.

    The usual 1,024 are meant for programs that call select(2). A node with a large backlog has a
    thousand segments, and one that cannot open a segment that it needs must stop.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # Of macOS: it says unlimited, and takes less.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
