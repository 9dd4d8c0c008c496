"""Where the payloads of tasks are: the machine keeps their lengths and checksums only.

Applying an entry reads no payload. Who answers a caller does, through `Machine.answer`.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from raftq.protocol.options import NewTask


class Payloads(Protocol):
    """The payloads of all tasks that are not done; a dead task keeps its own.

    A task is found by its sequence. Its id is told, too: it finds the payload in the log entry
    that enqueued it. While an entry is applied nothing here may raise: it would count as a bug
    of the command, and this replica would differ from the others.
    """

    def keep(self, first_sequence: int, tasks: Sequence[NewTask]) -> None:
        """Keep the payloads of tasks that were just created, of consecutive sequences.

        Sequences grow from call to call, with no gap between two calls.
        """
        ...

    def drop(self, tasks: Iterable[tuple[int, int]]) -> None:
        """Forget payloads, given as (sequence, payload bytes): nobody will ask for them again.

        Called before the next entry is applied, so that whoever answers still finds them.
        """
        ...

    def payload(self, sequence: int, task_id: bytes, payload_crc: int) -> bytes:
        """Return a payload that was kept or restored and not dropped.

        The CRC32C tells it from that of another command of the same entry with the same id, which
        was refused. A task without payload is not asked for.

        Raises:
            CorruptRecord: It cannot be read as it was written; this node must stop.
        """
        ...

    def restore(self, rows: Sequence[tuple[int, bytes]]) -> None:
        """Take (sequence, payload) rows of a dump, in ascending order, before anything else."""
        ...

    def descriptors(self) -> list[int]:
        """Return the open files that a forked child must inherit to read payloads."""
        ...


class PayloadsInMemory:
    """Payloads in a dict: for tests, and for a broker within a process."""

    def __init__(self) -> None:
        self._kept: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, first_sequence: int, tasks: Sequence[NewTask]) -> None:
        """Keep the payloads of new tasks."""
        for sequence, task in enumerate(tasks, first_sequence):
            self._kept[sequence] = task.payload

    def drop(self, tasks: Iterable[tuple[int, int]]) -> None:
        """Forget payloads."""
        for sequence, _ in tasks:
            self._kept.pop(sequence, None)

    def payload(self, sequence: int, task_id: bytes, payload_crc: int) -> bytes:
        """Return a payload."""
        return self._kept[sequence]

    def restore(self, rows: Sequence[tuple[int, bytes]]) -> None:
        """Take the rows of a dump."""
        self._kept.update(rows)

    def descriptors(self) -> list[int]:
        """Return none."""
        return []
