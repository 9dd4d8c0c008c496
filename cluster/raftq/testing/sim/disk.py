"""The simulated disk of one machine, as its processes see it.

Fault model, written down before the fake. What survives a crash is the model of
`raftq.testing.memory_files`; on top of it:

- Each sync **takes time**: a random latency, which a slow disk multiplies. A sync on the loop
  blocks the process; one beside the loop (the journal's) does not.
- A **bad disk** fails every sync, or the next one, with EIO.
- A **full disk** takes no more bytes (ENOSPC); before that the node is told that its reserve is
  used.
- A process can be killed, or its machine lose power, **between any two steps** of any file
  operation; each byte of a write is a step.
- A dead process changes nothing any more.
- **Bit rot** changes a bit that was synced, while the node is down or while it runs.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Final, Protocol

from raftq.storage.files import ReadableFile, WritableFile, read_file
from raftq.testing.memory_files import Kept, MemoryFiles, PowerCut
from raftq.testing.sim.loop import Process, ProcessKilled
from raftq.testing.sim.world import World

PAGE_BYTES: Final = 512


def _honest(_path: Path) -> bool:
    return False


class SimDisk:
    """One machine's disk.

    Args:
        world: Its time and chance.
        machine: Whose it is.
        sync_seconds: The mean time of a sync.
    """

    lies_about: Callable[[Path], bool] = staticmethod(_honest)
    """Tells for which paths a sync does nothing; replaced by mutations."""

    def __init__(self, world: World, machine: str, sync_seconds: float = 0.001) -> None:
        self.world = world
        self.random = world.chance(f"disk {machine}")
        self.sync_seconds = sync_seconds
        self.slowness = 1.0
        self.syncs_to_fail = 0
        """How many of the next syncs fail."""
        self.is_full = False
        """Whether the reserve is used up."""
        self.on_power_cut: Callable[[], None] = lambda: None
        """Called when the steps given to `cut_in` are used up."""
        self.has_rotted = False
        """Whether a bit of it changed: only then may its node find damage."""
        self.files = MemoryFiles(PAGE_BYTES)
        self._join()

    def rot(self, path: Path, bit: int) -> None:
        """Change a bit that was synced."""
        self.has_rotted = True
        self.files.flip_bit(path, bit)

    def _join(self) -> None:
        self.files.before_sync = self._before_sync
        self.files.is_lying = self.lies_about

    def _before_sync(self, path: Path) -> None:
        if self.syncs_to_fail:
            self.syncs_to_fail -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def sync_latency(self) -> float:
        """Return how long the next sync takes."""
        return self.slowness * self.sync_seconds * (0.3 + self.random.expovariate(1.4))

    def cut_in(self, steps: int) -> None:
        """Call `on_power_cut` instead of doing the step after so many more."""
        self.files.steps_max = self.files.steps + steps

    def uncut(self) -> None:
        """Forget a cut that has not come."""
        self.files.steps_max = None

    def lose_power(self, keep: Kept) -> None:
        """Keep of what was not synced only what the model allows."""
        self.files = self.files.crash(keep)
        self._join()

    def wipe(self) -> None:
        """Put an empty disk in its place."""
        self.has_rotted = False
        self.files = MemoryFiles(PAGE_BYTES)
        self._join()


class Owner(Protocol):
    """The process that does file operations."""

    @property
    def is_alive(self) -> bool: ...
    def spend(self, seconds: float) -> None: ...


class ProcessFiles:
    """A disk as one process sees it; implements `storage.files.Files`, and PySyncObj's `open`.

    Args:
        disk: The machine's disk.
        process: The process.
    """

    def __init__(self, disk: SimDisk, process: Owner) -> None:
        self._disk = disk
        self._process = process
        self._beside = False
        """Whether the code that runs now is beside the loop, so that it blocks nobody."""

    def beside(self, job: Callable[[], None]) -> None:
        """Run a job as if on another thread: its syncs block nobody."""
        self._beside = True
        try:
            job()
        finally:
            self._beside = False

    def do(self, step: Callable[[], object], *, syncs: bool = False) -> None:
        """Do one file operation of a living process."""
        if not self._process.is_alive:
            raise ProcessKilled
        if syncs and not self._beside:
            self._process.spend(self._disk.sync_latency())
        try:
            step()
        except PowerCut:
            self._disk.on_power_cut()
            raise ProcessKilled from None

    # ------------------------------------------------------------ Files

    def open_append(self, path: Path) -> WritableFile:
        """Open a file."""
        opened: list[WritableFile] = []
        self.do(lambda: opened.append(self._disk.files.open_append(path)))
        return _File(self, opened[0])

    def open_read(self, path: Path) -> ReadableFile:
        """Open a file for reading."""
        return self._disk.files.open_read(path)

    def names(self, folder: Path) -> list[str]:
        """List a folder."""
        return self._disk.files.names(folder)

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file."""
        self.do(lambda: self._disk.files.rename(old, new))

    def remove(self, path: Path) -> None:
        """Remove a file."""
        self.do(lambda: self._disk.files.remove(path))

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file."""
        self.do(lambda: self._disk.files.truncate(path, size), syncs=True)

    def sync_folder(self, folder: Path) -> None:
        """Sync a folder."""
        self.do(lambda: self._disk.files.sync_folder(folder), syncs=True)

    # ------------------------------------------------------------ what PySyncObj calls

    def exists(self, path: str) -> bool:
        """Stand in for `os.path.isfile`."""
        return Path(path).name in self.names(Path(path).parent)

    def open(self, path: str, mode: str) -> "BytesIO | _Received":
        """Stand in for `open`, for the snapshots that PySyncObj sends and receives."""
        if mode == "rb":
            return BytesIO(read_file(self, Path(path)))
        assert mode == "wb"
        if self.exists(path):
            self.remove(Path(path))
        return _Received(self.open_append(Path(path)))


class _File:
    def __init__(self, files: ProcessFiles, file: WritableFile) -> None:
        self._files = files
        self._file = file

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._files.do(lambda: self._file.write(data))

    def sync(self) -> None:
        self._files.do(self._file.sync, syncs=True)

    def close(self) -> None:
        self._file.close()


class _Received:
    """A file object that PySyncObj writes a received snapshot to."""

    def __init__(self, file: WritableFile) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        self._file.write(data)
        return len(data)

    def close(self) -> None:
        self._file.close()


class SimOffload:
    """Runs the journal's syncs beside a simulated process; implements `Offload`."""

    def __init__(self, disk: SimDisk, process: Process, files: ProcessFiles) -> None:
        self._disk = disk
        self._process = process
        self._files = files

    def __call__(self, job: Callable[[], None]) -> "asyncio.Future[None]":
        """Start a job; its future is done, on the loop, once the disk is."""
        future: asyncio.Future[None] = self._process.create_future()
        self._disk.world.after(self._disk.sync_latency(), lambda: self._run(job, future))
        return future

    def _run(self, job: Callable[[], None], future: "asyncio.Future[None]") -> None:
        process = self._process
        if not process.is_alive:
            return
        try:
            self._files.beside(job)
        except ProcessKilled:
            return
        except Exception as error:
            process.call_soon(future.set_exception, error)
        else:
            process.call_soon(future.set_result, None)
