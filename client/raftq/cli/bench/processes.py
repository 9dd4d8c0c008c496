"""What a process and its folder use, as Linux tells it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

MB: Final = 1_000_000
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
_BLOCK_BYTES: Final = 512
"""The unit of `st_blocks`, whatever the file system's own."""


def is_supported() -> bool:
    """Whether this system has what the functions here read."""
    return Path("/proc/self/stat").exists()


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process and of its children that ended and were waited for."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(int(each) for each in fields[11:15]) / _CLOCK_TICKS


def memory_bytes(process: int) -> tuple[int, int]:
    """Return the resident memory of a process: now, and at most since its start."""
    lines = dict(
        line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines()
    )
    now, most = (int(lines[name].split()[0]) * 1_024 for name in ("VmRSS", "VmHWM"))
    return now, most


def has_children(process: int) -> bool:
    """Whether a process has started another one that has not ended, like a snapshot's writer."""
    children = Path(f"/proc/{process}/task/{process}/children")
    return children.exists() and bool(children.read_text().strip())


def disk_bytes(folder: Path) -> int:
    """Return what the files below a folder take up on the disk."""
    return sum(status.st_blocks for status in _statuses(folder)) * _BLOCK_BYTES


def _statuses(folder: Path) -> Iterator[os.stat_result]:
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # It was replaced between the two looks at it.
            if path.is_file():
                yield path.stat()
