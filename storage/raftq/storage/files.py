"""The disk seam: the few file operations that everything else here is built from.

Owns the calls into the operating system. Does not own any format. Nothing is durable before
`sync` (for a file's bytes) and `sync_folder` (for names) returned; `raftq.testing.memory_files`
is the other implementation and loses exactly what was not synced.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Final, Protocol

from raftq.protocol.limits import MIB

_FILE_MODE: Final = 0o600
_READ_BYTES: Final = 64 * MIB
"""Asked for at once: most files are read in one piece, and not copied."""
_SYNC_BYTES: Final = 8 * MIB
"""Written before they are synced: the journal's sync waits for what the disk has been given, 140 to
170 ms behind a snapshot of 250 MB that was synced at its end, and 25 to 30 ms behind this much."""


class WritableFile(Protocol):
    """A file open for appending."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of the bytes; after an OSError any prefix of them may be in the file."""
        ...

    def sync(self) -> None:
        """Return once every byte written so far survives a power cut (fdatasync, blocking)."""
        ...

    def close(self) -> None:
        """Release the file; what was not synced is still not durable."""
        ...


class ReadableFile(Protocol):
    """A file open for reading anywhere; its bytes stay readable when its name goes."""

    @property
    def descriptor(self) -> int:
        """The operating system's number, for a child that must inherit it; -1 if it has none."""
        ...

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on; fewer only at the end of the file."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class Files(Protocol):
    """The files of a node. Methods raise OSError; sync methods may block for long."""

    def open_append(self, path: Path) -> WritableFile:
        """Open a file for appending, creating an empty one if it is missing."""
        ...

    def open_read(self, path: Path) -> ReadableFile:
        """Open a file that exists for reading."""
        ...

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, replacing what had it; atomic, durable after sync_folder."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file; durable after sync_folder."""
        ...

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file to `size` bytes and make it, with that size, durable."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Return once the names in a folder survive a power cut."""
        ...


class _RealFile:
    """A file descriptor opened with O_APPEND."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes | bytearray | memoryview) -> None:
        written = os.write(self._descriptor, data)
        if written < len(data):  # A nearly full disk, or over 2 GiB at once.
            rest = memoryview(data)
            while written < len(data):
                written += os.write(self._descriptor, rest[written:])

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class _RealReadableFile:
    """A file descriptor opened for reading."""

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def read_at(self, offset: int, size: int) -> bytes:
        data = os.pread(self.descriptor, size, offset)
        while len(data) < size and (
            more := os.pread(self.descriptor, size - len(data), offset + len(data))
        ):
            data += more  # Linux gives at most 2 GiB at once.
        return data

    def close(self) -> None:
        if os.fstat(self.descriptor).st_nlink or not _close_beside(self.descriptor):
            os.close(self.descriptor)


def _close_beside(descriptor: int) -> bool:
    """Close a file that has no name on a thread of its own; False if there is none to be had.

    Its bytes are freed by that, which takes 0.3 ms for each MB: a replaced snapshot of 300 MB would
    stop the event loop for 100 ms.
    """
    try:
        Thread(target=os.close, args=(descriptor,), name="raftq-close", daemon=True).start()
    except RuntimeError:
        return False
    return True


class RealFiles:
    """`Files` on the operating system; safe to use from several threads."""

    def open_append(self, path: Path) -> WritableFile:
        """Open a file for appending; only its owner may read it."""
        return _RealFile(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _FILE_MODE))

    def open_read(self, path: Path) -> ReadableFile:
        """Open a file for reading."""
        return _RealReadableFile(os.open(path, os.O_RDONLY))

    def names(self, folder: Path) -> list[str]:
        """List a folder."""
        return sorted(os.listdir(folder))

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file."""
        os.replace(old, new)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        os.unlink(path)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file and sync it, bytes and size."""
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_folder(self, folder: Path) -> None:
        """Sync a folder's names."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_file(files: Files, path: Path) -> bytes:
    """Return all bytes of a file."""
    file = files.open_read(path)
    try:
        parts: list[bytes] = []
        offset = 0
        while part := file.read_at(offset, _READ_BYTES):
            parts.append(part)
            offset += len(part)
        return b"".join(parts)
    finally:
        file.close()


def temporary_path(path: Path) -> Path:
    """Return where the next content of a file is written before it takes the file's name."""
    return path.with_name(path.name + ".new")


def sync_file(files: Files, path: Path) -> None:
    """Make a file's bytes durable, whoever wrote them."""
    file = files.open_append(path)
    try:
        file.sync()
    finally:
        file.close()


def write_temporary(files: Files, path: Path, parts: Iterable[bytes]) -> Path:
    """Write the parts to the file's temporary path, durable but for its name; return the path.

    Raises:
        OSError: The disk did not take it; it has none of it any more.
    """
    temporary = temporary_path(path)
    if temporary.name in files.names(path.parent):
        files.remove(temporary)  # Of an earlier attempt; appending to it would mix the two.
    file = files.open_append(temporary)
    unsynced_bytes = 0
    try:
        for part in parts:
            if unsynced_bytes and unsynced_bytes + len(part) > _SYNC_BYTES:
                file.sync()
                unsynced_bytes = 0
            file.write(part)
            unsynced_bytes += len(part)
        file.sync()
    except OSError:
        with suppress(OSError):
            files.remove(temporary)  # It may hold all the room that a full disk had left.
        raise
    finally:
        file.close()
    return temporary


def replace_file(files: Files, path: Path, content: bytes) -> None:
    """Replace a small file so that any crash leaves the old content or the new one, whole."""
    temporary = write_temporary(files, path, [content])
    files.rename(temporary, path)
    files.sync_folder(path.parent)
