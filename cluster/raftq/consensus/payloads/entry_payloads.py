"""Payloads that are still where they were enqueued: in an entry of the log.

Owns which entry has a task's payload. Does not own the entries. Invariants: only applied entries
are known here, so no entry that is cut off ever is; the entries' tasks have consecutive sequences.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping

from google_crc32c import value as crc32c

from raftq.consensus.payloads.caches import Blocks
from raftq.protocol import codec
from raftq.protocol.commands import new_tasks


class EntryPayloads:
    """16 bytes of memory for each entry that made tasks.

    Args:
        command_at: Returns the command of a log entry, as the log has it.
    """

    def __init__(self, command_at: Callable[[int], bytes]) -> None:
        self._command_at = command_at
        self._first_sequences: array[int] = array("Q")
        self._indexes: array[int] = array("Q")
        self._blocks: Blocks[bytes] = Blocks()

    def note(self, first_sequence: int, index: int) -> None:
        """Remember that an entry makes tasks from a sequence on."""
        if not self._indexes or self._indexes[-1] != index:
            self._first_sequences.append(first_sequence)
            self._indexes.append(index)

    def forget_through(self, sequence: int) -> None:
        """Forget the entries that made the tasks up to a sequence."""
        count = bisect_right(self._first_sequences, sequence)
        del self._first_sequences[:count]
        del self._indexes[:count]

    def find(self, sequence: int, task_id: bytes, payload_crc: int) -> bytes | None:
        """Return a payload, or None if the entry does not have it.

        Raises:
            CorruptRecord: The entry is damaged.
        """
        position = bisect_right(self._first_sequences, sequence) - 1
        if position < 0:
            return None
        index = self._indexes[position]
        payloads = self._blocks.get(index)
        if payloads is None:
            payloads = self._read(index)
        payload = payloads.get(task_id)
        if payload is None or crc32c(payload) == payload_crc:
            return payload
        # Another command of the entry has the same id; one of the two was refused.
        found = (other for id_, other in self._payloads_in(index) if id_ == task_id)
        return next((other for other in found if crc32c(other) == payload_crc), None)

    def _read(self, index: int) -> Mapping[bytes, bytes]:
        payloads = dict(self._payloads_in(index))
        self._blocks.add(index, payloads)
        return payloads

    def _payloads_in(self, index: int) -> Iterator[tuple[bytes, bytes]]:
        entry = codec.decode_entry(self._command_at(index)[1:])  # The first byte is its type.
        for command in entry.commands:
            for task in new_tasks(command):
                yield task.id, task.payload
