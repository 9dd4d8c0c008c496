"""A task as a row of a dump, and back.

A task to which nothing has happened is packed as `rows` packs it; any other is an array of fields.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct, structs

from raftq.core.id_table import SEQUENCE_MAX
from raftq.core.task import Blocked, Extras, Lease, Settling, Task
from raftq.protocol import limits
from raftq.protocol.fields import AttemptsMaxOrDefault, Payload, Priority, TaskId, TaskState
from raftq.protocol.options import TaskOptions
from raftq.protocol.statuses import Attempt

TaskSequence: TypeAlias = Annotated[int, Meta(ge=1, le=SEQUENCE_MAX)]
DumpInstant: TypeAlias = Annotated[int, Meta(ge=0, le=2**60)]


class LeaseRow(Struct, array_like=True, frozen=True):
    """`task.Lease`; of old dumps without the last field."""

    worker: str
    deadline_ms: int
    granted_at_ms: int = 0


class ExtrasRow(Struct, array_like=True, frozen=True):
    """`task.Extras`."""

    options: TaskOptions
    expires_at_ms: DumpInstant
    blocked_by: Blocked | None
    confirm_by_ms: DumpInstant
    home_queue: str | None
    home_not_before_at_ms: DumpInstant
    waits_for: list[TaskSequence]

    def extras(self) -> Extras:
        """Return what was dumped."""
        return Extras(
            self.options,
            self.expires_at_ms,
            self.blocked_by,
            self.confirm_by_ms,
            self.home_queue,
            self.home_not_before_at_ms,
            set(self.waits_for),
        )


class TaskRow(Struct, array_like=True, frozen=True, gc=False):
    """`task.Task`; what stands behind `finished_at_ms` is not in the oldest dumps."""

    sequence: TaskSequence
    queue: str
    id: TaskId
    payload: Payload
    payload_crc: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    priority: Priority
    attempts_max: AttemptsMaxOrDefault
    not_before_at_ms: DumpInstant
    enqueued_at_ms: DumpInstant
    state: TaskState
    token: int
    failures: int
    crashes: int
    errors: list[str] | None
    """Of old dumps: what `history` has now."""
    released_by: int | None
    lease: LeaseRow | None
    result: bytes | None
    finished_at_ms: int
    payload_bytes: Annotated[int, Meta(ge=-1, le=limits.PAYLOAD_BYTES_MAX)] = -1
    """-1 in an old dump, whose rows hold the payloads themselves."""
    history: list[Attempt] | None = None
    progress: bytes | None = None
    children: list[TaskSequence] | None = None
    extras: ExtrasRow | None = None
    moved_from: str | None = None

    def task(self, queue_name: str) -> Task:
        """Return what was dumped.

        Args:
            queue_name: The queue's name, one string for all its tasks.
        """
        return Task(
            self.sequence,
            queue_name,
            self.id,
            len(self.payload) if self.payload_bytes < 0 else self.payload_bytes,
            self.payload_crc,
            self.priority,
            self.attempts_max,
            self.not_before_at_ms,
            self.enqueued_at_ms,
            self.state,
            self.token,
            self.failures,
            self.crashes,
            self.history or _history_of(self.errors),
            None if self.released_by is None else Settling(self.released_by),
            None if self.lease is None else Lease(*structs.astuple(self.lease)),
            self.result,
            self.finished_at_ms,
            self.progress,
            None if self.children is None else set(self.children),
            None if self.extras is None else self.extras.extras(),
            self.moved_from,
        )


def row_of(task: Task) -> TaskRow:
    """Return a task's row."""
    assert task.state is not None
    lease = task.lease
    extras = task.extras
    return TaskRow(
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
        None,
        task.released_by,
        None if lease is None else LeaseRow(*structs.astuple(lease)),
        task.result,
        task.finished_at_ms,
        task.payload_bytes,
        task.history,
        task.progress,
        sorted(task.children) if task.children else None,
        None if extras is None else _extras_row(extras),
        task.moved_from,
    )


def _extras_row(extras: Extras) -> ExtrasRow:
    return ExtrasRow(
        extras.options,
        extras.expires_at_ms,
        extras.blocked_by,
        extras.confirm_by_ms,
        extras.home_queue,
        extras.home_not_before_at_ms,
        sorted(extras.waits_for),
    )


def _history_of(errors: list[str] | None) -> list[Attempt] | None:
    """Return attempts of which an old dump has the errors only."""
    if errors is None:
        return None
    return [Attempt(number, "", 0, 0, "failed", text) for number, text in enumerate(errors, 1)]


def size_of(task: Task) -> int:
    """Return about how many bytes a row has."""
    size = 100 + len(task.result or b"") + len(task.progress or b"")
    size += sum([100 + len(attempt.error) for attempt in task.history or ()])
    size += 0 if task.extras is None else 200 + 40 * len(task.extras.options.depends_on)
    return size + 9 * len(task.children or ())
