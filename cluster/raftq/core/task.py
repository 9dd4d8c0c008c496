"""One task, and the one table of moves between its states."""

from enum import IntEnum, StrEnum
from typing import Final

from msgspec import Struct

from raftq.protocol import limits
from raftq.protocol.fields import TaskState
from raftq.protocol.options import TaskOptions
from raftq.protocol.statuses import Attempt

SCHEDULED: Final = TaskState.SCHEDULED
BLOCKED: Final = TaskState.BLOCKED
READY: Final = TaskState.READY
LEASED: Final = TaskState.LEASED
DONE: Final = TaskState.DONE
DEAD: Final = TaskState.DEAD
CANCELLED: Final = TaskState.CANCELLED
EXPIRED: Final = TaskState.EXPIRED
WAITING: Final = frozenset({SCHEDULED, BLOCKED, READY})
OVER: Final = frozenset({DONE, DEAD, CANCELLED, EXPIRED})
FORGETTABLE: Final = frozenset({DONE, CANCELLED, EXPIRED})
"""Over for good; a dead task can be redriven."""

TRANSITIONS: Final[dict[TaskState | None, dict[TaskState, str]]] = {
    None: {
        SCHEDULED: "enqueue with a delay",
        BLOCKED: "enqueue unconfirmed, with parents, or with a key that is held",
        READY: "enqueue",
        CANCELLED: "enqueue with a parent that failed",
        EXPIRED: "enqueue after its end",
    },
    SCHEDULED: {
        SCHEDULED: "edit",
        BLOCKED: "its time has come, but its key is held",
        READY: "its time has come",
        CANCELLED: "cancel",
        EXPIRED: "not started in time",
    },
    BLOCKED: {
        SCHEDULED: "what it waited for came, but its time has not",
        BLOCKED: "what it waited for came, and the next thing holds it back",
        READY: "what it waited for came",
        CANCELLED: "cancel, or a parent failed",
        EXPIRED: "not started or not confirmed in time",
    },
    READY: {
        SCHEDULED: "edit with a delay",
        BLOCKED: "its limit key has no free slot",
        READY: "edit, or move",
        LEASED: "lease",
        CANCELLED: "cancel",
        EXPIRED: "not started in time",
    },
    LEASED: {
        READY: "fail, requeue, or the lease ran out",
        SCHEDULED: "fail with a backoff, or requeue with a delay",
        BLOCKED: "confirmed while it was checked, and the next thing holds it back",
        DONE: "ack",
        DEAD: "fail or crash once too often",
        CANCELLED: "cancel",
    },
    DONE: {},
    DEAD: {
        BLOCKED: "redrive, and something holds it back",
        READY: "redrive",
        CANCELLED: "discard, or cancel",
    },
    CANCELLED: {},
    EXPIRED: {},
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
    CANCELLED = 4
    """By any report, after the task was cancelled."""


class Lease(Struct, gc=False, eq=False):
    """A worker's right to run a task until `deadline_ms` of lease time."""

    worker: str
    deadline_ms: int
    granted_at_ms: int = 0
    """Wall time."""


class Blocked(StrEnum):
    """What a blocked task waits for."""

    UNCONFIRMED = "unconfirmed"
    PARENTS = "parents"
    ORDER_KEY = "order_key"
    LIMIT_KEY = "limit_key"


class Extras(Struct, gc=False, eq=False):
    """What only a task with options has."""

    options: TaskOptions
    expires_at_ms: int = 0
    """0 if it does not expire, or not any more: it was leased once."""
    blocked_by: Blocked | None = None
    confirm_by_ms: int = 0
    """Above 0 while it is unconfirmed and not being checked."""
    home_queue: str | None = None
    """Where it goes when it is confirmed, while it is in its check queue."""
    home_not_before_at_ms: int = 0
    """Its own earliest start, while it is in its check queue."""
    waits_for: set[int] = set()
    """Sequences of the parents that it waits for."""
    end_at_ms: int = 0
    """The instant under which it is entered among those that expire or must be confirmed, or 0."""
    parents: list[int] = []
    """Sequences of the tasks of which it is a child, the newest first: all that it depends on,
    until it is over. Then they are taken from the end, as each of them learns it."""


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
    history: list[Attempt] | None = None
    """The newest attempts that did not succeed, oldest first."""
    released_by: Settling | None = None
    lease: Lease | None = None
    result: bytes | None = None
    finished_at_ms: int = 0
    progress: bytes | None = None
    children: set[int] | None = None
    """Sequences of tasks that depend on it and are not over."""
    extras: Extras | None = None
    moved_from: str | None = None
    """The queue in which it was enqueued, if it is in another one now."""
    is_kept: bool = False
    """Whether it is among the outcomes."""


def has_relatives_to_tell(task: Task) -> bool:
    """Tell whether a task that is over has children, or parents who must know it."""
    if task.children:
        return True
    is_left = task.state in FORGETTABLE and task.lease is None
    return is_left and task.extras is not None and bool(task.extras.parents)


def is_untouched(task: Task) -> bool:
    """Tell whether nothing has happened to a task but that its time has come.

    A row can say all of such a task.
    """
    return (
        task.state in (READY, SCHEDULED)
        and not (task.token or task.failures or task.crashes or task.finished_at_ms)
        and task.history is None
        and task.released_by is None
        and task.lease is None
        and task.result is None
        and task.progress is None
        and not task.children
        and task.extras is None
        and task.moved_from is None
        and 0 <= task.not_before_at_ms - task.enqueued_at_ms <= limits.DELAY_MS_MAX
    )
