"""Ticks that have come, as commands: proposed by the leader, exactly once by what they name.

A command names the schedule's revision and the tick that it waits for, and the machine ignores
one that does not match. Two leaders may therefore propose the same tick, and a command whose
outcome is unknown needs no care: whoever leads next sees whether the tick has been judged.
"""

import asyncio
import logging
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from google_crc32c import value as crc32c

from raftq.consensus.contract import Replica
from raftq.core.schedules import ScheduleEntry
from raftq.protocol import limits
from raftq.protocol.control import FireSchedule
from raftq.protocol.errors import InvalidRequest, UnavailableError
from raftq.protocol.options import NewTask, Schedule
from raftq.protocol.replies import CommandReply
from raftq.server.schedules.ticks import judge

_log = logging.getLogger(__name__)

_COMMANDS_MAX: Final = 100
_PAYLOAD_BYTES_MAX: Final = 1 * limits.MIB
"""Commands that are made in one turn of the loop, and what they carry."""
_VERSION_7: Final = 0x7000
_VARIANT: Final = 0x8000_0000_0000_0000


class Firing:
    """Proposes what is due, one batch after another.

    Args:
        replica: This node's.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._loop = asyncio.get_running_loop()
        self.proposed = 0
        """Commands that are on their way."""
        self._unreadable: dict[str, int] = {}
        """Revisions of schedules that this node cannot evaluate."""

    def fire(self) -> None:
        """Propose the ticks that have come, unless some are on their way; does not wait."""
        if self.proposed or not self._replica.is_leader:
            return
        deadline = self._loop.time() + limits.TIMEOUT_MS_DEFAULT / 1_000
        for command in self._due():
            try:
                proposal = self._replica.propose(command, deadline)
            except UnavailableError:
                return  # Whoever leads then, or has room, finds the tick still waiting.
            self.proposed += 1
            proposal.add_done_callback(self._on_done)

    def overdue_ms(self) -> int:
        """Return for how long the schedule has waited whose tick came first; 0 if none waits."""
        next_at_ms = self._replica.machine.next_schedule_at_ms()
        if next_at_ms is None or not self._replica.is_leader:
            return 0
        return max(self._replica.wall_ms - next_at_ms, 0)

    def _on_done(self, proposal: "asyncio.Future[CommandReply]") -> None:
        self.proposed -= 1
        failed = proposal.cancelled() or proposal.exception() is not None
        if not failed and not self.proposed:
            self.fire()

    def _due(self) -> Iterator[FireSchedule]:
        """Yield commands for ticks that have come, a bounded number."""
        machine, now_ms = self._replica.machine, self._replica.wall_ms
        left, left_bytes = _COMMANDS_MAX, _PAYLOAD_BYTES_MAX
        for entry in machine.schedules.due(now_ms, _COMMANDS_MAX + len(self._unreadable)):
            if left <= 0 or left_bytes <= 0:
                return
            for command in self._read(entry, machine.cluster_id or "", now_ms, left):
                left -= 1
                left_bytes -= 0 if command.task is None else len(command.task.payload)
                yield command

    def _read(
        self, entry: ScheduleEntry, cluster_id: str, now_ms: int, count_max: int
    ) -> list[FireSchedule]:
        """Return a schedule's commands; none if this node cannot read it, which is logged once."""
        if self._unreadable.get(entry.name) == entry.revision:
            return []
        try:
            commands = fire_commands(entry, cluster_id, now_ms, count_max)
        except InvalidRequest as error:
            self._unreadable[entry.name] = entry.revision
            _log.error(
                "schedule_unreadable", extra={"schedule": entry.name, "reason": error.message}
            )
            return []
        self._unreadable.pop(entry.name, None)
        return commands


def fire_commands(
    entry: ScheduleEntry, cluster_id: str, now_ms: int, count_max: int = _COMMANDS_MAX
) -> list[FireSchedule]:
    """Return what fires the ticks of a schedule that have come, in order.

    Args:
        entry: The schedule; its tick has come.
        cluster_id: Of the cluster.
        now_ms: Wall time.
        count_max: Ticks at a time.

    Raises:
        InvalidRequest: This node cannot read the schedule: it lacks the time zone, for example.
    """
    schedule = entry.schedule
    return [
        FireSchedule(
            entry.name,
            entry.revision,
            tick.tick_at_ms,
            tick.next_at_ms,
            _task(cluster_id, entry, tick.tick_at_ms) if tick.runs else None,
            tick.skipped,
        )
        for tick in judge(schedule, entry.next_at_ms, now_ms, count_max)
    ]


def _task(cluster_id: str, entry: ScheduleEntry, tick_at_ms: int) -> NewTask:
    schedule = entry.schedule
    return NewTask(
        tick_task_id(cluster_id, entry.name, entry.revision, tick_at_ms),
        schedule.payload,
        schedule.priority,
        _jitter_ms(schedule, entry.name, tick_at_ms),
        schedule.attempts_max,
        options=schedule.options,
    )


def tick_task_id(cluster_id: str, name: str, revision: int, tick_at_ms: int) -> bytes:
    """Return the id of a tick's task: a UUIDv7 of the tick's time, the same whoever makes it."""
    named = f"{cluster_id}\0{name}\0{revision}\0{tick_at_ms}".encode()
    chance = int.from_bytes(blake2b(named, digest_size=10).digest())
    begin = (tick_at_ms & 2**48 - 1) << 16 | _VERSION_7 | chance >> 68
    return begin.to_bytes(8) + (_VARIANT | chance & 2**62 - 1).to_bytes(8)


def _jitter_ms(schedule: Schedule, name: str, tick_at_ms: int) -> int:
    if not schedule.jitter_ms:
        return 0
    return crc32c(f"{name}\0{tick_at_ms}".encode()) % schedule.jitter_ms
