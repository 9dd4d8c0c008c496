"""Histories written by hand, one line a call."""

from collections.abc import Sequence

from raftq.protocol.calls import Call, LeaseCall, QueueCall, TaskCall
from raftq.protocol.commands import (
    Ack,
    AckItem,
    Enqueue,
    Extend,
    ExtendItem,
    Fail,
    FailItem,
    Requeue,
    RequeueItem,
)
from raftq.protocol.fields import Consistency, TaskState
from raftq.protocol.options import NewTask
from raftq.protocol.replies import (
    Enqueued,
    EnqueuedTask,
    Leased,
    LeasedTask,
    Reply,
    Settled,
    SettledTask,
)
from raftq.protocol.statuses import QueueStatus, TaskStatus
from raftq.testing.checks import Bounds, check_all
from raftq.testing.facts import ClusterFacts
from raftq.testing.history import Operation, Outcome

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16
READY, LEASED = TaskState.READY, TaskState.LEASED
DONE, DEAD, SCHEDULED = TaskState.DONE, TaskState.DEAD, TaskState.SCHEDULED


def rules(
    script: "Script", facts: ClusterFacts | None = None, bounds: Bounds | None = None
) -> set[str]:
    """Return the rules that a history breaks."""
    return {each.rule for each in check_all(script.operations, facts, bounds)}


def granted(
    task_id: bytes,
    token: int,
    attempt: int = 1,
    lease_ms: int = 1_000,
    queue: str = "q",
    payload: bytes = b"p",
) -> LeasedTask:
    """Return a lease as a reply has it."""
    return LeasedTask(task_id, queue, token, attempt, payload, lease_ms)


def status(
    task_id: bytes,
    state: TaskState,
    token: int | None = None,
    *,
    failures: int = 0,
    crashes: int = 0,
    result: bytes | None = None,
    priority: int = 5,
) -> TaskStatus:
    """Return a task as a read shows it."""
    return TaskStatus(
        task_id,
        "q",
        state,
        priority,
        failures,
        crashes,
        failures + crashes,
        5,
        token,
        result,
        [],
        0,
        0,
        10 if state in (DONE, DEAD) else None,
    )


class Script:
    """A history; each method adds a call invoked at `at` that ended one millisecond later."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.took_ms = 1.0

    def call(
        self,
        at: float,
        call: Call,
        reply: Reply | None = None,
        *,
        code: str = "",
        outcome: Outcome | None = None,
        client: str = "c",
    ) -> Operation:
        """Add any call; without a reply or a code its outcome is unknown."""
        known = Outcome.OK if reply is not None else Outcome.REFUSED if code else Outcome.UNKNOWN
        operation = Operation(
            client,
            len(self.operations),
            call,
            at,
            at + self.took_ms,
            outcome or known,
            reply,
            code,
        )
        self.operations.append(operation)
        return operation

    def replace(self, place: int, newest: Operation) -> None:
        """Put the call that was added last in the place of an earlier one."""
        self.operations[place] = newest
        self.operations.pop()

    def insert(self, place: int, newest: Operation) -> None:
        """Put the call that was added last before an earlier one."""
        self.operations.pop()
        self.operations.insert(place, newest)

    def enqueue(
        self,
        at: float,
        *ids: bytes,
        queue: str = "q",
        payload: bytes = b"p",
        priority: int = 5,
        delay_ms: int = 0,
        attempts_max: int = 5,
        created: bool = True,
        state: TaskState | None = None,
        lost: bool = False,
        code: str = "",
    ) -> Operation:
        """Add an enqueue that was acknowledged, or lost, or refused with a code."""
        call = Enqueue(
            queue, [NewTask(id_, payload, priority, delay_ms, attempts_max) for id_ in ids]
        )
        state = state or (SCHEDULED if delay_ms else READY)
        reply = Enqueued([EnqueuedTask(id_, state, created) for id_ in ids])
        return self.call(at, call, None if lost or code else reply, code=code)

    def lease(
        self,
        at: float,
        *leases: LeasedTask,
        worker: str = "w",
        request: str | None = None,
        lease_ms: int = 1_000,
        queues: Sequence[str] = ("q",),
        is_repeat: bool = False,
        lost: bool = False,
        wait_ms: int = 0,
    ) -> Operation:
        """Add a lease call and what it got."""
        request = f"r{len(self.operations)}" if request is None else request
        call = LeaseCall(list(queues), max(len(leases), 1), lease_ms, worker, request, wait_ms)
        return self.call(at, call, None if lost else Leased(list(leases), is_repeat))

    def ack(
        self,
        at: float,
        token: int,
        result: bytes | None = None,
        *,
        accepted: bool = True,
        lost: bool = False,
    ) -> Operation:
        """Add an ack."""
        return self._settle(at, Ack([AckItem(token, result)]), accepted and DONE, lost)

    def fail(
        self, at: float, token: int, state: TaskState | None = READY, *, lost: bool = False
    ) -> Operation:
        """Add a fail; without a state it is refused."""
        return self._settle(at, Fail([FailItem(token, "no")]), state or False, lost)

    def requeue(
        self, at: float, token: int, delay_ms: int = 0, *, accepted: bool = True, lost: bool = False
    ) -> Operation:
        """Add a requeue."""
        state = accepted and (SCHEDULED if delay_ms else READY)
        return self._settle(at, Requeue([RequeueItem(token, delay_ms)]), state, lost)

    def extend(
        self,
        at: float,
        token: int,
        lease_ms: int = 1_000,
        *,
        accepted: bool = True,
        lost: bool = False,
    ) -> Operation:
        """Add an extension."""
        return self._settle(at, Extend([ExtendItem(token, lease_ms)]), accepted and LEASED, lost)

    def _settle(self, at: float, call: Call, state: TaskState | bool, lost: bool) -> Operation:
        settled = SettledTask(state) if isinstance(state, TaskState) else None
        reply = Settled([settled or SettledTask(None, "lease_lost")])
        return self.call(at, call, None if lost else reply)

    def read(self, at: float, found: TaskStatus | bytes, *, is_stale: bool = False) -> Operation:
        """Add a read of a task; an id alone is a task that was not found."""
        consistency = Consistency.STALE if is_stale else Consistency.LINEARIZABLE
        if isinstance(found, bytes):
            return self.call(at, TaskCall(found, consistency), code="unknown_task")
        return self.call(at, TaskCall(found.id, consistency), found)

    def count(
        self, at: float, enqueued: int, done: int = 0, waiting: int | None = None
    ) -> Operation:
        """Add a read of the counts of the queue `q`."""
        counts = {"done": done, "ready": enqueued - done if waiting is None else waiting}
        return self.call(at, QueueCall("q"), QueueStatus("q", enqueued, counts))
