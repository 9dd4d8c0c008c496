"""Waiting tasks as packed rows of numbers, because there may be millions of them.

A row is found by its task's sequence: the rows of consecutive sequences lie in one chunk. A chunk
without rows is freed. One that is nearly empty is named in `thin` and gives its rows up, so that
a few long-lived tasks among many short-lived ones do not hold memory for all.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final, TypeAlias

from raftq.core.task import READY, SCHEDULED, Task
from raftq.protocol import limits
from raftq.protocol.options import NewTask

_ROW: Final = Struct("<16sBBHIIQQ")
"""Id, state, priority, attempts_max, queue number, CRC of the payload, instant of the enqueue,
and the delay with the length of the payload."""
_Fields: TypeAlias = tuple[bytes, int, int, int, int, int, int, int]
ROW_BYTES: Final = _ROW.size
_STATE_AT: Final = 16
LENGTH_BITS: Final = 24
"""Of the last number; what is above them is the delay."""
_LENGTH_MASK: Final = 2**LENGTH_BITS - 1
_pack_into: Final = _ROW.pack_into
_unpack_from: Final = _ROW.unpack_from

_FREE: Final = 0
_READY: Final = 1
_SCHEDULED: Final = 2
_STATES: Final = (None, READY, SCHEDULED)

ROWS_PER_CHUNK: Final = 1_024
THIN_ROWS: Final = ROWS_PER_CHUNK // 16
"""So many rows need less memory as objects than in a chunk."""


def pack(task: Task, queue_number: int) -> bytes:
    """Return the row of a waiting task to which nothing has happened."""
    return _ROW.pack(
        task.id,
        _SCHEDULED if task.state is SCHEDULED else _READY,
        task.priority,
        task.attempts_max,
        queue_number,
        task.payload_crc,
        task.enqueued_at_ms,
        (task.not_before_at_ms - task.enqueued_at_ms) << LENGTH_BITS | task.payload_bytes,
    )


def unpack(row: memoryview, sequence: int, queue_names: Sequence[str]) -> Task:
    """Return the task of a packed row.

    Raises:
        ValueError: It is none.
    """
    fields: _Fields = _ROW.unpack(row)
    task_id, state, priority, attempts_max, queue_number, crc, at_ms, rest = fields
    if state not in (_READY, _SCHEDULED) or queue_number >= len(queue_names):
        raise ValueError(f"the packed row of task {sequence} has a wrong state or queue")
    if priority > limits.PRIORITY_MAX:
        raise ValueError(f"the packed row of task {sequence} has a wrong priority")
    return Task(
        sequence,
        queue_names[queue_number],
        task_id,
        rest & _LENGTH_MASK,
        crc,
        priority,
        attempts_max,
        at_ms + (rest >> LENGTH_BITS),
        at_ms,
        _STATES[state],
    )


class Rows:
    """The rows of waiting tasks, by sequence.

    Args:
        queue_names: Name by queue number; grows with the queues.
        rows_per_chunk: A power of two.
        thin_rows: A chunk with so many rows is thin.
    """

    def __init__(self, queue_names: Sequence[str], rows_per_chunk: int, thin_rows: int) -> None:
        self._queue_names = queue_names
        self._shift = rows_per_chunk.bit_length() - 1
        self._mask = rows_per_chunk - 1
        self._thin_rows = thin_rows
        self._chunks: dict[int, bytearray] = {}
        self._used: dict[int, int] = {}
        """Rows in use by chunk."""
        self._newest = -1
        """The chunk that is being filled, which is kept however empty it is."""
        self.thin: list[int] = []
        """Chunks that should give up their rows."""

    def __len__(self) -> int:
        return sum(self._used.values())

    def __contains__(self, sequence: int) -> bool:
        chunk = self._chunks.get(sequence >> self._shift)
        at = (sequence & self._mask) * ROW_BYTES + _STATE_AT
        return chunk is not None and chunk[at] != _FREE

    @property
    def chunk_bytes(self) -> int:
        """Bytes of all chunks."""
        return sum(map(len, self._chunks.values()))

    # ------------------------------------------------------------ changing

    def add(
        self,
        first_sequence: int,
        tasks: Sequence[NewTask],
        crcs: Sequence[int],
        queue_number: int,
        at_ms: int,
    ) -> None:
        """Enter tasks of consecutive sequences that were enqueued at an instant."""
        begin = 0
        while begin < len(tasks):
            sequence = first_sequence + begin
            end = begin + self._mask + 1 - (sequence & self._mask)
            self._fill(sequence, tasks[begin:end], crcs[begin:end], queue_number, at_ms)
            begin = end

    def _fill(
        self,
        first_sequence: int,
        tasks: Sequence[NewTask],
        crcs: Sequence[int],
        queue_number: int,
        at_ms: int,
    ) -> None:
        """Enter tasks of one chunk."""
        number = first_sequence >> self._shift
        if number != self._newest:
            self._begin(number)
        chunk, at = self._chunks[number], (first_sequence & self._mask) * ROW_BYTES
        for new, crc in zip(tasks, crcs, strict=True):
            _pack_into(
                chunk,
                at,
                new.id,
                _SCHEDULED if new.delay_ms else _READY,
                new.priority,
                new.attempts_max,
                queue_number,
                crc,
                at_ms,
                new.delay_ms << LENGTH_BITS | len(new.payload),
            )
            at += ROW_BYTES
        self._used[number] += len(tasks)

    def restore(self, task: Task, queue_number: int) -> None:
        """Enter a waiting task of a dump, to which nothing has happened; their sequences grow."""
        self._restore(task.sequence, pack(task, queue_number))

    def _restore(self, sequence: int, row: bytes) -> None:
        number = sequence >> self._shift
        if number != self._newest:
            self._begin(number)
        at = (sequence & self._mask) * ROW_BYTES
        self._chunks[number][at : at + ROW_BYTES] = row
        self._used[number] += 1

    def _begin(self, number: int) -> None:
        """Begin a chunk; the one before may be empty or thin already."""
        filled, self._newest = self._newest, number
        self._chunks[number] = bytearray((self._mask + 1) * ROW_BYTES)
        self._used[number] = 0
        if filled >= 0:
            self._look_at(filled)

    def _look_at(self, number: int) -> None:
        """Free a chunk that has no rows; name one that has few."""
        used = self._used[number]
        if not used:
            del self._chunks[number], self._used[number]
        elif used <= self._thin_rows:
            self.thin.append(number)

    def make_ready(self, sequence: int) -> None:
        """Change the state of a scheduled task."""
        at = (sequence & self._mask) * ROW_BYTES + _STATE_AT
        self._chunks[sequence >> self._shift][at] = _READY

    def remove(self, sequence: int) -> None:
        """Free a row."""
        number = sequence >> self._shift
        self._chunks[number][(sequence & self._mask) * ROW_BYTES + _STATE_AT] = _FREE
        self._used[number] = used = self._used[number] - 1
        if used <= self._thin_rows and number != self._newest:
            self._look_at(number)

    def give_up(self) -> list[Task]:
        """Free the thin chunks and return the tasks that were in them."""
        tasks: list[Task] = []
        for number in self.thin:
            tasks += self._in_chunk(number)
            del self._chunks[number], self._used[number]
        self.thin.clear()
        return tasks

    # ------------------------------------------------------------ reading

    def is_id_of(self, sequence: int, task_id: bytes) -> bool:
        """Tell whether there is a row with a sequence and an id."""
        chunk = self._chunks.get(sequence >> self._shift)
        if chunk is None:
            return False
        at = (sequence & self._mask) * ROW_BYTES
        return chunk.startswith(task_id, at) and chunk[at + _STATE_AT] != _FREE

    def read(self, sequence: int) -> Task:
        """Return a row's task, as an object of its own."""
        row: _Fields = _unpack_from(
            self._chunks[sequence >> self._shift], (sequence & self._mask) * ROW_BYTES
        )
        task_id, state, priority, attempts_max, queue_number, crc, at_ms, rest = row
        return Task(
            sequence,
            self._queue_names[queue_number],
            task_id,
            rest & _LENGTH_MASK,
            crc,
            priority,
            attempts_max,
            at_ms + (rest >> LENGTH_BITS),
            at_ms,
            _STATES[state],
        )

    def sequences_after(self, after: int, until: int) -> Iterator[int]:
        """Yield the sequences of rows behind one, ascending."""
        first = after + 1 >> self._shift
        for number in sorted(each for each in self._chunks if each >= first):
            begin = number << self._shift
            if begin > until:
                return
            states = self._chunks[number][_STATE_AT::ROW_BYTES]
            for offset, state in enumerate(states):
                if state != _FREE and after < begin + offset <= until:
                    yield begin + offset

    def __iter__(self) -> Iterator[Task]:
        """Yield all tasks in order of their sequences."""
        for number in sorted(self._chunks):
            yield from self._in_chunk(number)

    def _in_chunk(self, number: int) -> Iterator[Task]:
        states = self._chunks[number][_STATE_AT::ROW_BYTES]
        for offset, state in enumerate(states):
            if state != _FREE:
                yield self.read(number << self._shift | offset)
