"""A queue machine driven by hand; every step goes through the bytes of a real log entry."""

from raftq.core.applied import Applied
from raftq.core.machine import Machine
from raftq.protocol import codec, limits
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
    Lease,
    Requeue,
    RequeueItem,
)
from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask
from raftq.protocol.replies import CommandReply, Enqueued, Leased, LeasedTask, Settled, SettledTask
from raftq.protocol.versions import ENTRY_VERSION

LEASE_MS = 10_000
START_AT_MS = 1_700_000_000_000


def task_id(number: int) -> bytes:
    """Return a task id that shows a number."""
    return number.to_bytes(16, "big")


def entry(*commands: Command, lease_ms: int = 0, wall_at_ms: int = 0) -> bytes:
    """Return the bytes of a log entry."""
    return codec.encode(Entry(ENTRY_VERSION, lease_ms, wall_at_ms, list(commands)))


class Driver:
    """Applies commands to a machine and keeps the leader's wall clock.

    Every refusal of an entry, every internal error and every broken invariant fails the test.
    """

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = Machine() if machine is None else machine
        self.wall_at_ms = max(START_AT_MS, self.machine.wall_now_ms)
        self.checks_invariants = True
        self._requests = 0
        self.apply()  # The first entry sets the wall time, so that hashes can be compared.

    # ------------------------------------------------------------ entries

    def apply(self, *commands: Command, lease_ms: int = 0) -> Applied:
        applied = self.machine.apply(
            entry(*commands, lease_ms=lease_ms, wall_at_ms=self.wall_at_ms)
        )
        assert applied.rejected is None and applied.errors == 0, applied
        if self.checks_invariants:
            self.machine.check_invariants()
        return applied

    def one(self, command: Command) -> CommandReply:
        (reply,) = self.apply(command).replies
        return self.machine.answer(reply)

    def pass_lease_ms(self, duration_ms: int) -> Applied:
        """Let lease time pass; returns the effects of the last entry."""
        while duration_ms > limits.LEASE_TIME_STEP_MAX_MS:
            self.apply(lease_ms=limits.LEASE_TIME_STEP_MAX_MS)
            duration_ms -= limits.LEASE_TIME_STEP_MAX_MS
        return self.apply(lease_ms=duration_ms)

    def pass_wall_ms(self, duration_ms: int) -> Applied:
        """Let wall time pass, or go back."""
        self.wall_at_ms += duration_ms
        return self.apply()

    # ------------------------------------------------------------ commands

    def enqueue(
        self,
        *numbers: int,
        queue: str = "q",
        payload: bytes = b"payload",
        priority: int = limits.PRIORITY_DEFAULT,
        delay_ms: int = 0,
        attempts_max: int = limits.ATTEMPTS_MAX_DEFAULT,
    ) -> Enqueued:
        new = [
            NewTask(task_id(number), payload, priority, delay_ms, attempts_max)
            for number in numbers
        ]
        reply = self.one(Enqueue(queue, new))
        assert isinstance(reply, Enqueued), reply
        return reply

    def request(
        self,
        request_id: str,
        count: int = 1,
        queues: tuple[str, ...] = ("q",),
        worker: str = "w",
        lease_ms: int = LEASE_MS,
    ) -> Leased:
        """Ask for leases under a request id."""
        reply = self.one(Lease(list(queues), count, lease_ms, worker, request_id))
        assert isinstance(reply, Leased), reply
        return reply

    def lease(self, count: int = 1, lease_ms: int = LEASE_MS) -> list[LeasedTask]:
        """Ask for leases under a new request id."""
        self._requests += 1
        return self.request(f"own-{self._requests}", count, lease_ms=lease_ms).leases

    def lease_numbers(self, count: int = 1) -> list[int]:
        """Lease and return the numbers of the tasks, in the order given out."""
        return [int.from_bytes(lease.task_id, "big") for lease in self.lease(count)]

    def _settle(self, command: Command) -> SettledTask:
        reply = self.one(command)
        assert isinstance(reply, Settled), reply
        (item,) = reply.items
        return item

    def ack(self, token: int, result: bytes | None = None) -> SettledTask:
        return self._settle(Ack([AckItem(token, result)]))

    def fail(self, token: int, error: str = "broken") -> SettledTask:
        return self._settle(Fail([FailItem(token, error)]))

    def requeue(self, token: int, delay_ms: int = 0) -> SettledTask:
        return self._settle(Requeue([RequeueItem(token, delay_ms)]))

    def extend(self, token: int, lease_ms: int = LEASE_MS) -> SettledTask:
        return self._settle(Extend([ExtendItem(token, lease_ms)]))

    def run(self, *numbers: int, result: bytes | None = None) -> None:
        """Take tasks from enqueue to done, one after the other."""
        for number in numbers:
            self.enqueue(number)
            (lease,) = self.lease()
            assert lease.task_id == task_id(number)
            self.ack(lease.token, result)

    # ------------------------------------------------------------ looking

    def state(self, number: int) -> TaskState | None:
        status = self.machine.task(task_id(number))
        return None if status is None else status.state

    def hashes(self) -> tuple[str, str]:
        """Return both hashes: of the changes, and of the content."""
        return self.machine.state_hash, self.machine.content_hash()
