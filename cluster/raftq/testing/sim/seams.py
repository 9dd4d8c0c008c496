"""What has no constructor argument: names of modules, replaced while a world runs.

PySyncObj reads the clock, opens snapshot files and looks for them through names of its modules;
the journal draws a salt from the operating system. Each is directed to the process whose code runs
at that moment. One world at a time.
"""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pysyncobj.serializer as serializer_module
import pysyncobj.syncobj as pysyncobj_module

from raftq.protocol import limits
from raftq.storage import segment as segment_module
from raftq.testing.sim.patching import Patch, patched
from raftq.testing.sim.world import World

if TYPE_CHECKING:
    from raftq.testing.sim.disk import ProcessFiles

OTHER_LIMITS = {
    "SNAPSHOT_PART_BYTES": 700,
    "ENTRIES_PER_MESSAGE_MAX": 4,
    "ENTRY_BYTES_TARGET": 4_096,
    "MESSAGE_BYTES_TARGET": 4_096,
    "ENTRIES_IN_FLIGHT_MAX": 12,
    "APPLY_BYTES_PER_TURN": 2_048,
    "SNAPSHOT_BYTES_PER_TURN": 7_000,
    "LOG_CACHE_BYTES": 2_048,
    "PAYLOAD_CACHE_BYTES": 2_048,
    "PAYLOAD_CHUNK_BYTES": 1_024,
}
"""Limits that are changed, so that a small run meets what is rare in a small run: snapshots of many
parts, a backlog of many messages, many entries under way, payloads and entries that only the disk
has."""


class _Seams:
    """Stands in for what PySyncObj and the journal use of the operating system."""

    def __init__(self, world: World, files_of: "dict[str, ProcessFiles]") -> None:
        self._world = world
        self._files_of = files_of
        self._salt = world.chance("salt")
        self.path = self
        """So that this can stand in for `os`, too."""

    def monotonic(self) -> float:
        """Return the clock of the process that runs; reading it takes time."""
        process = self._world.current
        assert process is not None, "PySyncObj runs outside a process"
        return process.read_clock()

    def random(self) -> float:
        """Stand in for `random.random`, whose only use is a timer that is switched off."""
        return 0.5

    def urandom(self, size: int) -> bytes:
        """Return bytes of chance."""
        return self._salt.randbytes(size)

    def isfile(self, path: str) -> bool:
        """Tell whether a node has a file."""
        return self._files(path).exists(path)

    def open(self, path: str, mode: str) -> object:
        """Open a file of a node."""
        return self._files(path).open(path, mode)

    def _files(self, path: str) -> "ProcessFiles":
        return self._files_of[Path(path).parts[1]]


class _Listener(logging.Handler):
    """Writes what the code logs into the trace."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record."""
        process = self._world.current
        facts = {
            name: value
            for name, value in vars(record).items()
            if name in ("error", "reason", "index", "peer", "token", "code")
        }
        where = process.name if process is not None else "-"
        error = record.exc_info[1] if record.exc_info else None
        text = f"{record.levelname} {record.getMessage()} {facts or ''} {error or ''}".rstrip()
        self._world.note(f"{where} log: {text}")
        if record.getMessage() in _BUGS and process is not None and process.on_error is not None:
            process.on_error(f"{record.getMessage()}: {error}")


_BUGS = {"native_connection_failed", "forwarded_call_failed", "call_failed", "commands_failed"}
"""What is logged when raftq meets an error that its authors did not think of."""


@contextmanager
def replaced(
    world: World, files_of: "dict[str, ProcessFiles]", other_limits: Mapping[str, int]
) -> Generator[None]:
    """Direct everything to a world for the length of a block.

    Args:
        world: The world.
        files_of: The files of each node; its data folder is `/node/…`.
        other_limits: Limits that are other in this run, besides `OTHER_LIMITS`.
    """
    seams = _Seams(world, files_of)
    patches: list[Patch] = [
        (pysyncobj_module, "monotonicTime", seams.monotonic),
        (pysyncobj_module, "random", seams),
        (pysyncobj_module, "os", seams),
        (serializer_module, "open", seams.open),
        (segment_module, "os", seams),
        *((limits, name, value) for name, value in {**OTHER_LIMITS, **other_limits}.items()),
    ]
    with patched(patches), _listening(world):
        yield


@contextmanager
def _listening(world: World) -> Generator[None]:
    """Write the log of raftq into the trace, and what PySyncObj logs nowhere."""
    logger, pysyncobj_logger = logging.getLogger("raftq"), logging.getLogger("pysyncobj")
    before = logger.propagate, logger.level, pysyncobj_logger.level
    listener = _Listener(world)
    logger.addHandler(listener)
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    pysyncobj_logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.removeHandler(listener)
        logger.propagate = before[0]
        logger.setLevel(before[1])
        pysyncobj_logger.setLevel(before[2])
