"""Firing: what a leader proposes, and that each tick counts once, whoever proposes it."""

import logging
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.support.asyncs import asynchronous, turns
from tests.support.fake_replica import FakeReplica

from raftq.protocol import limits
from raftq.protocol.commands import Command
from raftq.protocol.control import DeleteSchedule, FireSchedule, SetSchedule
from raftq.protocol.errors import NotLeader
from raftq.protocol.fields import MissedRuns, Overlap, TaskState
from raftq.protocol.options import Schedule, TaskOptions
from raftq.protocol.statuses import ScheduleStatus
from raftq.server.schedules import Firing, fire_commands, tick_task_id

EVERY_MINUTE = Schedule("q", b"now", every_ms=60_000)


class Bench:
    """Firing on a fake replica whose clock a test sets."""

    def __init__(self) -> None:
        self.replica = FakeReplica()
        self.begin_ms = self.replica.wall_ms
        self.firing = Firing(self.replica)

    def set(self, name: str, schedule: Schedule, in_ms: int = 1_000) -> None:
        """Set a schedule whose first tick comes after a while."""
        self.replica.apply([SetSchedule(name, schedule, self.begin_ms + in_ms)])

    async def fire_at(self, after_ms: int) -> None:
        """Let a time come, and what is due be fired."""
        self.replica.wall_ms = self.begin_ms + after_ms
        self.firing.fire()
        while self.firing.proposed:
            await turns(1)

    def status(self, name: str = "a") -> ScheduleStatus:
        (found,) = self.replica.machine.schedule_list(name).schedules
        return found

    def fired(self) -> list[FireSchedule]:
        return [each for each in self.replica.commands if isinstance(each, FireSchedule)]


# ---------------------------------------------------------------- what is proposed


@asynchronous
async def test_tick_that_has_come_enqueues_its_task() -> None:
    bench = Bench()
    bench.set("a", EVERY_MINUTE)
    await bench.fire_at(999)
    assert bench.fired() == []
    await bench.fire_at(1_000)
    status = bench.status()
    assert (status.runs, status.next_at_ms) == (1, bench.begin_ms + 61_000)
    assert status.last_task is not None
    task = bench.replica.machine.task(status.last_task)
    assert task is not None
    assert (task.queue, task.state) == ("q", TaskState.READY)


@asynchronous
async def test_task_of_a_tick_has_what_the_schedule_says() -> None:
    bench = Bench()
    options = TaskOptions(order_key="k", expires_after_ms=5_000)
    bench.set("a", structs.replace(EVERY_MINUTE, priority=2, attempts_max=3, options=options))
    await bench.fire_at(1_000)
    (command,) = bench.fired()
    assert command.task is not None
    assert (command.task.payload, command.task.priority) == (b"now", 2)
    assert (command.task.attempts_max, command.task.options) == (3, options)


@asynchronous
async def test_only_the_leader_proposes_ticks() -> None:
    bench = Bench()
    bench.set("a", EVERY_MINUTE)
    bench.replica.lead(False)
    await bench.fire_at(5_000)
    bench.replica.lead(True)
    assert (bench.firing.overdue_ms(), bench.fired()) == (4_000, [])
    await bench.fire_at(5_000)
    assert (bench.firing.overdue_ms(), len(bench.fired())) == (0, 1)


@asynchronous
async def test_tick_on_its_way_is_not_proposed_again() -> None:
    bench = Bench()
    bench.set("a", EVERY_MINUTE)
    bench.replica.is_holding = True
    bench.replica.wall_ms = bench.begin_ms + 1_000
    for _ in range(3):
        bench.firing.fire()
    assert bench.replica.proposed == 1
    bench.replica.commit()
    await turns()
    assert bench.firing.proposed == 0


@asynchronous
async def test_tick_whose_outcome_is_unknown_is_proposed_again() -> None:
    bench = Bench()
    bench.set("a", EVERY_MINUTE)
    bench.replica.is_holding = True
    bench.replica.wall_ms = bench.begin_ms + 1_000
    bench.firing.fire()
    bench.replica.lead(False)
    await turns()
    bench.replica.lead(True)
    bench.replica.is_holding = False
    await bench.fire_at(1_000)
    assert bench.status().runs == 1


@asynchronous
async def test_proposal_that_is_refused_leaves_the_tick_waiting() -> None:
    bench = Bench()
    bench.set("a", EVERY_MINUTE)
    bench.replica.propose_error = NotLeader("handing over")
    await bench.fire_at(1_000)
    bench.replica.propose_error = None
    assert (bench.status().runs, bench.firing.proposed) == (0, 0)
    await bench.fire_at(1_000)
    assert bench.status().runs == 1


@asynchronous
async def test_many_schedules_are_fired_one_batch_after_another() -> None:
    bench = Bench()
    for number in range(450):
        bench.set(f"s{number}", EVERY_MINUTE)
    before = len(bench.replica.entries)
    await bench.fire_at(1_000)
    assert len(bench.fired()) == 450
    assert len(bench.replica.entries) - before == 5


@asynchronous
async def test_one_batch_carries_a_bounded_number_of_payload_bytes() -> None:
    bench = Bench()
    large = structs.replace(EVERY_MINUTE, payload=bytes(limits.SCHEDULE_PAYLOAD_BYTES_MAX))
    for number in range(40):
        bench.set(f"s{number}", large)
    before = len(bench.replica.entries)
    await bench.fire_at(1_000)
    sizes = [len(entry) for entry in bench.replica.entries[before:]]
    assert sizes == [16, 16, 8]


@asynchronous
async def test_schedule_behind_one_with_many_missed_runs_is_fired_as_well() -> None:
    bench = Bench()
    bench.set("a", structs.replace(EVERY_MINUTE, missed=MissedRuns.ALL))
    bench.set("b", structs.replace(EVERY_MINUTE, missed=MissedRuns.SKIP), in_ms=1_100)
    await bench.fire_at(1_000 + 700 * limits.MINUTE_MS)
    assert bench.status("a").runs == 701
    assert (bench.status("b").runs, bench.status("b").skipped) == (1, 699)


@asynchronous
async def test_schedule_that_this_node_cannot_read_is_logged_once_and_holds_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    for number in range(300):
        bench.set(f"bad{number}", Schedule("q", b"", cron="* * * * *", timezone="Mars/Base"))
    bench.set("good", EVERY_MINUTE, in_ms=2_000)
    with caplog.at_level(logging.ERROR):
        for _ in range(6):  # Each looks at one batch of those that were not looked at before.
            await bench.fire_at(2_000)
    assert bench.status("good").runs == 1
    assert [each.message for each in caplog.records] == ["schedule_unreadable"] * 300
    assert "Mars/Base" in getattr(caplog.records[0], "reason", "")
    bench.set("bad0", EVERY_MINUTE, in_ms=2_000)
    await bench.fire_at(2_000)
    assert bench.status("bad0").runs == 1


# ---------------------------------------------------------------- ids and jitter


def test_id_of_a_ticks_task_is_a_uuid7_of_its_time() -> None:
    made = UUID(bytes=tick_task_id("c", "a", 7, 1_795_348_800_123))
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == 1_795_348_800_123


def test_ids_differ_by_cluster_name_revision_and_tick_and_are_the_same_again() -> None:
    ids = {
        tick_task_id(cluster, name, revision, tick)
        for _ in range(2)
        for cluster in ("c", "d")
        for name in ("a", "b")
        for revision in (1, 11)
        for tick in (1_000, 2_000)
    }
    assert len(ids) == 16


@asynchronous
async def test_jitter_delays_each_run_by_its_tick_and_less_than_told() -> None:
    bench = Bench()
    bench.set("a", structs.replace(EVERY_MINUTE, jitter_ms=10_000))
    (entry,) = bench.replica.machine.schedules.due(bench.begin_ms + 1_000)
    commands = fire_commands(entry, "c", bench.begin_ms + 55_000 + 1_000)
    assert commands == fire_commands(entry, "c", bench.begin_ms + 5_000)
    delays: set[int] = set()
    for minute in range(20):
        await bench.fire_at(1_000 + minute * 60_000)
        task = bench.fired()[-1].task
        assert task is not None
        assert 0 <= task.delay_ms < 10_000
        delays.add(task.delay_ms)
    assert len(delays) > 15


# ---------------------------------------------------------------- what the machine makes of it


@pytest.mark.parametrize(
    ("overlap", "runs", "skipped", "first_state"),
    [
        (Overlap.ALLOW, 2, 0, TaskState.READY),
        (Overlap.SKIP, 1, 1, TaskState.READY),
        (Overlap.REPLACE, 2, 0, TaskState.CANCELLED),
    ],
)
@asynchronous
async def test_tick_while_the_last_task_is_not_over_does_what_overlap_says(
    overlap: Overlap, runs: int, skipped: int, first_state: TaskState
) -> None:
    bench = Bench()
    bench.set("a", structs.replace(EVERY_MINUTE, overlap=overlap))
    await bench.fire_at(1_000)
    first = bench.status().last_task
    assert first is not None
    await bench.fire_at(61_000)
    status, task = bench.status(), bench.replica.machine.task(first)
    assert task is not None
    assert (status.runs, status.skipped, task.state) == (runs, skipped, first_state)


@asynchronous
async def test_deleted_schedule_fires_no_more_and_its_tasks_stay() -> None:
    bench = Bench()
    bench.set("a", EVERY_MINUTE)
    await bench.fire_at(1_000)
    bench.replica.apply([DeleteSchedule("a")])
    await bench.fire_at(10 * limits.MINUTE_MS)
    assert len(bench.fired()) == 1
    assert bench.replica.machine.queue("q").counts["ready"] == 1


@asynchronous
async def test_two_leaders_that_propose_the_same_tick_enqueue_one_task() -> None:
    bench = Bench()
    bench.set("a", EVERY_MINUTE)
    (entry,) = bench.replica.machine.schedules.due(bench.begin_ms + 1_000)
    deposed = fire_commands(entry, "c", bench.begin_ms + 1_000)
    current = fire_commands(entry, "c", bench.begin_ms + 1_010)
    bench.replica.apply([*deposed])
    hash_once = bench.replica.machine.state_hash
    bench.replica.apply([*current])
    bench.replica.apply([*deposed])
    assert bench.replica.machine.state_hash == hash_once
    assert bench.status().runs == 1
    assert bench.replica.machine.queue("q").enqueued == 1


@given(
    st.sampled_from(MissedRuns),
    st.lists(st.tuples(st.integers(0, 400_000), st.integers(0, 2)), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_each_tick_is_judged_once_whatever_leaders_propose_and_however_late_it_arrives(
    missed: MissedRuns, leaders: list[tuple[int, int]], chance: Random
) -> None:
    every_ms, begin_ms = 7_000, 1_700_000_000_000
    replica = FakeReplica()
    schedule = Schedule("q", b"", every_ms=every_ms, missed=missed)
    replica.apply([SetSchedule("a", schedule, begin_ms)])
    proposed: list[list[Command]] = []
    for after_ms, arriving in leaders:
        for entry in replica.machine.schedules.due(begin_ms + after_ms):
            proposed.append([*fire_commands(entry, "c", begin_ms + after_ms)])
        for commands in chance.choices(proposed, k=arriving if proposed else 0):
            replica.apply(commands)
    for commands in chance.sample(proposed, len(proposed)):
        replica.apply(commands)
    (status,) = replica.machine.schedule_list("a").schedules
    assert status.next_at_ms is not None
    assert status.runs + status.skipped == (status.next_at_ms - begin_ms) // every_ms
    assert replica.machine.queue("q").enqueued == status.runs
    assert missed is not MissedRuns.ALL or status.skipped == 0
