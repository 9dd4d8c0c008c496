"""The store of schedules: what is set, what is due, and that each tick is judged once."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from raftq.core.machine import Machine
from raftq.core.schedules import Schedules
from raftq.protocol import codec, limits
from raftq.protocol.commands import Command, Entry
from raftq.protocol.control import FireSchedule, SetSchedule
from raftq.protocol.options import Schedule
from raftq.protocol.versions import ENTRY_VERSION

MINUTELY = Schedule("q", b"m", every_ms=60_000)
HOURLY = Schedule("q", b"h", cron="0 * * * *")


def tick(name: str, revision: int, at_ms: int, next_at_ms: int, skipped: int = 0) -> FireSchedule:
    return FireSchedule(name, revision, at_ms, next_at_ms, None, skipped)


def fire(schedules: Schedules, command: FireSchedule, task: bytes | None = b"t" * 16) -> bool:
    entry = schedules.fire_check(command)
    if entry is not None:
        schedules.fired(entry, command, task)
    return entry is not None


# ---------------------------------------------------------------- setting


def test_schedule_waits_for_its_first_tick() -> None:
    schedules = Schedules()
    assert schedules.set("a", MINUTELY, 1_000, 7)
    (status,) = schedules.statuses("a")
    assert (status.revision, status.next_at_ms, status.runs) == (7, 1_000, 0)
    assert (status.last_tick_at_ms, status.last_task) == (None, None)


def test_setting_what_is_set_changes_nothing() -> None:
    schedules = Schedules()
    schedules.set("a", MINUTELY, 1_000, 7)
    assert not schedules.set("a", MINUTELY, 5_000, 8)
    (status,) = schedules.statuses("a")
    assert (status.revision, status.next_at_ms) == (7, 1_000)


def test_another_payload_gets_another_revision_and_keeps_the_tick() -> None:
    schedules = Schedules()
    schedules.set("a", MINUTELY, 1_000, 7)
    assert schedules.set("a", structs.replace(MINUTELY, payload=b"new"), 5_000, 8)
    (status,) = schedules.statuses("a")
    assert (status.revision, status.next_at_ms) == (8, 1_000)
    assert schedules.next_at_ms() == 1_000


def test_other_times_begin_with_their_own_first_tick() -> None:
    for other in (
        HOURLY,
        structs.replace(MINUTELY, every_ms=2_000),
        structs.replace(HOURLY, timezone="Europe/Berlin"),
    ):
        schedules = Schedules()
        schedules.set("a", HOURLY if other.cron and other != HOURLY else MINUTELY, 1_000, 7)
        assert schedules.set("a", other, 5_000, 8)
        assert schedules.next_at_ms() == 5_000


def test_replacing_keeps_what_was_counted() -> None:
    schedules = Schedules()
    schedules.set("a", MINUTELY, 1_000, 7)
    fire(schedules, tick("a", 7, 1_000, 2_000))
    schedules.set("a", HOURLY, 5_000, 8)
    (status,) = schedules.statuses("a")
    assert (status.runs, status.last_task, status.last_tick_at_ms) == (1, b"t" * 16, 1_000)


def test_deleted_schedule_is_gone_and_begins_anew() -> None:
    schedules = Schedules()
    schedules.set("a", MINUTELY, 1_000, 7)
    fire(schedules, tick("a", 7, 1_000, 2_000))
    assert schedules.delete("a")
    assert not schedules.delete("a")
    assert (schedules.next_at_ms(), schedules.get("a"), len(schedules)) == (None, None, 0)
    schedules.set("a", MINUTELY, 9_000, 8)
    assert schedules.statuses("a")[0].runs == 0


def test_paused_schedule_has_no_tick_and_goes_on_with_the_next_after_now() -> None:
    schedules = Schedules()
    schedules.set("a", MINUTELY, 1_000, 7)
    schedules.set("a", structs.replace(MINUTELY, paused=True), 2_000, 8)
    assert (schedules.next_at_ms(), schedules.statuses("a")[0].next_at_ms) == (None, None)
    assert not fire(schedules, tick("a", 8, 2_000, 3_000))
    schedules.set("a", MINUTELY, 9_000, 9)
    assert schedules.next_at_ms() == 9_000


def test_schedules_are_told_by_name() -> None:
    schedules = Schedules()
    for name in ("b", "c", "a"):
        schedules.set(name, MINUTELY, 1_000, 7)
    assert [each.name for each in schedules.statuses()] == ["a", "b", "c"]
    assert schedules.statuses("x") == []


# ---------------------------------------------------------------- ticks


def test_tick_is_judged_once_whoever_proposes_it_how_often() -> None:
    schedules = Schedules()
    schedules.set("a", MINUTELY, 1_000, 7)
    assert fire(schedules, tick("a", 7, 1_000, 61_000))
    assert not fire(schedules, tick("a", 7, 1_000, 61_000))
    assert not fire(schedules, tick("a", 7, 1_000, 61_000), None)
    (status,) = schedules.statuses("a")
    assert (status.runs, status.skipped, status.next_at_ms) == (1, 0, 61_000)


def test_tick_of_an_older_definition_is_refused() -> None:
    schedules = Schedules()
    schedules.set("a", MINUTELY, 1_000, 7)
    schedules.set("a", structs.replace(MINUTELY, payload=b"new"), 1_000, 8)
    assert not fire(schedules, tick("a", 7, 1_000, 61_000))
    assert fire(schedules, tick("a", 8, 1_000, 61_000))


def test_tick_that_is_not_waited_for_is_refused() -> None:
    schedules = Schedules()
    assert not fire(schedules, tick("a", 7, 1_000, 2_000))
    schedules.set("a", MINUTELY, 1_000, 7)
    for at_ms in (0, 999, 1_001):
        assert not fire(schedules, tick("a", 7, at_ms, 2_000))


def test_tick_that_leads_back_is_refused() -> None:
    schedules = Schedules()
    schedules.set("a", MINUTELY, 1_000, 7)
    assert not fire(schedules, tick("a", 7, 1_000, 1_000))
    assert not fire(schedules, tick("a", 7, 1_000, 500))


def test_schedule_without_a_further_tick_waits_for_nothing() -> None:
    schedules = Schedules()
    schedules.set("a", MINUTELY, 1_000, 7)
    assert fire(schedules, tick("a", 7, 1_000, 0))
    assert (schedules.next_at_ms(), schedules.due(10**12)) == (None, [])
    assert not fire(schedules, tick("a", 7, 0, 0))


def test_ticks_left_out_are_counted_with_those_between() -> None:
    schedules = Schedules()
    schedules.set("a", MINUTELY, 1_000, 7)
    fire(schedules, tick("a", 7, 1_000, 61_000))
    fire(schedules, tick("a", 7, 61_000, 361_000, skipped=4), None)
    (status,) = schedules.statuses("a")
    assert (status.runs, status.skipped) == (1, 5)
    assert (status.last_tick_at_ms, status.last_task) == (61_000, b"t" * 16)


def test_due_schedules_are_told_in_the_order_of_their_ticks_and_stay() -> None:
    schedules = Schedules()
    for name, at_ms in (("late", 3_000), ("b", 2_000), ("a", 1_000), ("c", 2_000)):
        schedules.set(name, MINUTELY, at_ms, 7)
    for _ in range(2):
        assert [each.name for each in schedules.due(2_000)] == ["a", "b", "c"]
        assert [each.name for each in schedules.due(2_000, 2)] == ["a", "b"]
    assert schedules.due(999) == []


# ---------------------------------------------------------------- dumps and long lives


def test_restored_schedules_are_those_that_were_dumped() -> None:
    schedules = Schedules()
    schedules.set("b", MINUTELY, 1_000, 7)
    schedules.set("a", HOURLY, 2_000, 8)
    schedules.set("p", structs.replace(HOURLY, paused=True), 2_000, 9)
    fire(schedules, tick("b", 7, 1_000, 2_500, skipped=2))
    restored = Schedules()
    restored.restore(schedules.rows())
    assert list(restored.rows()) == list(schedules.rows())
    assert restored.statuses() == schedules.statuses()
    assert restored.next_at_ms() == 2_000
    assert fire(restored, tick("a", 8, 2_000, 3_000))
    assert [each.name for each in restored.due(2_500)] == ["b"]


_NAMES = st.sampled_from("abc")
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), _NAMES, st.integers(1, 50), st.booleans()),
        st.tuples(st.just("delete"), _NAMES, st.just(0), st.just(False)),
        st.tuples(st.just("fire"), _NAMES, st.integers(0, 50), st.booleans()),
    )
)


@given(_STEPS)
def test_earliest_tick_is_the_least_of_all_whatever_was_done(
    steps: list[tuple[str, str, int, bool]],
) -> None:
    schedules = Schedules()
    waiting: dict[str, int] = {}
    for index, (what, name, number, flag) in enumerate(steps, 1):
        if what == "set":
            # Each definition is another one, so that the given tick counts.
            schedule = Schedule("q", b"", every_ms=1_000 + index, paused=flag)
            assert schedules.set(name, schedule, number, index)
            waiting[name] = 0 if flag else number
        elif what == "delete":
            assert schedules.delete(name) == (waiting.pop(name, None) is not None)
        elif (entry := schedules.get(name)) is not None:
            following = entry.next_at_ms + number if number else 0
            command = tick(name, entry.revision, entry.next_at_ms, following)
            if fire(schedules, command, bytes(16) if flag else None):
                waiting[name] = following
        expected = sorted(at_ms for at_ms in waiting.values() if at_ms)
        assert schedules.next_at_ms() == (expected[0] if expected else None)
        assert [each.next_at_ms for each in schedules.due(10**6)] == expected


def test_schedules_that_tick_and_change_for_long_leave_nothing_behind() -> None:
    schedules = Schedules()
    tracemalloc.start()
    try:
        for index in range(1, 10_000):
            # Each is sooner than the one before, which therefore stays behind it in the heap.
            far = structs.replace(MINUTELY, every_ms=1_000 + index)
            schedules.set("far", far, 10**9 - index, index)
            schedules.set("near", structs.replace(HOURLY, payload=b"%d" % index), 5, index)
            following = 10**5 if index % 2 else 0
            assert fire(schedules, tick("near", index, 5, following))
            schedules.delete("near")
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 1_000_000


def test_payloads_of_schedules_count_for_the_size_of_a_chunk() -> None:
    machine = Machine()
    payload = bytes(limits.SCHEDULE_PAYLOAD_BYTES_MAX)
    commands: list[Command] = [
        SetSchedule(f"s{number}", structs.replace(MINUTELY, payload=payload), 1_000)
        for number in range(40)
    ]
    machine.apply(codec.encode(Entry(ENTRY_VERSION, 0, 0, commands)), 1)
    chunks = list(machine.dump())
    assert max(map(len, chunks)) < 512 * limits.KIB
    assert Machine.load(chunks).schedule_list() == machine.schedule_list()
