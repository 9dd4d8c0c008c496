"""Random executions of a correct cluster: the real machine, a log, and an unfriendly network.

The fault model: a call is sent once or several times; each copy is lost, or applied after a delay
of any length (also after the call was answered or given up); each reply is lost or late. There are
pauses in which nothing is applied and lease time stands still, with a grace period after them.
The wall clock of the leader of the day is off by up to `WALL_ERROR_MS`. Some workers die with
their leases, some settle late, twice, in two ways, or with a lease that was superseded.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from google_crc32c import value as crc32c

from raftq.core.machine import Machine
from raftq.protocol import codec
from raftq.protocol.calls import Call, LeaseCall, QueueCall, TaskCall
from raftq.protocol.commands import (
    Ack,
    AckItem,
    Command,
    Enqueue,
    Entry,
    Extend,
    ExtendItem,
    Fail,
    FailItem,
    Requeue,
    RequeueItem,
    Settlement,
)
from raftq.protocol.errors import CommitTimeout, NoLeader, UnknownTask, error_from_code
from raftq.protocol.options import NewTask
from raftq.protocol.replies import CommandReply, Leased, LeasedTask, Rejected, Reply
from raftq.protocol.statuses import TaskStatus
from raftq.protocol.versions import ENTRY_VERSION
from raftq.testing.checks import Bounds
from raftq.testing.facts import AppliedEntry, ClusterFacts, LeaderSeen, LeaseExpired
from raftq.testing.history import History, Operation

WALL_ERROR_MS: Final = 300
_GRACE_MS: Final = 500.0
_QUEUES: Final[tuple[str, ...]] = ("mail", "bulk")


@dataclass(slots=True)
class Settings:
    """How unfriendly the world is."""

    clients: int = 6
    duration_ms: float = 20_000.0
    loss: float = 0.1
    again: float = 0.2
    delay_ms: float = 30.0
    pauses: int = 3


@dataclass(slots=True)
class _Running:
    """A call on its way."""

    operation: Operation
    copies_left: int
    was_applied: bool = False


class Execution:
    """One random run; `history`, `facts` and `bounds` are what the checks get."""

    def __init__(self, seed: int, settings: Settings | None = None) -> None:
        self.random = Random(seed)
        self.settings = Settings() if settings is None else settings
        self.now_ms = 0.0
        self.machine = Machine()
        self.read_task: Callable[[bytes], TaskStatus | None] = self.machine.task
        """How a read finds a task; a test may put a broken way here."""
        self.history = History(lambda: self.now_ms)
        self.facts = ClusterFacts()
        self.bounds = Bounds(wall_error_ms=2 * WALL_ERROR_MS, call_life_ms=20_000)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = 0
        self._index = 0
        self._term = 1
        self._lease_from_ms = 0.0
        self._wall_error_ms = 0
        self._paused_until_ms = 0.0
        self._held: dict[str, list[LeasedTask]] = {}
        self._known: list[NewTask] = []
        self._delivered: list[bytes] = []
        self._queue_of: dict[bytes, str] = {}
        self._leased: dict[int, tuple[bytes, int]] = {}

    def run(self) -> "Execution":
        """Run to the end and record the final state."""
        self._elect()
        for number in range(self.settings.clients):
            self._later(self.random.uniform(0, 50), self._client(f"c{number}"))
        for _ in range(self.settings.pauses):
            self._at(self.random.uniform(0, self.settings.duration_ms), self._pause)
        while self._events:
            self.now_ms, _, action = heapq.heappop(self._events)
            action()
        self.facts.keep_machine("n1", self._index, self.machine)
        return self

    # ------------------------------------------------------------ the world

    def _at(self, at_ms: float, action: Callable[[], None]) -> None:
        self._numbers += 1
        heapq.heappush(self._events, (at_ms, self._numbers, action))

    def _later(self, delay_ms: float, action: Callable[[], None]) -> None:
        self._at(self.now_ms + delay_ms, action)

    def _delay(self) -> float:
        """Mostly short; sometimes a copy is stuck for seconds."""
        if self.random.random() < 0.03:
            return self.random.uniform(0, 5_000)
        return self.random.expovariate(1 / self.settings.delay_ms)

    def _pause(self) -> None:
        self._paused_until_ms = self.now_ms + self.random.uniform(50, 4_000)
        self._at(self._paused_until_ms, self._elect)

    def _elect(self) -> None:
        self._term += 1
        self.facts.events.append(LeaderSeen(self.now_ms, f"n{self._term % 3}", self._term))
        self._lease_from_ms = self.now_ms + _GRACE_MS
        self._wall_error_ms = self.random.randint(-WALL_ERROR_MS, WALL_ERROR_MS)

    def _apply(self, commands: list[Command]) -> list[CommandReply]:
        advance_ms = max(int(self.now_ms - self._lease_from_ms), 0)
        self._lease_from_ms += advance_ms
        wall_at_ms = 1_000_000 + int(self.now_ms) + self._wall_error_ms
        raw = codec.encode(Entry(ENTRY_VERSION, min(advance_ms, 60_000), wall_at_ms, commands))
        self._index += 1
        applied = self.machine.apply(raw, self._index)
        assert applied.rejected is None and not applied.errors
        for node in ("n0", "n1", "n2"):
            entry = AppliedEntry(
                self.now_ms,
                node,
                self._index,
                self._term,
                crc32c(raw),
                self.machine.state_hash,
                self._term,
            )
            self.facts.events.append(entry)
        self._note_expirations()
        replies = [self.machine.answer(reply) for reply in applied.replies]
        for reply in replies:
            if isinstance(reply, Leased):
                for lease in reply.leases:
                    status = self.machine.task(lease.task_id)
                    assert status is not None
                    self._leased[lease.token] = lease.task_id, status.crashes
        return replies

    def _note_expirations(self) -> None:
        for token, (task_id, crashes) in list(self._leased.items()):
            status = self.machine.task(task_id)
            assert status is not None
            if status.token == token and status.state == "leased":
                continue
            del self._leased[token]
            if status.crashes > crashes:
                self.facts.events.append(LeaseExpired(self.now_ms, "n1", task_id, token))

    # ------------------------------------------------------------ one call

    def _call(self, client: str, call: Call) -> None:
        operation = self.history.invoke(client, call)
        copies = 1
        while self.random.random() < self.settings.again:
            copies += 1
        running = _Running(operation, copies)
        start_ms = 0.0
        for _ in range(copies):
            if self.random.random() < self.settings.loss:
                self._later(start_ms, lambda: self._gone(running))
            else:
                self._later(start_ms + self._delay(), lambda: self._arrive(running))
            start_ms += self.random.uniform(5, 200)
        self._later(1_500, lambda: self._give_up(running))

    def _gone(self, running: _Running) -> None:
        running.copies_left -= 1

    def _arrive(self, running: _Running) -> None:
        if self.now_ms < self._paused_until_ms:
            self._at(
                self._paused_until_ms + self.random.uniform(0, 20), lambda: self._arrive(running)
            )
            return
        running.copies_left -= 1
        running.was_applied = True
        try:
            reply = self._execute(running.operation.call)
        except UnknownTask as error:
            failure = error
            self._answer(running, lambda: self.history.fail(running.operation, failure))
            return
        if isinstance(reply, Rejected):
            refusal = error_from_code(reply.code, reply.message, {})
            self._answer(running, lambda: self.history.fail(running.operation, refusal))
        else:
            self._answer(running, lambda: self._succeed(running.operation, reply))

    def _answer(self, running: _Running, record: Callable[[], None]) -> None:
        if self.random.random() < self.settings.loss:
            return

        def arrive() -> None:
            if running.operation.ended_at_ms is None:
                record()
                self._next(running.operation.client)

        self._later(self._delay(), arrive)

    def _give_up(self, running: _Running) -> None:
        operation = running.operation
        if operation.ended_at_ms is not None:
            return
        if running.copies_left == 0 and not running.was_applied:
            self.history.fail(operation, NoLeader("no copy arrived"))
        else:
            self.history.fail(operation, CommitTimeout("no answer"))
        self._next(operation.client)

    def _succeed(self, operation: Operation, reply: Reply) -> None:
        self.history.ok(operation, reply)
        if isinstance(reply, Leased):
            self._held.setdefault(operation.client, []).extend(reply.leases)
            self._delivered.extend(lease.task_id for lease in reply.leases)

    def _execute(self, call: Call) -> Reply | Rejected:
        match call:
            case LeaseCall():
                return self._commit(call.command())
            case TaskCall(task_id=task_id):
                status = self.read_task(task_id)
                if status is None:
                    raise UnknownTask("no such task")
                return status
            case QueueCall(queue=queue):
                return self.machine.queue(queue)
            case Enqueue() | Ack() | Fail() | Requeue() | Extend():
                return self._commit(call)
            case _:
                raise AssertionError("not called here")

    def _commit(self, command: Command) -> Reply | Rejected:
        reply = self._apply([command])[0]
        assert not isinstance(reply, Rejected) or reply.code != "internal"
        return reply

    # ------------------------------------------------------------ clients

    def _next(self, client: str) -> None:
        if self.now_ms < self.settings.duration_ms:
            self._later(self.random.expovariate(1 / 40), self._client(client))

    def _client(self, client: str) -> Callable[[], None]:
        return lambda: self._call(client, self._choose(client))

    def _choose(self, client: str) -> Call:
        held = self._held.setdefault(client, [])
        if self.now_ms % 6_000 < 2_000 and self.random.random() < 0.85:
            return self._enqueue()  # From time to time a queue grows long.
        kind = self.random.random()
        if kind < 0.2:
            return self._enqueue()
        if held and kind < 0.65:
            return self._settle(held)
        if kind < 0.85:
            return self._lease(client)
        if self._known and kind < 0.95:
            recent = [new.id for new in self._known[-6:]] + self._delivered[-6:]
            return TaskCall(self.random.choice(recent))
        return QueueCall(self.random.choice(_QUEUES))

    def _enqueue(self) -> Enqueue:
        if self._known and self.random.random() < 0.15:
            again = self.random.choice(self._known[-20:])
            payload = again.payload if self.random.random() < 0.8 else b"other"
            new = NewTask(again.id, payload, again.priority, again.delay_ms, again.attempts_max)
            return Enqueue(self._queue_of[again.id], [new])
        queue = self.random.choice(_QUEUES)
        new_tasks: list[NewTask] = []
        for _ in range(self.random.choice((1, 1, 3, 6))):
            delay_ms = self.random.choice((0, 0, 0, 0, 700, 2_500))
            task_id = self.random.randbytes(16)
            priority, attempts_max = self.random.choice((2, 5)), self.random.choice((1, 3))
            new_tasks.append(NewTask(task_id, task_id[:4], priority, delay_ms, attempts_max))
            self._queue_of[task_id] = queue
        self._known.extend(new_tasks)
        return Enqueue(queue, new_tasks)

    def _lease(self, client: str) -> LeaseCall:
        calls = [each.call for each in self.history.operations[-200:] if each.client == client]
        asked = [call for call in calls if isinstance(call, LeaseCall)]
        if asked and self.random.random() < 0.15:
            return asked[-1]
        queues: list[str] = list(self.random.sample(_QUEUES, self.random.choice((1, 1, 2))))
        lease_ms = self.random.choice((150, 1_500, 6_000))
        request_id = f"r{len(self.history)}"
        return LeaseCall(queues, self.random.choice((1, 2, 5)), lease_ms, client, request_id)

    def _settle(self, held: list[LeasedTask]) -> Settlement:
        lease = self.random.choice(held)
        kind = self.random.random()
        if kind < 0.25:
            return Extend([ExtendItem(lease.token, self.random.choice((150, 1_500, 6_000)))])
        if self.random.random() < 0.8:
            held.remove(lease)  # Otherwise it is settled again, perhaps in another way.
        if kind < 0.65:
            return Ack([AckItem(lease.token, lease.task_id[:2])])
        if kind < 0.85:
            return Fail([FailItem(lease.token, "no")])
        return Requeue([RequeueItem(lease.token, self.random.choice((0, 0, 2_500)))])
