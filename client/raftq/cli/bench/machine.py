"""What was measured on: the machine, its disk, and the versions of what ran."""

import os
import platform
import tempfile
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

_PACKAGES: Final = ("raftq", "tornado", "pysyncobj", "msgpack", "msgspec")
_SYNCS: Final = 100
_SYNC_BYTES: Final = b"x" * 4_096


def describe_machine(folder: Path) -> dict[str, object]:
    """Return facts that figures depend on.

    Args:
        folder: Where the nodes' data goes.
    """
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _first_value("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": os.cpu_count(),
        "memory": _first_value("/proc/meminfo", "MemTotal"),
        "file_system": _file_system(folder),
        "fdatasync_ms": round(sync_ms(folder), 3),
        "load_before": round(os.getloadavg()[0], 2),
        "began_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }


def sync_ms(folder: Path) -> float:
    """Return the median time in which 4 KiB more of a file are on the disk."""
    times: list[float] = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(_SYNC_BYTES)
            began_at = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began_at) * 1_000)
    return median(times)


def _first_value(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return _deepest((mount[1], mount[2]) for mount in mounts if _is_below(folder, mount[1]))


def _is_below(folder: Path, place: str) -> bool:
    return folder.resolve().is_relative_to(place.replace("\\040", " "))


def _deepest(mounts: Iterable[tuple[str, str]]) -> str:
    # Of two at the same place, the later one hides the earlier.
    return max(enumerate(mounts), key=lambda each: (len(each[1][0]), each[0]))[1][1]
