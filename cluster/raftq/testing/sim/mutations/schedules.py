"""Mutations of schedules."""

from typing import Final

from raftq.core.schedules import ScheduleEntry, ScheduleRow, Schedules
from raftq.protocol.control import FireSchedule
from raftq.server.schedules import firing as firing_module
from raftq.server.schedules.ticks import Judged
from raftq.testing.sim.mutations.mutation import Inside, Mutation
from raftq.testing.sim.patching import Patch, original


def _tick_match() -> list[Patch]:
    def fire_check(self: Inside, command: FireSchedule) -> ScheduleEntry | None:
        """Return the schedule of that name, whatever it waits for."""
        return self._entries.get(command.name) if command.next_at_ms else None

    def propose_again(self: Inside) -> None:
        """Propose what is due, though it may be on its way."""
        self.proposed = 0
        original_fire(self)

    original_fire: Inside = original(firing_module.Firing, "fire")
    return [(Schedules, "fire_check", fire_check), (firing_module.Firing, "fire", propose_again)]


def _schedule_dump() -> list[Patch]:
    def rows(self: Inside) -> list[ScheduleRow]:
        return []

    return [(Schedules, "rows", rows)]


def _fresh_missed() -> list[Patch]:
    judge: Inside = original(firing_module, "judge")

    def newest_only(*given: Inside) -> list[Judged]:
        """Let only the newest tick run, as if the others were of no use any more."""
        judged: list[Judged] = judge(*given)
        last = judged[-1]
        first = judged[0].tick_at_ms
        return [Judged(first, last.next_at_ms, last.runs, len(judged) - 1)]

    return [(firing_module, "judge", newest_only)]


MUTATIONS: Final[dict[str, Mutation]] = {
    "tick-match": Mutation(
        "a tick is fired whether the schedule waits for it or not", _tick_match, ("schedules",)
    ),
    "tick-chain": Mutation(
        "of ticks that came while nobody led only one is fired", _fresh_missed, ("schedules",)
    ),
    "schedules-dump": Mutation(
        "snapshots leave schedules out", _schedule_dump, ("schedules", "lagging")
    ),
}
