"""The vote file: the term and the vote, durable before anyone can learn of them.

Owns one small file, replaced as a whole. Does not own elections. Invariants: the term never goes
back, and within a term a given vote never changes; either would let this node vote twice.
Source: Raft dissertation, section 3.8 (currentTerm and votedFor are persisted before answering).
"""

from pathlib import Path

import msgspec

from raftq.protocol.versions import DATA_FORMAT_VERSION
from raftq.storage.files import Files, read_file, replace_file
from raftq.storage.record import VOTE, check_format, corrupt, encode_record, read_record
from raftq.storage.sync_job import sync_failed


class _Vote(msgspec.Struct, array_like=True, frozen=True):
    voted_for: str | None


class VoteFile:
    """Term and vote of one node. Open one with `VoteFile.open`."""

    def __init__(self, files: Files, path: Path, term: int, voted_for: str | None) -> None:
        self._files = files
        self._path = path
        self.term = term
        self.voted_for = voted_for

    @classmethod
    def open(cls, files: Files, path: Path) -> "VoteFile":
        """Read the file; a missing one is term 0 without a vote.

        Raises:
            CorruptRecord: The file is damaged; a node that forgot its vote must not start.
            UnsupportedFormat: Another version of raftq wrote it.
        """
        if path.name not in files.names(path.parent):
            return cls(files, path, 0, None)
        term, voted_for = read_vote(path, read_file(files, path))
        # A crash between the rename and the sync of the folder may have left the name volatile.
        files.sync_folder(path.parent)
        return cls(files, path, term, voted_for)

    def store(self, term: int, voted_for: str | None) -> None:
        """Return once the term and the vote survive a power cut. Blocks.

        Raises:
            SyncFailed: They may or may not; the node must stop.
        """
        assert term >= self.term, f"term {term} is older than the stored {self.term}"
        assert term > self.term or self.voted_for in (None, voted_for), (
            f"the vote of term {term} was given to {self.voted_for}, not to {voted_for}"
        )
        body = msgspec.msgpack.encode(_Vote(voted_for))
        try:
            replace_file(
                self._files,
                self._path,
                encode_record(0, VOTE, DATA_FORMAT_VERSION, term, body=body),
            )
        except OSError as error:
            raise sync_failed(self._path, error) from error
        self.term = term
        self.voted_for = voted_for


def read_vote(path: Path, data: bytes) -> tuple[int, str | None]:
    """Return (term, voted_for) from the bytes of a vote file.

    Raises:
        CorruptRecord: The bytes are damaged.
        UnsupportedFormat: Another version of raftq wrote them.
    """
    record = read_record(data, 0, 0)
    if record is None or record.tag != VOTE or record.end != len(data):
        raise corrupt(path, 0, "the stored vote is unreadable")
    check_format(path, record.number)
    return record.term, msgspec.msgpack.decode(record.body, type=_Vote).voted_for
