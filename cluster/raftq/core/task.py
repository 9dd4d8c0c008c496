"""One task, and the one table of moves between its states."""

from enum import IntEnum
from typing import Final

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


class Task:
    """One task. A plain slots class: a waiting task costs no more than its fields."""

    __slots__ = (
        "attempts_max",
        "crashes",
        "enqueued_at_ms",
        "errors",
        "failures",
        "finished_at_ms",
        "id",
        "lease",
        "not_before_at_ms",
        "payload",
        "payload_crc",
        "priority",
        "queue",
        "released_by",
        "result",
        "sequence",
        "state",
        "token",
    )

    def __init__(self, sequence: int, queue: str, id_: bytes, payload: bytes) -> None:
        self.sequence = sequence
        self.queue = queue
        self.id = id_
        self.payload: bytes = payload
        self.payload_crc = 0
        self.priority = 0
        self.attempts_max = 0
        self.not_before_at_ms = 0
        self.enqueued_at_ms = 0
        self.state: TaskState | None = None
        self.token = 0
        self.failures = 0
        self.crashes = 0
        self.errors: list[str] | None = None
        self.released_by: Settling | None = None
        self.lease: Lease | None = None
        self.result: bytes | None = None
        self.finished_at_ms = 0


class Lease:
    """A worker's right to run a task until `deadline_ms` of lease time."""

    __slots__ = ("deadline_ms", "worker")

    def __init__(self, worker: str, deadline_ms: int) -> None:
        self.worker = worker
        self.deadline_ms = deadline_ms
