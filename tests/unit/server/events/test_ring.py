"""What is kept of events, and how a reader goes on from any place in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.applied import DONE, LEASED, READY, applied, numbered

from raftq.core.applied import Applied
from raftq.protocol.errors import EventsLost
from raftq.protocol.events import Position, TaskEvent
from raftq.protocol.fields import TaskState
from raftq.server.events.ring import Cursor, EventRing, Wanted

ALL = Wanted()


def everything(cursor: Cursor, events_max: int = 3) -> list[TaskEvent]:
    """Read to the end, a few at a time."""
    found: list[TaskEvent] = []
    while cursor.is_behind:
        events, _ = cursor.read(events_max, 2)
        assert len(events) <= events_max
        found += events
    return found


def filled(*entries: Applied, kept_max: int = 1_000) -> EventRing:
    ring = EventRing(kept_max=kept_max)
    for entry in entries:
        ring.append(entry)
    return ring


THREE = (
    applied(2, (READY, "a", numbered(1, 2)), (READY, "b", numbered(3))),
    applied(3),
    applied(5, (LEASED, "a", numbered(1)), (DONE, "a", numbered(1))),
)


def test_each_event_has_its_entry_its_number_in_it_and_the_time() -> None:
    assert everything(Cursor(filled(*THREE), Position(0), ALL)) == [
        TaskEvent(2, 0, 2_000, numbered(1)[0], "a", READY),
        TaskEvent(2, 1, 2_000, numbered(2)[0], "a", READY),
        TaskEvent(2, 2, 2_000, numbered(3)[0], "b", READY),
        TaskEvent(5, 0, 5_000, numbered(1)[0], "a", LEASED),
        TaskEvent(5, 1, 5_000, numbered(1)[0], "a", DONE),
    ]


def test_a_reader_goes_on_behind_any_event() -> None:
    ring = filled(*THREE)
    every = everything(Cursor(ring, Position(0), ALL))
    for number, event in enumerate(every, 1):
        assert everything(Cursor(ring, event.position, ALL)) == every[number:]
    assert everything(Cursor(ring, Position(2), ALL)) == every[3:]
    assert everything(Cursor(ring, Position(4), ALL)) == every[3:]


def test_a_reader_ahead_of_this_node_waits_for_what_it_does_not_know() -> None:
    ring = filled(*THREE)
    ahead = Cursor(ring, Position.after(7, 0), ALL)
    assert everything(ahead) == [] and ahead.position == Position.after(7, 0)
    ring.append(applied(6, (READY, "a", numbered(8))))
    ring.append(applied(7, (READY, "a", numbered(9)), (LEASED, "a", numbered(9))))
    ring.append(applied(8, (DONE, "a", numbered(9))))
    assert [each.state for each in everything(ahead)] == [LEASED, DONE]


def test_passed_entries_count_as_read_though_nothing_in_them_is_wanted() -> None:
    ring = filled(*THREE)
    cursor = Cursor(ring, Position(0), Wanted(queue="none"))
    assert everything(cursor) == []
    cursor.read(1, 1)
    assert cursor.position == Position(5)
    ring.append(applied(9))
    cursor.read(1, 1)
    assert cursor.position == Position(9), "an entry without events is behind it, too"


def test_a_filter_leaves_the_numbers_as_they_are() -> None:
    ring = filled(*THREE)
    of_queue = everything(Cursor(ring, Position(0), Wanted(queue="b")))
    assert [(each.index, each.number) for each in of_queue] == [(2, 2)]
    of_states = everything(Cursor(ring, Position(0), Wanted(states=[LEASED, DONE])))
    assert [(each.index, each.number) for each in of_states] == [(5, 0), (5, 1)]
    (of_task,) = everything(Cursor(ring, Position(0), Wanted(task_id=numbered(2)[0])))
    assert (of_task.index, of_task.number) == (2, 1)
    both = Wanted(queue="a", states=[READY], task_id=numbered(3)[0])
    assert everything(Cursor(ring, Position(0), both)) == []


def test_events_are_counted_and_not_entries() -> None:
    ring = filled(
        applied(1, (READY, "q", numbered(1, 2, 3))),
        applied(2, (READY, "q", numbered(4, 5, 6))),
        applied(3),
        applied(4, (READY, "q", numbered(7))),
        kept_max=4,
    )
    assert ring.floor == Position(1, 3)
    assert len(everything(Cursor(ring, Position(1), ALL))) == 4
    assert len(everything(Cursor(ring, Position.after(1, 2), ALL))) == 4, "nothing of it is lost"
    with pytest.raises(EventsLost) as lost:
        Cursor(ring, Position.after(1, 1), ALL)
    assert lost.value.facts == {"oldest_index": 2}
    assert "17" not in lost.value.message and "1-1" in lost.value.message


def test_all_of_the_newest_entry_is_kept_however_many() -> None:
    ring = filled(
        applied(1, (READY, "q", numbered(1))),
        applied(2, (READY, "q", numbered(*range(10)))),
        kept_max=4,
    )
    assert len(everything(Cursor(ring, Position(1), ALL))) == 10
    ring.append(applied(3, (READY, "q", numbered(11))))
    with pytest.raises(EventsLost):
        Cursor(ring, Position.after(2, 8), ALL)


def test_a_reader_that_is_too_slow_hears_that_events_are_lost() -> None:
    ring = filled(*THREE, kept_max=5)
    slow, at_end = Cursor(ring, Position(0), ALL), Cursor(ring, Position(5), ALL)
    ring.append(applied(6, (READY, "q", numbered(*range(5)))))
    with pytest.raises(EventsLost):
        slow.read(10, 10)
    assert len(everything(at_end)) == 5


def test_an_entry_that_was_begun_is_read_to_its_end() -> None:
    ring = filled(applied(1, (READY, "q", numbered(1, 2, 3))), kept_max=3)
    cursor = Cursor(ring, Position(0), ALL)
    assert len(cursor.read(1, 10)[0]) == 1 and cursor.position == Position.after(1, 0)
    ring.append(applied(2, (READY, "q", numbered(4, 5, 6))))
    assert [each.task_id for each in everything(cursor)] == numbered(2, 3, 4, 5, 6)


def test_a_new_machine_begins_a_new_ring() -> None:
    ring = filled(*THREE)
    old, ahead = Cursor(ring, Position(5), ALL), Cursor(ring, Position(30), ALL)
    ring.begin_anew(20)
    for position in (Position(5), Position.after(20, 0)):
        with pytest.raises(EventsLost) as lost:
            Cursor(ring, position, ALL)
        assert lost.value.facts == {"oldest_index": 21}
    with pytest.raises(EventsLost):
        old.read(1, 1)
    ring.append(applied(22, (READY, "q", numbered(1))))
    ring.append(applied(31, (READY, "q", numbered(2))))
    assert [each.index for each in everything(Cursor(ring, Position(20), ALL))] == [22, 31]
    assert [each.index for each in everything(ahead)] == [31]


def test_a_ring_of_a_machine_from_a_snapshot_knows_nothing_before_it() -> None:
    ring = EventRing(base_index=10)
    Cursor(ring, Position(10), ALL)
    with pytest.raises(EventsLost):
        Cursor(ring, Position(9), ALL)


def test_looking_at_what_is_not_wanted_is_bounded_as_well() -> None:
    ring = filled(applied(1, *[(READY, "a", numbered(each)) for each in range(100)]))
    cursor = Cursor(ring, Position(0), Wanted(queue="b"))
    assert cursor.read(10, 7) == ([], 7)
    assert cursor.is_behind
    searching = Cursor(
        filled(applied(1, (READY, "a", numbered(*range(320))))),
        Position(0),
        Wanted(task_id=bytes(16)),
    )
    assert searching.read(10, 100)[1] == 11, "searching many ids costs more than looking at one"


STATES = st.sampled_from([READY, LEASED, DONE])
GROUPS = st.tuples(
    STATES, st.sampled_from("ab"), st.lists(st.integers(0, 4), min_size=1, max_size=4)
)
ENTRIES = st.lists(st.tuples(st.integers(1, 3), st.lists(GROUPS, max_size=4)), max_size=8)


@given(
    entries=ENTRIES,
    kept_max=st.integers(1, 12),
    after=st.tuples(st.integers(1, 20), st.integers(0, 8) | st.none()),
    wanted=st.builds(
        Wanted,
        st.sampled_from([None, "a"]),
        st.sampled_from([(), (READY,), (READY, DONE)]),
        st.sampled_from([None, bytes(16)]),
    ),
    taken_max=st.integers(1, 5),
    steps_max=st.integers(1, 5),
)
def test_a_reader_misses_nothing_and_sees_nothing_twice(
    entries: list[tuple[int, list[tuple[TaskState, str, list[int]]]]],
    kept_max: int,
    after: tuple[int, int | None],
    wanted: Wanted,
    taken_max: int,
    steps_max: int,
) -> None:
    ring, told, index = EventRing(kept_max=kept_max), list[TaskEvent](), 0
    for gap, groups in entries:
        index += gap
        entry = applied(index, *[(state, queue, numbered(*ids)) for state, queue, ids in groups])
        ring.append(entry)
        flat = [(state, queue, each) for state, queue, ids in entry.events for each in ids]
        told += [
            TaskEvent(index, number, entry.wall_at_ms, each, queue, state)
            for number, (state, queue, each) in enumerate(flat)
        ]
    position = Position.after(*after)
    behind = [each for each in told if each.position > position]
    try:
        cursor = Cursor(ring, position, wanted)
    except EventsLost:
        assert behind and behind[0].position <= ring.floor, "all of it is here"
        return
    found: list[TaskEvent] = []
    while cursor.is_behind:
        found += cursor.read(taken_max, steps_max)[0]
        again = Cursor(ring, cursor.position, wanted)
        cursor = again if len(found) % 2 else cursor
    assert found == [
        each
        for each in behind
        if wanted.takes(each.state, each.queue) and wanted.task_id in (None, each.task_id)
    ]
