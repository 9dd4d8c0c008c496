"""A disk in memory that forgets exactly what was not synced.

Fault model, written down before the fake:

- A **file** has what its process sees, and what is durable. `sync` makes the first the second. A
  crash keeps of the bytes between them: nothing, everything, or an arbitrary part: some prefix,
  and of that any pages, the others being zeros (pages reach a disk in any order).
- A **name** (made by creating, renaming or removing a file) is durable after `sync_folder`; syncing
  the file is not enough. A crash keeps any of the changes since, each whole or not at all.
- `truncate` is cut, then sync; a crash in between leaves the file cut or not.
- A **failed sync** has lost its pages: they read well until the crash and are zeros after it, even
  if a later sync succeeds (what Linux does).
- A **lying sync** succeeds without making anything durable.
- A **full disk** takes the part of a write that fits, then raises ENOSPC.
- A **power cut** may come before any step; each byte of a write, each sync, each change of a name
  is one. A **killed process** loses nothing: open its files again on the same disk.
- Synced bytes only change by `flip_bit`.

Owns no randomness: an arbitrary part is chosen by the `random.Random` that the caller passes.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from random import Random
from typing import TypeAlias


class Keep(Enum):
    """What a crash keeps of everything that was not synced, if not an arbitrary part."""

    NOTHING = "nothing"
    EVERYTHING = "everything"


class PowerCut(Exception):
    """The power went here; `MemoryFiles.crash` returns the disk that the next start finds."""


@dataclass(slots=True, eq=False)
class _Inode:
    content: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class _NameChange:
    removed: Path | None
    added: Path | None
    inode: _Inode

    def apply(self, names: dict[Path, _Inode]) -> None:
        if self.removed is not None:
            names.pop(self.removed, None)
        if self.added is not None:
            names[self.added] = self.inode


class MemoryReadableFile:
    """A file of a `MemoryFiles`, open for reading."""

    descriptor = -1

    def __init__(self, inode: _Inode) -> None:
        self._inode = inode

    def read_at(self, offset: int, size: int) -> bytes:
        """Return what the process sees, also when the file has no name any more."""
        return bytes(self._inode.content[offset : offset + size])

    def close(self) -> None:
        """Do nothing."""


class MemoryFile:
    """An open file of a `MemoryFiles`."""

    def __init__(self, disk: "MemoryFiles", path: Path, inode: _Inode) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append the bytes, or the part that fits before the power cut or on the disk."""
        room = len(data)
        if self._disk.capacity_bytes is not None:
            room = min(room, self._disk.capacity_bytes - self._disk.used_bytes())
        steps = self._disk.take_steps(room)
        self._inode.content += data[:steps]
        if steps < room:
            raise PowerCut
        if room < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None:
        """Make the content durable, unless the disk fails or lies."""
        self._disk.step()
        durable, content = self._inode.durable, self._inode.content
        try:
            self._disk.before_sync(self._path)
        except OSError:
            durable += bytes(len(content) - len(durable))
            raise
        if not self._disk.is_lying(self._path):
            durable += content[len(durable) :]

    def close(self) -> None:
        """Do nothing: closing makes nothing durable."""


Kept: TypeAlias = Keep | Random
"""What a crash keeps; a Random chooses an arbitrary part."""


def _no_fault(_: Path) -> None:
    """Let every sync succeed."""


def _honest(_: Path) -> bool:
    """Let every sync do what it says."""
    return False


class MemoryFiles:
    """`Files` in memory; folders exist when something is in them.

    Args:
        page_bytes: The unit in which unsynced bytes persist out of order.
    """

    def __init__(self, page_bytes: int = 16) -> None:
        self.page_bytes = page_bytes
        self.steps = 0
        """Steps so far: bytes written, syncs and changes of names."""
        self.steps_max: int | None = None
        """Step before which the power is cut; None for never."""
        self.capacity_bytes: int | None = None
        """Size of the disk; None for endless."""
        self.before_sync: Callable[[Path], None] = _no_fault
        """Called by each sync with its file or folder: may wait (slow disk) or raise OSError."""
        self.is_lying: Callable[[Path], bool] = _honest
        """Asked by each sync whether to do nothing."""
        self._names: dict[Path, _Inode] = {}
        self._durable_names: dict[Path, _Inode] = {}
        self._changes: dict[Path, list[_NameChange]] = {}

    # ------------------------------------------------------------ Files

    def open_append(self, path: Path) -> MemoryFile:
        """Open a file, creating it if it is missing."""
        if path not in self._names:
            self._change(path.parent, None, path, _Inode())
        return MemoryFile(self, path, self._names[path])

    def open_read(self, path: Path) -> MemoryReadableFile:
        """Open a file for reading."""
        return MemoryReadableFile(self._inode(path))

    def read(self, path: Path) -> bytes:
        """Return what the process sees of a file, for tests."""
        return bytes(self._inode(path).content)

    def names(self, folder: Path) -> list[str]:
        """Return the names that the process sees."""
        return sorted(path.name for path in list(self._names) if path.parent == folder)

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file within its folder."""
        assert old.parent == new.parent, "only renames within a folder are modelled"
        self._change(old.parent, old, new, self._inode(old))

    def remove(self, path: Path) -> None:
        """Remove a name."""
        self._change(path.parent, path, None, self._inode(path))

    def truncate(self, path: Path, size: int) -> None:
        """Cut the file, then sync it."""
        inode = self._inode(path)
        self.step()
        del inode.content[size:]
        self.step()
        self.before_sync(path)
        if not self.is_lying(path):
            inode.durable = bytearray(inode.content)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""
        self.step()
        self.before_sync(folder)
        if not self.is_lying(folder):
            for change in self._changes.pop(folder, []):
                change.apply(self._durable_names)

    # ------------------------------------------------------------ faults

    def crash(self, keep: Kept) -> "MemoryFiles":
        """Return the disk as the next start finds it, everything on it durable, without faults.

        This disk stays as it is: one run can be tried with several outcomes.
        """
        names = dict(self._durable_names)
        for changes in self._changes.values():
            for change in changes:
                if keep is Keep.EVERYTHING or (isinstance(keep, Random) and keep.random() < 0.5):
                    change.apply(names)
        after = MemoryFiles(self.page_bytes)
        for path, inode in names.items():
            after.put(path, self._surviving_bytes(inode, keep))
        return after

    def _surviving_bytes(self, inode: _Inode, keep: Kept) -> bytes:
        content, durable = bytes(inode.content), bytes(inode.durable)
        if keep is Keep.NOTHING:
            return durable
        if len(content) < len(durable):  # Cut, perhaps not yet durably.
            return content if keep is Keep.EVERYTHING else keep.choice([content, durable])
        if keep is Keep.EVERYTHING:
            return durable + content[len(durable) :]
        start, end = len(durable), keep.randint(len(durable), len(content))
        survived = bytearray(durable + content[start:end])
        if keep.random() < 0.5:
            for page in range(start - start % self.page_bytes, end, self.page_bytes):
                first, last = max(page, start), min(page + self.page_bytes, end)
                if keep.random() < 0.5:
                    survived[first:last] = bytes(last - first)
        return bytes(survived)

    def flip_bit(self, path: Path, bit: int) -> None:
        """Damage one bit of a file, durably."""
        inode = self._inode(path)
        inode.content[bit // 8] ^= 1 << bit % 8
        inode.durable = inode.content[: len(inode.durable)]

    def put(self, path: Path, content: bytes) -> None:
        """Place a durable file on the disk."""
        inode = _Inode(bytearray(content), bytearray(content))
        self._names[path] = self._durable_names[path] = inode

    # ------------------------------------------------------------ counting

    def used_bytes(self) -> int:
        """Return the bytes in all files."""
        return sum(len(inode.content) for inode in self._names.values())

    def step(self) -> None:
        """Pass one step, or cut the power before it."""
        if self.take_steps(1) == 0:
            raise PowerCut

    def take_steps(self, wanted: int) -> int:
        """Pass as many steps as are left before the power cut; return how many."""
        taken = wanted if self.steps_max is None else min(wanted, self.steps_max - self.steps)
        self.steps += taken
        return taken

    def _inode(self, path: Path) -> _Inode:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._names[path]

    def _change(
        self, folder: Path, removed: Path | None, added: Path | None, inode: _Inode
    ) -> None:
        self.step()
        change = _NameChange(removed, added, inode)
        change.apply(self._names)
        self._changes.setdefault(folder, []).append(change)
