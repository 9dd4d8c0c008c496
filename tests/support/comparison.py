"""Two replicas of the machine and the slow model, which get the same entries."""

from typing import Final

import pytest
from msgspec.structs import astuple, replace
from tests.support.command_strategies import Scene
from tests.support.machines import START_AT_MS, entry
from tests.support.slow_model import SlowModel

from raftq.core import id_table, rows
from raftq.core.applied import Applied
from raftq.core.machine import Machine
from raftq.protocol.commands import Command
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import CommandReply, Rejected
from raftq.protocol.statuses import QueueStatus

TIGHT: Final = {
    "ERRORS_KEPT_PER_TASK": 2,
    "QUEUES_MAX": 4,
    "RESULTS_KEPT_MAX": 3,
    "RESULT_BYTES_KEPT_MAX": 12,
    "RETRY_MEMORY_MS": 1_000,
    "LEASE_REPLY_BYTES_MAX": 9,
    "LEASE_REQUESTS_KEPT_PER_WORKER": 3,
    "LEASE_REQUESTS_KEPT_MAX": 4,
    "LEASE_TOKENS_KEPT_MAX": 7,
    "WORKER_FORGOTTEN_AFTER_MS": 4_000,
    "TASKS_LOOKED_AT_MAX": 5,
    "FOLLOW_UPS_MAX": 2,
    "CHILDREN_MAX": 3,
    "LIMITS_MAX": 1,
    "SCHEDULES_MAX": 1,
}
"""Limits that a short run reaches."""


def comparable(reply: CommandReply) -> CommandReply:
    """Return a reply without the words that only people read."""
    if isinstance(reply, Rejected):
        return Rejected(reply.code, "", reply.retry_after_ms)
    return reply


def lay_out(which: int) -> None:
    """Have the next machine keep its tasks as in production, or so that little fills them.

    Chunks of rows then come and go, rows become objects in the middle of their wait, and the id
    table grows and shrinks, all the time; nobody may notice.
    """
    # Final to everybody else; the test restores them.
    setattr(rows, "ROWS_PER_CHUNK", (1_024, 4)[which])  # noqa: B010
    setattr(rows, "THIN_ROWS", (64, 2)[which])  # noqa: B010
    setattr(id_table, "RECORDS_PER_BUCKET", (64, 1)[which])  # noqa: B010


def restore_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """See to it that what `lay_out` sets is undone after a test."""
    for name in ("ROWS_PER_CHUNK", "THIN_ROWS"):
        monkeypatch.setattr(rows, name, getattr(rows, name))
    monkeypatch.setattr(id_table, "RECORDS_PER_BUCKET", id_table.RECORDS_PER_BUCKET)


class Pair:
    """Two replicas that keep their tasks in different ways, and the model."""

    def __init__(self) -> None:
        self.model = SlowModel()
        self.replicas: list[Machine] = []
        for which in (0, 1):
            lay_out(which)
            self.replicas.append(Machine())
        self.wall_at_ms = START_AT_MS
        self._index = 0
        self.agrees = True
        """Whether the newest entry did to all what it should."""

    def apply(self, commands: list[Command], lease_ms: int, wall_ms: int) -> None:
        """Apply an entry to all, and compare what it did."""
        self.wall_at_ms += wall_ms
        self._index += 1
        self.agrees = False
        before, hash_before = self.model.fingerprint(), self.replicas[0].state_hash
        raw = entry(*commands, lease_ms=lease_ms, wall_at_ms=self.wall_at_ms)
        applied, other = (replica.apply(raw, self._index) for replica in self.replicas)
        assert astuple(applied) == astuple(other), f"replicas: {applied}, {other}"
        expected = self.model.apply(lease_ms, self.wall_at_ms, commands, self._index)
        assert applied.rejected is None and applied.errors == 0, applied
        for replica in self.replicas:
            replies = [replica.answer(reply) for reply in applied.replies]
            told = [comparable(reply) for reply in replies]
            assert told == expected, f"replies: the machine {told}, the model {expected}"
        events = _events(applied)
        world = self.model.world
        assert events == world.events, f"events: the machine {events}, the model {world.events}"
        assert applied.finished == world.finished
        assert set(world.ready) <= set(applied.ready)
        has_changed = self.replicas[0].state_hash != hash_before
        assert has_changed == (self.model.fingerprint() != before)
        self.agrees = True

    def scene(self) -> Scene:
        """Return what there is for commands to be about."""
        world = self.model.world
        return Scene(
            [each.new.id for each in world.tasks],
            [each.token for each in world.tasks if each.lease is not None],
            world.tokens,
            {each.name: (each.revision, each.next_at_ms) for each in world.schedules},
        )

    def queue_seen(self, name: str) -> QueueStatus:
        """Return what a reader of a queue is told, but for the age of its first task."""
        return replace(self.replicas[0].queue(name), oldest_ready_at_ms=None)


def _events(applied: Applied) -> list[tuple[TaskState, str, bytes]]:
    """Return the events of an entry one by one."""
    return [(event.state, event.queue, each) for event in applied.events for each in event.ids]
