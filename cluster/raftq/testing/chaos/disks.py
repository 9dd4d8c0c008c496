"""The nodes' disks: a small file system each, which can lose power and fill up.

A power cut is the file system's own shutdown call without a flush of its log: nothing that is in
the page cache reaches the image any more, and what was synced is there when it is mounted again.
"""

import errno
import fcntl
import os
import struct
import time
from pathlib import Path
from typing import Final

from raftq.protocol.limits import MIB
from raftq.testing.chaos.isolation import run

_SHUTDOWN: Final = 0x8004587D
_NO_LOG_FLUSH: Final = 2
_DISK_BYTES: Final = 768 * MIB
"""Sparse, and more than twice the reserve below which a node refuses enqueues."""
_BUSY_SECONDS: Final = 10.0
_FORMAT: Final = ("-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard")


class LoopDisk:
    """An ext4 file system in a file, mounted at a folder.

    Args:
        image: The file; made.
        folder: Where it is mounted; made.
    """

    def __init__(self, image: Path, folder: Path) -> None:
        self._image = image
        self.folder = folder
        self._ballast = folder / "ballast"
        folder.mkdir(parents=True)
        with image.open("wb") as file:
            file.truncate(_DISK_BYTES)
        run("mkfs.ext4", *_FORMAT, str(image))
        self.mount()

    def mount(self) -> None:
        """Mount it; after a power cut the file system repairs itself first."""
        run("mount", "-o", "loop", str(self._image), str(self.folder))

    def cut_power(self) -> None:
        """Let no write reach the disk any more. Whoever has files open should be stopped before,
        and killed after."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Unmount it, once nobody has files open.

        Raises:
            OSError: Somebody still has.
        """
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                run("umount", str(self.folder))
            except RuntimeError as error:
                if time.monotonic() > deadline:
                    raise OSError(errno.EBUSY, str(error)) from None
                time.sleep(0.02)
            else:
                return

    def fill(self, left_bytes: int) -> None:
        """Take all space but so many bytes; with 0, to the last block."""
        self.free()
        space = os.statvfs(self.folder)
        wanted = space.f_bavail * space.f_frsize - left_bytes
        descriptor = os.open(self._ballast, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            # A little less: the file system needs blocks of its own for so large a file.
            os.posix_fallocate(descriptor, 0, wanted if left_bytes else wanted - MIB)
            while left_bytes == 0:
                os.write(descriptor, bytes(space.f_frsize))
                os.fdatasync(descriptor)  # Space is only certainly taken when it is on the disk.
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)
