"""The whole state as bytes.

What can be derived (timers, tokens, live counts) is rebuilt when it is loaded; what decides future
behaviour (the order within each line, the requests remembered) is written. Equal states give equal
bytes.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

from raftq.core.bucket import Bucket
from raftq.core.dump_chunks import (
    Chunk,
    ForgottenChunk,
    HeadChunk,
    LimitKeysChunk,
    LineChunk,
    OrderKeyChunk,
    OutcomesChunk,
    OverChunk,
    PackedChunk,
    QueueChunk,
    RequestsChunk,
    SchedulesChunk,
    TasksChunk,
    TimedOutcomesChunk,
    UniqueKeysChunk,
    WakesChunk,
    encode,
)
from raftq.core.dump_rows import TaskRow, row_of, size_of
from raftq.core.payload_chunks import payload_chunks
from raftq.core.rows import ROW_BYTES, pack
from raftq.core.schedules import ScheduleRow
from raftq.core.state import State
from raftq.core.task import has_relatives_to_tell, is_untouched

Item = TypeVar("Item")

_CHUNK_BYTES: Final = 256 * 1024
_NUMBERS_PER_CHUNK: Final = 20_000
_PACKED_PER_CHUNK: Final = _CHUNK_BYTES // (ROW_BYTES + 5)


def dump(state: State) -> Iterator[tuple[int, bytes]]:
    """Yield (key, chunk): the state with the key 0, then the payloads, by their first sequence."""
    for chunk in _dump_state(state):
        yield 0, encode(chunk)
    payload = state.payloads.payload
    yield from payload_chunks(
        (task.sequence, payload(task.sequence, task.id, task.payload_crc))
        for task in state.tasks
        if task.payload_bytes
    )


def _dump_state(state: State) -> Iterator[Chunk]:
    yield HeadChunk(
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
        yield QueueChunk(queue.name, queue.enqueued, counts, queue.settings, *buckets)
    yield from _dump_packed(state)
    yield from _dump_tasks(state)
    for queue in state.queues.values():
        for part in queue.parts():
            yield LineChunk(queue.name, part)
    yield from map(OutcomesChunk, _parts(task.sequence for task in state.outcomes.usual()))
    timed = ((at_ms, task.sequence) for at_ms, task in state.outcomes.timed())
    yield from map(TimedOutcomesChunk, _parts(timed))
    for worker, used_at_ms, requests in state.requests:
        known = [(request_id, list(tokens)) for request_id, tokens in requests.items()]
        yield RequestsChunk(worker, used_at_ms, known)
    yield from _dump_keys(state)


def _dump_packed(state: State) -> Iterator[PackedChunk]:
    untouched = (task for task in state.tasks if is_untouched(task))
    while tasks := list(islice(untouched, _PACKED_PER_CHUNK)):
        rows = [pack(task, state.queues[task.queue].number) for task in tasks]
        yield PackedChunk([task.sequence for task in tasks], b"".join(rows))


def _dump_tasks(state: State) -> Iterator[TasksChunk]:
    rows: list[TaskRow] = []
    size = 0
    for task in state.tasks.all_objects():
        if not is_untouched(task):
            rows.append(row_of(task))
            size += size_of(task)
            if size >= _CHUNK_BYTES:
                yield TasksChunk(rows)
                rows, size = [], 0
    yield TasksChunk(rows)


def _dump_keys(state: State) -> Iterator[Chunk]:
    """Yield what there is only if somebody uses it."""
    for key, sequences in state.order_keys:
        for part in _parts(sequences):
            yield OrderKeyChunk(key, part)
    holders = (
        (key, each.sequence, each.task_id, each.until_ms, each.state)
        for key, each in state.unique_keys
    )
    yield from map(UniqueKeysChunk, _parts(holders))
    yield from map(LimitKeysChunk, _parts(state.limit_keys.rows()))
    yield from _dump_schedules(state)
    young, old = state.forgotten.rows()
    if young or old:
        yield ForgottenChunk(young, old)
    if wakes := state.wakes.rows():
        yield WakesChunk(wakes)
    yield from _dump_over(state)


def _dump_over(state: State) -> Iterator[OverChunk]:
    """Yield those that are over and have relatives to tell; others may be forgotten already."""
    told_until = state.told_until
    if state.over and not has_relatives_to_tell(state.over[0]):
        told_until = 0
    for part in _parts(task.sequence for task in state.over if has_relatives_to_tell(task)):
        yield OverChunk(part, told_until)
        told_until = 0


def _dump_schedules(state: State) -> Iterator[SchedulesChunk]:
    rows: list[ScheduleRow] = []
    size = 0
    for row in state.schedules.rows():
        rows.append(row)
        size += 500 + len(row.schedule.payload)
        if size >= _CHUNK_BYTES:
            yield SchedulesChunk(rows)
            rows, size = [], 0
    if rows:
        yield SchedulesChunk(rows)


def _bucket_row(bucket: Bucket | None) -> tuple[int, int] | None:
    """Return what a bucket holds."""
    return None if bucket is None else (bucket.level, bucket.at_ms)


def _parts(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Cut a long line of small things into chunks."""
    remaining = iter(items)
    while part := list(islice(remaining, _NUMBERS_PER_CHUNK)):
        yield part
