"""One group commit: the part of the journal that runs beside the loop.

Owns the order in which files are made durable, created and removed. Does not own what is written:
`Journal.begin_sync` did that. Invariants: a segment is created only after the one before it is
durable to its end, with its own header and name durable before anyone writes to it; a segment is
removed only after every older one is durably gone.
"""

from pathlib import Path
from typing import Final

from raftq.protocol.errors import SyncFailed
from raftq.storage.files import Files, WritableFile


class SyncJob:
    """Makes what was written durable, then does the housekeeping behind it.

    It touches nothing that the loop's thread uses meanwhile.
    """

    __slots__ = ("_file", "_files", "_folder", "_forgotten", "_next", "failure", "is_done",
                 "next_file", "sequence", "wrote_bytes")  # fmt: skip

    def __init__(
        self,
        files: Files,
        folder: Path,
        file: WritableFile,
        *,
        sequence: int,
        wrote_bytes: int,
        next_segment: tuple[str, bytes] | None,
        forgotten: str | None,
    ) -> None:
        self._files = files
        self._folder = folder
        self._file = file
        self._next = next_segment
        self._forgotten = forgotten
        self.sequence: Final = sequence
        self.wrote_bytes: Final = wrote_bytes
        self.next_file: WritableFile | None = None
        self.failure: SyncFailed | None = None
        self.is_done = False

    def run(self) -> None:
        """Sync; then create the next segment and remove a forgotten one, if asked to. Blocks.

        Raises:
            SyncFailed: Never retry: the kernel may have dropped the pages.
        """
        try:
            self._file.sync()
            if self._next is not None:
                self.next_file = create_segment(self._files, self._folder, *self._next)
            if self._forgotten is not None:
                self._files.remove(self._folder / self._forgotten)
                # Before the next one goes: a crash must not keep an older one behind a hole.
                self._files.sync_folder(self._folder)
        except OSError as error:
            self.failure = sync_failed(self._folder, error)
            raise self.failure from error
        self.is_done = True


def create_segment(files: Files, folder: Path, name: str, header: bytes) -> WritableFile:
    """Create a segment whose name and header are durable, and return it open."""
    file = files.open_append(folder / name)
    file.write(header)
    file.sync()
    files.sync_folder(folder)
    return file


def sync_failed(path: Path, error: OSError) -> SyncFailed:
    """Return the error that stops a node whose disk did not take a write."""
    return SyncFailed(
        f"writing to {path} failed: {error.strerror or error}. The node stops, because what it "
        "wrote may be lost; check the disk (space, health), then start the node again",
        path=str(path),
        errno=error.errno,
    )
