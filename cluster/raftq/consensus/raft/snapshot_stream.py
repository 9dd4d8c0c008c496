"""Snapshots on the wire as verified streams.

PySyncObj's snapshot chunks carry neither an identity nor an offset: a chunk lost at a reconnect,
or two interleaved streams, would be pieced together and acknowledged. Here each stream has an
identity, each part its offset, and the file's last index and term; a part that does not continue
its stream ends it, and the leader starts again.
"""

from dataclasses import dataclass

from raftq.consensus.peers.messages import SnapshotPart


@dataclass(slots=True)
class _Outgoing:
    number: int
    offset: int
    """Bytes sent so far; -1 if this connection did not see the start of the file."""
    snapshot_index: int
    snapshot_term: int


class SnapshotSender:
    """Numbers the parts of each stream that this process sends.

    Args:
        boot_id: Unique for this process, so that a restarted node never continues a stream.
    """

    def __init__(self, boot_id: str) -> None:
        self._boot_id = boot_id
        self._number = 0
        self._streams: dict[str, _Outgoing] = {}

    def part(
        self, peer: str, term: int, chunk: tuple[bytes, bool, bool], snapshot: tuple[int, int]
    ) -> SnapshotPart:
        """Wrap one chunk `(data, is_first, is_last)` of the snapshot `(index, term)`."""
        data, is_first, is_last = chunk
        if is_first or peer not in self._streams:
            self._number += 1
            start = 0 if is_first else -1
            self._streams[peer] = _Outgoing(self._number, start, *snapshot)
        stream = self._streams[peer]
        part = SnapshotPart(
            term,
            (self._boot_id, stream.number),
            max(stream.offset, 0),
            data,
            is_last,
            stream.snapshot_index,
            stream.snapshot_term,
        )
        if stream.offset < 0:
            # The start went to an earlier connection: no part may fit, so that the peer drops it.
            part = SnapshotPart(part.term, part.stream, 1, b"", False, *snapshot)
        else:
            stream.offset += len(data)
        if is_last:
            del self._streams[peer]
        return part

    @property
    def is_sending(self) -> bool:
        """Whether a stream has begun and not ended."""
        return bool(self._streams)

    def forget(self, peer: str) -> None:
        """End the stream to a peer whose connection is gone."""
        self._streams.pop(peer, None)


class SnapshotReceiver:
    """Accepts the parts of one stream per peer, in order and without holes."""

    def __init__(self) -> None:
        self._streams: dict[str, tuple[tuple[str, int], int]] = {}

    def begins(self, part: SnapshotPart) -> bool:
        """Tell whether this part is the start of a stream."""
        return part.offset == 0 and (bool(part.data) or part.is_last)

    def start(self, peer: str, part: SnapshotPart) -> None:
        """Accept a stream from its first part on."""
        self._streams[peer] = (part.stream, 0)

    def accept(self, peer: str, part: SnapshotPart) -> bool:
        """Take the next part; False (and the stream is given up) if it does not fit."""
        if self._streams.get(peer) != (part.stream, part.offset):
            self._streams.pop(peer, None)
            return False
        if part.is_last:
            del self._streams[peer]
        else:
            self._streams[peer] = (part.stream, part.offset + len(part.data))
        return True

    def forget(self, peer: str) -> None:
        """Give up the stream of a peer."""
        self._streams.pop(peer, None)
