"""A machine and what was seen of it: who was started when, and what became of whom."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.support.command_strategies import Scene
from tests.support.machines import START_AT_MS, entry

from raftq.core.applied import Applied
from raftq.core.machine import Machine
from raftq.protocol.commands import Ack, AckItem, Command, Lease
from raftq.protocol.fields import TaskState
from raftq.protocol.options import TaskFilter
from raftq.protocol.replies import CommandReply, Leased, LeasedTask, Settled, SettledTask
from raftq.protocol.statuses import TaskStatus

ALL = TaskFilter()
LEASE_MS = 10_000


@dataclass
class Play:
    """Applies entries; what is answered and what happened is kept.

    Args:
        machine: What gets the entries.
        check: Called after each entry.
    """

    machine: Machine = field(default_factory=Machine)
    check: Callable[["Play"], None] = lambda play: None
    wall_at_ms: int = START_AT_MS
    index: int = 0
    calls: int = 0
    events: list[tuple[TaskState, bytes]] = field(default_factory=list[tuple[TaskState, bytes]])
    """All that became of tasks, in order."""
    starts: list[tuple[int, LeasedTask]] = field(default_factory=list[tuple[int, LeasedTask]])
    """When, in wall time, which lease was granted."""

    def apply(self, *commands: Command, lease_ms: int = 0, wall_ms: int = 0) -> list[CommandReply]:
        """Apply an entry and return the replies to its commands."""
        self.wall_at_ms += wall_ms
        self.index += 1
        raw = entry(*commands, lease_ms=lease_ms, wall_at_ms=self.wall_at_ms)
        applied = self.machine.apply(raw, self.index)
        assert applied.rejected is None and applied.errors == 0, applied
        self._note(applied)
        replies = [self.machine.answer(reply) for reply in applied.replies]
        for reply in replies:
            if isinstance(reply, Leased) and not reply.is_repeat:
                self.starts += [(self.wall_at_ms, lease) for lease in reply.leases]
        self.check(self)
        return replies

    def _note(self, applied: Applied) -> None:
        for event in applied.events:
            self.events += [(event.state, each) for each in event.ids]

    def one(self, command: Command) -> CommandReply:
        """Apply an entry of one command."""
        (reply,) = self.apply(command)
        return reply

    def lease(self, *queues: str, count: int = 1, lease_ms: int = LEASE_MS) -> list[LeasedTask]:
        """Ask for leases under a new request id."""
        self.calls += 1
        reply = self.one(Lease([*queues] or ["a"], count, lease_ms, "w", f"call-{self.calls}"))
        assert isinstance(reply, Leased), reply
        return reply.leases

    def ack(self, lease: LeasedTask, result: bytes | None = None) -> SettledTask:
        """Record a task as done."""
        reply = self.one(Ack([AckItem(lease.token, result)]))
        assert isinstance(reply, Settled), reply
        return reply.items[0]

    def scene(self) -> Scene:
        """Return what there is for commands to be about."""
        tasks = self.tasks()
        return Scene(
            [each.id for each in tasks],
            [each.token for each in tasks if each.token and each.worker is not None],
            max((lease.token for _, lease in self.starts), default=0),
            {
                each.name: (each.revision, each.next_at_ms or 0)
                for each in self.machine.schedule_list().schedules
            },
        )

    def apply_drawn(
        self, drawn: Sequence[Command], lease_ms: int = 0, wall_ms: int = 0
    ) -> list[CommandReply]:
        """Apply an entry of commands with placeholders."""
        scene = self.scene()
        commands = [scene.command(each) for each in drawn]
        return self.apply(*commands, lease_ms=lease_ms, wall_ms=wall_ms)

    def tasks(self, wanted: TaskFilter = ALL) -> list[TaskStatus]:
        """Return the tasks that are known, oldest first."""
        return self.machine.tasks_page(wanted, 0, 1_000).tasks

    def state(self, task_id: bytes) -> TaskState:
        """Return the state of a task that is known."""
        status = self.machine.task(task_id)
        assert status is not None
        return status.state

    def drain(self) -> None:
        """Run all that can be run to its end, letting time pass where something waits for it."""
        for _ in range(300):
            leases = self.lease(*self.machine.queues()[:32], count=100) if self.has_queues else []
            for lease in leases:
                self.ack(lease)
            if leases:
                continue
            due_at_ms = self.machine.next_wall_due_at_ms()
            if due_at_ms is None or not any(_is_waiting(each) for each in self.tasks()):
                return
            self.apply(wall_ms=max(0, due_at_ms - self.wall_at_ms))
        raise AssertionError("it never ends")

    @property
    def has_queues(self) -> bool:
        """Tell whether there is anything to lease from."""
        return bool(self.machine.queues())


def _is_waiting(task: TaskStatus) -> bool:
    return task.state in (TaskState.SCHEDULED, TaskState.BLOCKED, TaskState.READY)
