"""Payloads on the disk: each is in the newest snapshot, or in a log entry after it.

Owns the choice between the two. Does not own the files: `storage` reads and checks their records.
Invariants: a payload that a live task has can be read at every moment, and across any crash,
because the log is cut only after the snapshot that replaces it is in use here; what is returned
has the checksum of what was enqueued, or this node stops.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
from google_crc32c import value as crc32c

from raftq.consensus.payloads.caches import Blocks, RecentPayloads
from raftq.consensus.payloads.entry_payloads import EntryPayloads
from raftq.core.machine import Machine
from raftq.core.payload_chunks import payload_rows
from raftq.protocol.errors import CorruptRecord
from raftq.protocol.options import NewTask
from raftq.storage.chunk_index import ChunkIndex
from raftq.storage.record_chain import Chunk, KeyedChunk


class PayloadStore:
    """The payloads of one machine; implements the core's `Payloads`.

    Args:
        command_at: Returns the command of an applied log entry.
        open_log: Opens the log's files, and returns their descriptors.
    """

    def __init__(
        self, command_at: Callable[[int], bytes], open_log: Callable[[], list[int]] = list
    ) -> None:
        self._entries = EntryPayloads(command_at)
        self._open_log = open_log
        self._snapshot: ChunkIndex | None = None
        self._snapshot_through = 0
        """The newest sequence whose payload is in the snapshot, if its task has one."""
        self._recent = RecentPayloads()
        self._blocks: Blocks[int] = Blocks()
        self._entry_index = 0
        self._of_old_snapshot: dict[int, bytes] = {}

    # ------------------------------------------------------------ where payloads are

    def begin_entry(self, index: int) -> None:
        """Say which log entry is going to be applied."""
        self._entry_index = index

    def begin_with(self, snapshot: ChunkIndex, last_sequence: int) -> None:
        """Begin with the snapshot that the machine was just loaded from; closes it in the end."""
        self._snapshot, self._snapshot_through = snapshot, last_sequence

    def change_to(self, snapshot: ChunkIndex, last_sequence: int) -> None:
        """Read from a newer snapshot from now on.

        Args:
            snapshot: Has every payload that a live task up to the sequence has.
            last_sequence: The newest when it was begun.
        """
        self.close()
        self.begin_with(snapshot, last_sequence)
        self._blocks.clear()
        self._entries.forget_through(last_sequence)
        self._of_old_snapshot.clear()

    @property
    def snapshot_bytes(self) -> int:
        """Bytes of the snapshot that hold payloads, of finished tasks too."""
        return 0 if self._snapshot is None else self._snapshot.keyed_bytes

    @property
    def is_of_old_snapshot(self) -> bool:
        """Whether payloads are in memory, because the snapshot has the form of older versions."""
        return bool(self._of_old_snapshot)

    def descriptors(self) -> list[int]:
        """Open every file; return what a forked child must inherit to read payloads."""
        held = [] if self._snapshot is None else [self._snapshot.descriptor]
        return held + self._open_log()

    def close(self) -> None:
        """Release the snapshot."""
        if self._snapshot is not None:
            self._snapshot.close()
            self._snapshot = None

    # ------------------------------------------------------------ core.Payloads

    def keep(self, first_sequence: int, tasks: Sequence[NewTask]) -> None:
        """Note that the entry being applied has the payloads of new tasks."""
        if tasks:
            self._entries.note(first_sequence, self._entry_index)
            self._recent.add(first_sequence, tasks)

    def drop(self, tasks: Iterable[tuple[int, int]]) -> None:
        """Forget payloads; their bytes go with the file that has them."""
        for sequence, _ in tasks:
            self._recent.drop(sequence)
            if self._of_old_snapshot:
                self._of_old_snapshot.pop(sequence, None)

    def restore(self, rows: Sequence[tuple[int, bytes]]) -> None:
        """Take the payloads of a snapshot of an older version, until the next one is written."""
        self._of_old_snapshot.update(rows)

    def payload(self, sequence: int, task_id: bytes, payload_crc: int) -> bytes:
        """Return a payload.

        Raises:
            CorruptRecord: It is not where it should be, or not what was enqueued.
        """
        payload = self._recent.get(sequence)
        if payload is not None:
            return payload
        if sequence <= self._snapshot_through:
            payload = self._of_old_snapshot.get(sequence)
            if payload is None:
                payload = self._in_snapshot(sequence)
        else:
            payload = self._entries.find(sequence, task_id, payload_crc)
        if payload is None or crc32c(payload) != payload_crc:
            what = "is not there" if payload is None else "is another one"
            raise CorruptRecord(
                f"the payload of task {task_id.hex()} (number {sequence}) {what}; rebuild this "
                "node from its peers",
                sequence=sequence,
            )
        return payload

    def _in_snapshot(self, sequence: int) -> bytes | None:
        position = -1 if self._snapshot is None else self._snapshot.position_of(sequence)
        if self._snapshot is None or position < 0:
            return None
        payloads = self._blocks.get(position)
        if payloads is None:
            payloads = self._read(self._snapshot, position)
        return payloads.get(sequence)

    def _read(self, snapshot: ChunkIndex, position: int) -> Mapping[int, bytes]:
        chunk = snapshot.read(position)
        try:
            payloads = payload_rows(chunk)
        except (msgspec.MsgspecError, ValueError) as error:
            raise CorruptRecord(
                f"chunk {position} of the snapshot's payloads is malformed ({error}); rebuild "
                "this node from its peers"
            ) from None
        self._blocks.add(position, payloads)
        return payloads


def dump_chunks(machine: Machine) -> Iterator[Chunk]:
    """Yield a machine's state and payloads as the chunks of a snapshot or of a backup."""
    for key, chunk in machine.dump_keyed():
        yield KeyedChunk(key, chunk) if key else chunk
