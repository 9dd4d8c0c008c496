"""A state from the bytes of a dump, checked: damage is an error, never another state."""

from collections import Counter, OrderedDict
from collections.abc import Iterable

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
    ReadyChunk,
    RequestsChunk,
    SchedulesChunk,
    TasksChunk,
    TimedOutcomesChunk,
    UniqueKeysChunk,
    WakesChunk,
    decode,
)
from raftq.core.payload_chunks import PayloadRows
from raftq.core.rows import ROW_BYTES, unpack
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
    has_relatives_to_tell,
)
from raftq.core.unique_keys import Holder
from raftq.protocol.codec import MALFORMED
from raftq.protocol.errors import CorruptRecord
from raftq.protocol.fields import TaskState


def load(state: State, chunks: Iterable[bytes]) -> None:
    """Fill an empty state with what was dumped.

    Raises:
        CorruptRecord: The chunks are no dump.
    """
    try:
        heads = 0
        for chunk in map(decode, chunks):
            heads += isinstance(chunk, HeadChunk)
            _load_chunk(state, chunk)
        if heads != 1:
            raise ValueError(f"{heads} heads")
        _tie_families(state)
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
    to_tell = {task.sequence for task in state.over}
    for task in state.tasks.objects.values():
        is_held = task.is_kept or task.children or task.lease is not None
        if task.state in FORGETTABLE and not (is_held or task.sequence in to_tell):
            raise ValueError(f"task {task.sequence} would never be forgotten")
    if wrong:
        raise ValueError(f"tasks are missing or doubled: {wrong}")


def _tie_families(state: State) -> None:
    """Let children know their parents: a dump says it of the parents only."""
    for parent in reversed(state.tasks.all_objects()):
        for sequence in parent.children or ():
            extras = state.tasks.objects[sequence].extras
            if extras is None:
                raise ValueError(f"task {sequence} is a child and depends on nothing")
            extras.parents.append(parent.sequence)
    for task in state.over:
        if not has_relatives_to_tell(task):
            raise ValueError(f"task {task.sequence} has nobody to tell that it is over")


def _load_chunk(state: State, chunk: Chunk) -> None:
    match chunk:
        case HeadChunk():
            _load_head(state, chunk)
        case QueueChunk():
            _load_queue(state, chunk)
        case TasksChunk(rows=rows):
            for row in rows:
                task = row.task(state.queues[row.queue].name)
                _index(state, task)
                if row.payload and task.state not in FORGETTABLE:
                    state.payloads.restore([(task.sequence, row.payload)])
        case PackedChunk():
            _load_packed(state, chunk)
        case ReadyChunk():
            queue = state.queues[chunk.queue]
            push = queue.push_front if chunk.came_back else queue.push_back
            for sequence in chunk.sequences:
                push(sequence, _in_line(state, queue.name, sequence).priority)
        case LineChunk(queue=name, part=part):
            for sequence in part.sequences:
                _in_line(state, name, sequence)
            state.queues[name].restore_part(part)
        case OutcomesChunk(sequences=sequences):
            for sequence in sequences:
                state.outcomes.add(_outcome(state, sequence))
        case TimedOutcomesChunk(rows=rows):
            for at_ms, sequence in rows:
                state.outcomes.restore_timed(at_ms, _outcome(state, sequence))
        case RequestsChunk():
            requests = OrderedDict((name, tuple(tokens)) for name, tokens in chunk.requests)
            state.requests.restore(chunk.worker, chunk.used_at_ms, requests)
        case PayloadRows():
            state.payloads.restore(list(chunk.rows()))
        case _:
            _load_keys(state, chunk)


def _load_keys(
    state: State,
    chunk: OrderKeyChunk
    | UniqueKeysChunk
    | LimitKeysChunk
    | SchedulesChunk
    | ForgottenChunk
    | WakesChunk
    | OverChunk,
) -> None:
    match chunk:
        case OrderKeyChunk():
            state.order_keys.restore(chunk.key, chunk.sequences)
        case UniqueKeysChunk(rows=rows):
            for key, sequence, task_id, until_ms, over in rows:
                state.unique_keys.take(key, Holder(sequence, task_id, until_ms, over))
        case LimitKeysChunk(rows=rows):
            state.limit_keys.restore(rows)
        case SchedulesChunk(rows=rows):
            state.schedules.restore(rows)
        case ForgottenChunk():
            state.forgotten.restore(chunk.young, chunk.old)
        case WakesChunk(rows=rows):
            for name, at_ms in rows:
                state.wakes.arm(name, at_ms)
        case OverChunk(sequences=sequences):
            if not state.over:
                state.told_until = chunk.told_until
            state.over.extend(state.tasks.objects[each] for each in sequences)


def _load_head(state: State, head: HeadChunk) -> None:
    state.lease_now_ms = head.lease_now_ms
    state.wall_now_ms = head.wall_now_ms
    state.cluster_id = head.cluster_id
    state.hash = head.hash
    state.last_sequence = head.last_sequence
    state.last_token = head.last_token
    state.quota = head.quota
    state.quota_bucket = _bucket(head.quota_bucket)


def _load_queue(state: State, chunk: QueueChunk) -> None:
    if chunk.name in state.queues:
        raise ValueError(f"queue {chunk.name} is there twice")
    queue = state.add_queue(chunk.name)
    queue.enqueued = chunk.enqueued
    queue.counts.update({TaskState(name): n for name, n in chunk.counts.items()})
    queue.set(chunk.settings)
    queue.bucket = _bucket(chunk.bucket)
    queue.enqueue_bucket = _bucket(chunk.enqueue_bucket)


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


def _load_packed(state: State, chunk: PackedChunk) -> None:
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
