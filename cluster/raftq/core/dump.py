"""The whole state as bytes, and back.

Chunks are MessagePack arrays `[kind, …]`. What can be derived (timers, tokens, live counts) is
rebuilt; what decides future behaviour (the order within each line, the requests remembered) is
written. Equal states give equal bytes.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from raftq.core.id_table import SEQUENCE_MAX
from raftq.core.payload_chunks import PayloadRows, payload_chunks
from raftq.core.state import State
from raftq.core.task import DEAD, DONE, LEASED, READY, SCHEDULED, Lease, Settling, Task
from raftq.protocol import limits
from raftq.protocol.codec import MALFORMED
from raftq.protocol.errors import CorruptRecord
from raftq.protocol.messages import AttemptsMax, Payload, Priority, TaskId, TaskState

_CHUNK_BYTES: Final = 256 * 1024
_NUMBERS_PER_CHUNK: Final = 20_000
_Instant: TypeAlias = Annotated[int, Meta(ge=0, le=2**60)]


class _Head(Struct, array_like=True, frozen=True, tag=0):
    lease_now_ms: int
    wall_now_ms: int
    cluster_id: str | None
    hash: int
    last_sequence: Annotated[int, Meta(ge=0, le=SEQUENCE_MAX)]
    last_token: int


class _Queue(Struct, array_like=True, frozen=True, tag=1):
    name: str
    enqueued: int
    counts: dict[str, int]


class _TaskRow(Struct, array_like=True, frozen=True, gc=False):
    sequence: Annotated[int, Meta(ge=1, le=SEQUENCE_MAX)]
    queue: str
    id: TaskId
    payload: Payload
    payload_crc: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    priority: Priority
    attempts_max: AttemptsMax
    not_before_at_ms: _Instant
    enqueued_at_ms: _Instant
    state: TaskState
    token: int
    failures: int
    crashes: int
    errors: list[str] | None
    released_by: int | None
    lease: tuple[str, int] | None
    result: bytes | None
    finished_at_ms: int
    payload_bytes: Annotated[int, Meta(ge=-1, le=limits.PAYLOAD_BYTES_MAX)] = -1
    """-1 in an old dump, whose rows hold the payloads themselves."""


class _Tasks(Struct, array_like=True, frozen=True, tag=2):
    rows: list[_TaskRow]


class _Ready(Struct, array_like=True, frozen=True, tag=3):
    queue: str
    sequences: list[int]
    came_back: bool


class _Outcomes(Struct, array_like=True, frozen=True, tag=4):
    sequences: list[int]


class _Requests(Struct, array_like=True, frozen=True, tag=5):
    worker: str
    used_at_ms: int
    requests: list[tuple[str, list[int]]]


_Chunk = _Head | _Queue | _Tasks | _Ready | _Outcomes | _Requests | PayloadRows
_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final[msgspec.msgpack.Decoder[_Chunk]] = msgspec.msgpack.Decoder(_Chunk)


def dump(state: State) -> Iterator[tuple[int, bytes]]:
    """Yield (key, chunk): the state with the key 0, then the payloads, by their first sequence."""
    for chunk in _dump_state(state):
        yield 0, chunk
    payload = state.payloads.payload
    yield from payload_chunks(
        (task.sequence, payload(task.sequence, task.id, task.payload_crc))
        for task in state.tasks
        if task.state is not DONE and task.payload_bytes
    )


def _dump_state(state: State) -> Iterator[bytes]:
    yield _encode(
        _Head(
            state.lease_now_ms,
            state.wall_now_ms,
            state.cluster_id,
            state.hash,
            state.last_sequence,
            state.last_token,
        )
    )
    for queue in state.queues.values():
        counts = {each.value: count for each, count in queue.counts.items()}
        yield _encode(_Queue(queue.name, queue.enqueued, counts))
    rows: list[_TaskRow] = []
    size = 0
    for task in state.tasks:
        rows.append(_row(task))
        size += 100 + len(task.result or b"")
        size += sum(map(len, task.errors or ()))
        if size >= _CHUNK_BYTES:
            yield _encode(_Tasks(rows))
            rows, size = [], 0
    yield _encode(_Tasks(rows))
    for queue in state.queues.values():
        for part in _parts(queue.returned()):
            yield _encode(_Ready(queue.name, part, came_back=True))
        for part in _parts(queue.waiting()):
            yield _encode(_Ready(queue.name, part, came_back=False))
    for part in _parts(task.sequence for task in state.outcomes):
        yield _encode(_Outcomes(part))
    for worker, used_at_ms, requests in state.requests:
        known = [(request_id, list(tokens)) for request_id, tokens in requests.items()]
        yield _encode(_Requests(worker, used_at_ms, known))


def load(state: State, chunks: Iterable[bytes]) -> None:
    """Fill an empty state with what was dumped.

    Raises:
        CorruptRecord: The chunks are no dump.
    """
    try:
        heads = 0
        for chunk in map(_decoder.decode, chunks):
            heads += isinstance(chunk, _Head)
            _load_chunk(state, chunk)
        if heads != 1:
            raise ValueError(f"{heads} heads")
        _check_complete(state)
    except (*MALFORMED, LookupError, ValueError, AssertionError) as error:
        raise CorruptRecord(
            f"the snapshot's content is damaged ({error!r}); rebuild this node from its peers"
        ) from error


def _check_complete(state: State) -> None:
    """Compare what was loaded with the queues' counts: a missing or doubled chunk shows here."""
    queues = state.queues.values()
    counts = {each: sum(queue.counts[each] for queue in queues) for each in TaskState}
    found = {
        READY: sum(queue.ready for queue in queues),
        LEASED: state.leases.live,
        SCHEDULED: len(state.scheduled),
        DEAD: state.live_tasks - counts[READY] - counts[LEASED] - counts[SCHEDULED],
    }
    wrong = [each for each, count in found.items() if count != counts[each]]
    if wrong or len(state.tasks) != state.live_tasks + len(state.outcomes):
        raise ValueError(f"tasks are missing or doubled: {wrong or DONE}")


def _load_chunk(state: State, chunk: _Chunk) -> None:
    match chunk:
        case _Head():
            state.lease_now_ms = chunk.lease_now_ms
            state.wall_now_ms = chunk.wall_now_ms
            state.cluster_id = chunk.cluster_id
            state.hash = chunk.hash
            state.last_sequence = chunk.last_sequence
            state.last_token = chunk.last_token
        case _Queue():
            if chunk.name in state.queues:
                raise ValueError(f"queue {chunk.name} is there twice")
            queue = state.add_queue(chunk.name)
            queue.enqueued = chunk.enqueued
            queue.counts.update({TaskState(name): n for name, n in chunk.counts.items()})
        case _Tasks(rows=rows):
            for row in rows:
                task = _task(row, state.queues[row.queue].name)
                _index(state, task)
                if task.state is not DONE and row.payload:
                    state.payloads.restore([(task.sequence, row.payload)])
        case _Ready():
            queue = state.queues[chunk.queue]
            push = queue.push_front if chunk.came_back else queue.push_back
            for sequence in chunk.sequences:
                task = state.tasks.get(sequence)
                if task.state is not READY or task.queue != queue.name:
                    raise ValueError(f"task {sequence} is not ready in {queue.name}")
                push(sequence, task.priority)
        case _Outcomes():
            for sequence in chunk.sequences:
                state.outcomes.add(state.tasks.objects[sequence])
        case _Requests():
            requests = OrderedDict((name, tuple(tokens)) for name, tokens in chunk.requests)
            state.requests.restore(chunk.worker, chunk.used_at_ms, requests)
        case PayloadRows():
            state.payloads.restore(list(chunk.rows()))


def _index(state: State, task: Task) -> None:
    """Enter a loaded task into the indexes that follow from its own fields."""
    if task.sequence > state.last_sequence:
        raise ValueError(f"task {task.sequence} is from the future")
    state.tasks.restore(task, state.queues[task.queue].number)
    if task.lease is not None or task.released_by is not None:
        state.by_token[task.token] = task
    if task.state is LEASED:
        assert task.lease is not None
        state.leases.add(task.lease.deadline_ms, task.token, task)
    if task.state is SCHEDULED:
        state.scheduled.add(task.not_before_at_ms, task.sequence)
    if task.state is not DONE:
        state.live_tasks += 1
        state.live_payload_bytes += task.payload_bytes


def _row(task: Task) -> _TaskRow:
    assert task.state is not None
    lease = None if task.lease is None else (task.lease.worker, task.lease.deadline_ms)
    return _TaskRow(
        task.sequence,
        task.queue,
        task.id,
        b"",
        task.payload_crc,
        task.priority,
        task.attempts_max,
        task.not_before_at_ms,
        task.enqueued_at_ms,
        task.state,
        task.token,
        task.failures,
        task.crashes,
        task.errors,
        task.released_by,
        lease,
        task.result,
        task.finished_at_ms,
        task.payload_bytes,
    )


def _task(row: _TaskRow, queue_name: str) -> Task:
    payload_bytes = len(row.payload) if row.payload_bytes < 0 else row.payload_bytes
    task = Task(row.sequence, queue_name, row.id, payload_bytes)
    task.payload_crc = row.payload_crc
    task.priority = row.priority
    task.attempts_max = row.attempts_max
    task.not_before_at_ms = row.not_before_at_ms
    task.enqueued_at_ms = row.enqueued_at_ms
    task.state = row.state
    task.token = row.token
    task.failures = row.failures
    task.crashes = row.crashes
    task.errors = row.errors
    task.released_by = None if row.released_by is None else Settling(row.released_by)
    task.lease = None if row.lease is None else Lease(*row.lease)
    task.result = row.result
    task.finished_at_ms = row.finished_at_ms
    return task


def _parts(sequences: Iterable[int]) -> Iterator[list[int]]:
    """Cut a long line of numbers into chunks."""
    remaining = iter(sequences)
    while part := list(islice(remaining, _NUMBERS_PER_CHUNK)):
        yield part
