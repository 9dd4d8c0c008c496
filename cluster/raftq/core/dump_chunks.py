"""The chunks of a dump.

A chunk is a MessagePack array `[kind, …]`. Kinds and fields are only ever added: a dump of any
version before is read, and fields that it does not have get their defaults.
"""

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from raftq.core.dump_rows import DumpInstant, TaskRow, TaskSequence
from raftq.core.id_table import SEQUENCE_MAX
from raftq.core.limit_keys import LimitRow
from raftq.core.payload_chunks import PayloadRows
from raftq.core.ready_queue import LinePart
from raftq.core.schedules import ScheduleRow
from raftq.protocol.fields import TaskId, TaskState
from raftq.protocol.options import QueueSettings, Quota


class HeadChunk(Struct, array_like=True, frozen=True, tag=0):
    """The clocks, and what there is once."""

    lease_now_ms: int
    wall_now_ms: int
    cluster_id: str | None
    hash: int
    last_sequence: Annotated[int, Meta(ge=0, le=SEQUENCE_MAX)]
    last_token: int
    quota: Quota = Quota()
    quota_bucket: tuple[int, int] | None = None


class QueueChunk(Struct, array_like=True, frozen=True, tag=1):
    """A queue, with its counts since the cluster began."""

    name: str
    enqueued: int
    counts: dict[str, int]
    settings: QueueSettings = QueueSettings()
    bucket: tuple[int, int] | None = None
    enqueue_bucket: tuple[int, int] | None = None


class TasksChunk(Struct, array_like=True, frozen=True, tag=2):
    """Tasks to which something has happened."""

    rows: list[TaskRow]


class ReadyChunk(Struct, array_like=True, frozen=True, tag=3):
    """Of old dumps: what `LineChunk` has now."""

    queue: str
    sequences: list[int]
    came_back: bool


class OutcomesChunk(Struct, array_like=True, frozen=True, tag=4):
    """Tasks whose outcomes are kept for the usual time, oldest first."""

    sequences: list[int]


class RequestsChunk(Struct, array_like=True, frozen=True, tag=5):
    """The lease calls of a worker that are known: request id and tokens."""

    worker: str
    used_at_ms: int
    requests: list[tuple[str, list[int]]]


class PackedChunk(Struct, array_like=True, frozen=True, tag=7):
    """Tasks to which nothing has happened: ascending sequences, and a packed row of each."""

    sequences: list[TaskSequence]
    rows: bytes


class LineChunk(Struct, array_like=True, frozen=True, tag=8):
    """A part of a queue's ready tasks, in the order in which they go out."""

    queue: str
    part: LinePart


class TimedOutcomesChunk(Struct, array_like=True, frozen=True, tag=9):
    """Tasks whose outcomes are kept until an instant."""

    rows: list[tuple[DumpInstant, TaskSequence]]


class OrderKeyChunk(Struct, array_like=True, frozen=True, tag=10):
    """The line of an order key; the first has it."""

    key: str
    sequences: list[TaskSequence]


class UniqueKeysChunk(Struct, array_like=True, frozen=True, tag=11):
    """Who has unique keys: key, task, until when, and how the task ended."""

    rows: list[tuple[str, TaskSequence, TaskId, DumpInstant, TaskState | None]]


class LimitKeysChunk(Struct, array_like=True, frozen=True, tag=12):
    """The limits of keys, and what is left of their rates."""

    rows: list[LimitRow]


class SchedulesChunk(Struct, array_like=True, frozen=True, tag=13):
    """The schedules, and how far they are."""

    rows: list[ScheduleRow]


class ForgottenChunk(Struct, array_like=True, frozen=True, tag=14):
    """Which tasks were forgotten lately."""

    young: list[int]
    old: list[int]


class OverChunk(Struct, array_like=True, frozen=True, tag=16):
    """Tasks that are over, and whose children or parents do not know it yet, in their order."""

    sequences: list[TaskSequence]
    told_until: Annotated[int, Meta(ge=0, le=SEQUENCE_MAX)] = 0
    """The last child of the first of them that knows."""


class WakesChunk(Struct, array_like=True, frozen=True, tag=15):
    """When queues are looked at again."""

    rows: list[tuple[str, DumpInstant]]


Chunk: TypeAlias = (
    HeadChunk
    | QueueChunk
    | TasksChunk
    | ReadyChunk
    | OutcomesChunk
    | RequestsChunk
    | PackedChunk
    | LineChunk
    | TimedOutcomesChunk
    | OrderKeyChunk
    | UniqueKeysChunk
    | LimitKeysChunk
    | SchedulesChunk
    | ForgottenChunk
    | WakesChunk
    | OverChunk
    | PayloadRows
)
encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder[Chunk](Chunk).decode
