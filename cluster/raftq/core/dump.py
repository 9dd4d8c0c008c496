"""The whole state as bytes, and back.

Chunks are MessagePack arrays `[kind, …]`. What can be derived (timers, tokens, live counts) is
rebuilt; what decides future behaviour (the order within each line, the requests remembered) is
written. Equal states give equal bytes.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from raftq.core.bucket import Bucket
from raftq.core.dump_rows import DumpInstant, TaskRow, TaskSequence, row_of, size_of
from raftq.core.id_table import SEQUENCE_MAX
from raftq.core.limit_keys import LimitRow
from raftq.core.payload_chunks import PayloadRows, payload_chunks
from raftq.core.ready_queue import LinePart
from raftq.core.rows import ROW_BYTES, pack, unpack
from raftq.core.schedules import ScheduleRow
from raftq.core.state import State
from raftq.core.task import (
    BLOCKED,
    CANCELLED,
    DEAD,
    FORGETTABLE,
    LEASED,
    READY,
    SCHEDULED,
    Blocked,
    Extras,
    Task,
    is_untouched,
)
from raftq.core.unique_keys import Holder
from raftq.protocol.codec import MALFORMED
from raftq.protocol.errors import CorruptRecord
from raftq.protocol.messages import QueueSettings, Quota, TaskId, TaskState

Item = TypeVar("Item")

_CHUNK_BYTES: Final = 256 * 1024
_NUMBERS_PER_CHUNK: Final = 20_000
_PACKED_PER_CHUNK: Final = _CHUNK_BYTES // (ROW_BYTES + 5)


class _Head(Struct, array_like=True, frozen=True, tag=0):
    lease_now_ms: int
    wall_now_ms: int
    cluster_id: str | None
    hash: int
    last_sequence: Annotated[int, Meta(ge=0, le=SEQUENCE_MAX)]
    last_token: int
    quota: Quota = Quota()
    quota_bucket: tuple[int, int] | None = None


class _Queue(Struct, array_like=True, frozen=True, tag=1):
    name: str
    enqueued: int
    counts: dict[str, int]
    settings: QueueSettings = QueueSettings()
    bucket: tuple[int, int] | None = None
    enqueue_bucket: tuple[int, int] | None = None


class _Tasks(Struct, array_like=True, frozen=True, tag=2):
    rows: list[TaskRow]


class _Ready(Struct, array_like=True, frozen=True, tag=3):
    """Of old dumps: what `_Line` has now."""

    queue: str
    sequences: list[int]
    came_back: bool


class _Outcomes(Struct, array_like=True, frozen=True, tag=4):
    sequences: list[int]


class _Requests(Struct, array_like=True, frozen=True, tag=5):
    worker: str
    used_at_ms: int
    requests: list[tuple[str, list[int]]]


class _Packed(Struct, array_like=True, frozen=True, tag=7):
    """Tasks to which nothing has happened: ascending sequences, and a packed row of each."""

    sequences: list[TaskSequence]
    rows: bytes


class _Line(Struct, array_like=True, frozen=True, tag=8):
    queue: str
    part: LinePart


class _TimedOutcomes(Struct, array_like=True, frozen=True, tag=9):
    rows: list[tuple[DumpInstant, TaskSequence]]


class _OrderKey(Struct, array_like=True, frozen=True, tag=10):
    key: str
    sequences: list[TaskSequence]


class _UniqueKeys(Struct, array_like=True, frozen=True, tag=11):
    rows: list[tuple[str, TaskSequence, TaskId, DumpInstant, TaskState | None]]


class _LimitKeys(Struct, array_like=True, frozen=True, tag=12):
    rows: list[LimitRow]


class _Schedules(Struct, array_like=True, frozen=True, tag=13):
    rows: list[ScheduleRow]


class _Forgotten(Struct, array_like=True, frozen=True, tag=14):
    young: list[int]
    old: list[int]


class _Wakes(Struct, array_like=True, frozen=True, tag=15):
    rows: list[tuple[str, DumpInstant]]


_Chunk = (
    _Head
    | _Queue
    | _Tasks
    | _Ready
    | _Outcomes
    | _Requests
    | _Packed
    | _Line
    | _TimedOutcomes
    | _OrderKey
    | _UniqueKeys
    | _LimitKeys
    | _Schedules
    | _Forgotten
    | _Wakes
    | PayloadRows
)
_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final[msgspec.msgpack.Decoder[_Chunk]] = msgspec.msgpack.Decoder(_Chunk)


def dump(state: State) -> Iterator[tuple[int, bytes]]:
    """Yield (key, chunk): the state with the key 0, then the payloads, by their first sequence."""
    for chunk in _dump_state(state):
        yield 0, _encode(chunk)
    payload = state.payloads.payload
    yield from payload_chunks(
        (task.sequence, payload(task.sequence, task.id, task.payload_crc))
        for task in state.tasks
        if task.payload_bytes
    )


def _dump_state(state: State) -> Iterator[_Chunk]:
    yield _Head(
        state.lease_now_ms,
        state.wall_now_ms,
        state.cluster_id,
        state.hash,
        state.last_sequence,
        state.last_token,
        state.quota,
        _bucket_row(state.quota_bucket),
    )
    for queue in state.queues.values():
        counts = {each.value: count for each, count in queue.counts.items()}
        buckets = (_bucket_row(queue.bucket), _bucket_row(queue.enqueue_bucket))
        yield _Queue(queue.name, queue.enqueued, counts, queue.settings, *buckets)
    yield from _dump_packed(state)
    yield from _dump_tasks(state)
    for queue in state.queues.values():
        for part in queue.parts():
            yield _Line(queue.name, part)
    for part in _parts(task.sequence for task in state.outcomes.usual()):
        yield _Outcomes(part)
    for part in _parts((at_ms, task.sequence) for at_ms, task in state.outcomes.timed()):
        yield _TimedOutcomes(part)
    for worker, used_at_ms, requests in state.requests:
        known = [(request_id, list(tokens)) for request_id, tokens in requests.items()]
        yield _Requests(worker, used_at_ms, known)
    yield from _dump_keys(state)


def _dump_packed(state: State) -> Iterator[_Packed]:
    untouched = (task for task in state.tasks if is_untouched(task))
    while tasks := list(islice(untouched, _PACKED_PER_CHUNK)):
        rows = [pack(task, state.queues[task.queue].number) for task in tasks]
        yield _Packed([task.sequence for task in tasks], b"".join(rows))


def _dump_tasks(state: State) -> Iterator[_Tasks]:
    rows: list[TaskRow] = []
    size = 0
    for task in state.tasks.all_objects():
        if not is_untouched(task):
            rows.append(row_of(task))
            size += size_of(task)
            if size >= _CHUNK_BYTES:
                yield _Tasks(rows)
                rows, size = [], 0
    yield _Tasks(rows)


def _dump_keys(state: State) -> Iterator[_Chunk]:
    """Yield what there is only if somebody uses it."""
    for key, sequences in state.order_keys:
        for part in _parts(sequences):
            yield _OrderKey(key, part)
    holders = (
        (key, each.sequence, each.task_id, each.until_ms, each.state)
        for key, each in state.unique_keys
    )
    for part in _parts(holders):
        yield _UniqueKeys(part)
    for part in _parts(state.limit_keys.rows()):
        yield _LimitKeys(part)
    for part in _parts(state.schedules.rows()):
        yield _Schedules(part)
    young, old = state.forgotten.rows()
    if young or old:
        yield _Forgotten(young, old)
    if wakes := state.wakes.rows():
        yield _Wakes(wakes)


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
    objects = Counter(task.state for task in state.tasks.objects.values())
    found = {
        READY: sum(queue.ready for queue in queues),
        SCHEDULED: len(state.scheduled),
        **{each: objects[each] for each in (BLOCKED, LEASED, DEAD)},
    }
    wrong = [each for each in found if found[each] != sum(queue.counts[each] for queue in queues)]
    if len(state.tasks.rows) != sum(found[each] - objects[each] for each in (READY, SCHEDULED)):
        wrong.append(READY)
    for task in state.tasks.objects.values():
        is_held = task.is_kept or task.children or task.lease is not None
        if task.state in FORGETTABLE and not is_held:
            raise ValueError(f"task {task.sequence} would never be forgotten")
    if wrong:
        raise ValueError(f"tasks are missing or doubled: {wrong}")


def _load_chunk(state: State, chunk: _Chunk) -> None:
    match chunk:
        case _Head():
            _load_head(state, chunk)
        case _Queue():
            _load_queue(state, chunk)
        case _Tasks(rows=rows):
            for row in rows:
                task = row.task(state.queues[row.queue].name)
                _index(state, task)
                if row.payload and task.state not in FORGETTABLE:
                    state.payloads.restore([(task.sequence, row.payload)])
        case _Packed():
            _load_packed(state, chunk)
        case _Ready():
            queue = state.queues[chunk.queue]
            push = queue.push_front if chunk.came_back else queue.push_back
            for sequence in chunk.sequences:
                push(sequence, _in_line(state, queue.name, sequence).priority)
        case _Line(queue=name, part=part):
            for sequence in part.sequences:
                _in_line(state, name, sequence)
            state.queues[name].restore_part(part)
        case _Outcomes(sequences=sequences):
            for sequence in sequences:
                state.outcomes.add(_outcome(state, sequence))
        case _TimedOutcomes(rows=rows):
            for at_ms, sequence in rows:
                state.outcomes.restore_timed(at_ms, _outcome(state, sequence))
        case _Requests():
            requests = OrderedDict((name, tuple(tokens)) for name, tokens in chunk.requests)
            state.requests.restore(chunk.worker, chunk.used_at_ms, requests)
        case PayloadRows():
            state.payloads.restore(list(chunk.rows()))
        case _:
            _load_keys(state, chunk)


def _load_keys(
    state: State,
    chunk: _OrderKey | _UniqueKeys | _LimitKeys | _Schedules | _Forgotten | _Wakes,
) -> None:
    match chunk:
        case _OrderKey():
            state.order_keys.restore(chunk.key, chunk.sequences)
        case _UniqueKeys(rows=rows):
            for key, sequence, task_id, until_ms, over in rows:
                state.unique_keys.take(key, Holder(sequence, task_id, until_ms, over))
        case _LimitKeys(rows=rows):
            state.limit_keys.restore(rows)
        case _Schedules(rows=rows):
            state.schedules.restore(rows)
        case _Forgotten():
            state.forgotten.restore(chunk.young, chunk.old)
        case _Wakes(rows=rows):
            for name, at_ms in rows:
                state.wakes.arm(name, at_ms)


def _load_head(state: State, head: _Head) -> None:
    state.lease_now_ms = head.lease_now_ms
    state.wall_now_ms = head.wall_now_ms
    state.cluster_id = head.cluster_id
    state.hash = head.hash
    state.last_sequence = head.last_sequence
    state.last_token = head.last_token
    state.quota = head.quota
    state.quota_bucket = _bucket(head.quota_bucket)


def _load_queue(state: State, chunk: _Queue) -> None:
    if chunk.name in state.queues:
        raise ValueError(f"queue {chunk.name} is there twice")
    queue = state.add_queue(chunk.name)
    queue.enqueued = chunk.enqueued
    queue.counts.update({TaskState(name): n for name, n in chunk.counts.items()})
    queue.set(chunk.settings)
    queue.bucket = _bucket(chunk.bucket)
    queue.enqueue_bucket = _bucket(chunk.enqueue_bucket)


def _bucket_row(bucket: Bucket | None) -> tuple[int, int] | None:
    """Return what a bucket holds."""
    return None if bucket is None else (bucket.level, bucket.at_ms)


def _bucket(row: tuple[int, int] | None) -> Bucket | None:
    return None if row is None else Bucket(*row)


def _in_line(state: State, queue: str, sequence: int) -> Task:
    task = state.tasks.get_if_kept(sequence)
    if task is None or task.state is not READY or task.queue != queue:
        raise ValueError(f"task {sequence} is not ready in {queue}")
    return task


def _outcome(state: State, sequence: int) -> Task:
    task = state.tasks.objects[sequence]
    if task.is_kept or task.state not in FORGETTABLE:
        raise ValueError(f"task {sequence} is not over, or its outcome is there twice")
    task.is_kept = True
    return task


def _load_packed(state: State, chunk: _Packed) -> None:
    if len(chunk.rows) != len(chunk.sequences) * ROW_BYTES:
        raise ValueError(f"{len(chunk.sequences)} packed rows have {len(chunk.rows)} bytes")
    names = list(state.queues)
    rows = memoryview(chunk.rows)
    for at, sequence in enumerate(chunk.sequences):
        row = rows[at * ROW_BYTES : (at + 1) * ROW_BYTES]
        _index(state, unpack(row, sequence, names))


def _index(state: State, task: Task) -> None:
    """Enter a loaded task into the indexes that follow from its own fields."""
    if task.sequence > state.last_sequence:
        raise ValueError(f"task {task.sequence} is from the future")
    if (task.lease is None) == (task.state is LEASED) and task.state is not CANCELLED:
        raise ValueError(f"the lease of task {task.sequence} does not fit its state")
    queue = state.queues[task.queue]
    state.tasks.restore(task, queue.number)
    if task.lease is not None or task.released_by is not None:
        state.by_token[task.token] = task
    if task.lease is not None:
        state.leases.add(task.lease.deadline_ms, task.token, task)
        queue.leased += 1
    if task.state is SCHEDULED:
        state.scheduled.add(task.not_before_at_ms, task.sequence)
    if task.extras is not None:
        _index_extras(state, task, task.extras)
    if task.state not in FORGETTABLE:
        state.live_tasks += 1
        state.live_payload_bytes += task.payload_bytes
        queue.payload_bytes += task.payload_bytes


def _index_extras(state: State, task: Task, extras: Extras) -> None:
    state.set_end(task)
    key = extras.options.limit_key
    if key is None:
        return
    if task.state is BLOCKED and extras.blocked_by is Blocked.LIMIT_KEY:
        state.limit_keys.park(key, task.queue, task.priority, task.sequence, state.wall_now_ms)
    elif task.lease is not None and extras.home_queue is None:
        state.limit_keys.count_leased(key)


def _parts(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Cut a long line of small things into chunks."""
    remaining = iter(items)
    while part := list(islice(remaining, _NUMBERS_PER_CHUNK)):
        yield part
