"""One task, and the one table of moves between its states."""

from enum import IntEnum
from typing import Final

from msgspec import Struct

from raftq.protocol import limits
from raftq.protocol.messages import TaskState

SCHEDULED: Final = TaskState.SCHEDULED
READY: Final = TaskState.READY
LEASED: Final = TaskState.LEASED
DONE: Final = TaskState.DONE
DEAD: Final = TaskState.DEAD

TRANSITIONS: Final[dict[TaskState | None, dict[TaskState, str]]] = {
    None: {SCHEDULED: "enqueue with a delay", READY: "enqueue"},
    SCHEDULED: {READY: "its time has come"},
    READY: {LEASED: "lease"},
    LEASED: {
        READY: "fail, requeue, or the lease ran out",
        SCHEDULED: "requeue with a delay",
        DONE: "ack",
        DEAD: "fail or crash once too often",
    },
    DONE: {},
    DEAD: {},
}
"""Every legal move, with what causes it; None is "does not exist yet"."""

STATE_NUMBERS: Final[dict[TaskState, int]] = {
    state: number for number, state in enumerate(TaskState)
}
"""Small integers for the state hash and snapshots; append-only with the enum."""


class Settling(IntEnum):
    """How the newest lease of a task ended, if not by running out."""

    ACK = 1
    FAIL = 2
    REQUEUE = 3


class Lease(Struct, gc=False, eq=False):
    """A worker's right to run a task until `deadline_ms` of lease time."""

    worker: str
    deadline_ms: int


class Task(Struct, gc=False, eq=False):
    """One task.

    Unknown to the garbage collector, because nothing that it holds refers back: with 200,000 tasks
    a full collection stopped a busy node for 640 ms when it walked through them, and 40 ms since.
    """

    sequence: int
    queue: str
    id: bytes
    payload_bytes: int
    payload_crc: int = 0
    priority: int = 0
    attempts_max: int = 0
    not_before_at_ms: int = 0
    enqueued_at_ms: int = 0
    state: TaskState | None = None
    token: int = 0
    failures: int = 0
    crashes: int = 0
    errors: list[str] | None = None
    released_by: Settling | None = None
    lease: Lease | None = None
    result: bytes | None = None
    finished_at_ms: int = 0


def is_untouched(task: Task) -> bool:
    """Tell whether nothing has happened to a task but that its time has come.

    A row can say all of such a task.
    """
    return (
        task.state in (READY, SCHEDULED)
        and not (task.token or task.failures or task.crashes or task.finished_at_ms)
        and task.errors is None
        and task.released_by is None
        and task.lease is None
        and task.result is None
        and 0 <= task.not_before_at_ms - task.enqueued_at_ms <= limits.DELAY_MS_MAX
    )
