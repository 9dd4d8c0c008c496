"""Waiting tasks as rows: when they are objects instead, and what memory is held for them."""

from collections.abc import Iterator

import pytest
from tests.support.machines import Driver, task_id

from raftq.core import rows
from raftq.core.machine import Machine
from raftq.core.rows import LENGTH_BITS, ROW_BYTES
from raftq.core.state import State
from raftq.core.task import READY, SCHEDULED, Task
from raftq.core.tasks import Tasks
from raftq.protocol import limits
from raftq.protocol.commands import Enqueue
from raftq.protocol.options import NewTask, TaskOptions

CHUNK = 32
THIN = 2


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(rows, "ROWS_PER_CHUNK", CHUNK)
    monkeypatch.setattr(rows, "THIN_ROWS", THIN)
    yield


def new(number: int, delay_ms: int = 0) -> NewTask:
    return NewTask(task_id(number), bytes(number % 100), number % 10, delay_ms, number % 1_000 + 1)


def filled(count: int) -> Tasks:
    """Return tasks 1 to `count`, each second one scheduled."""
    tasks = Tasks(["q"])
    batch = [new(number, delay_ms=number % 2) for number in range(1, count + 1)]
    assert add(tasks, 1, *batch)
    return tasks


def own(tasks: Tasks, *sequences: int) -> None:
    for sequence in sequences:
        tasks.own(tasks.get(sequence))


def add(tasks: Tasks, first: int, *batch: NewTask, queue_number: int = 0) -> bool:
    if not tasks.add_ids(first, [each.id for each in batch]):
        return False
    tasks.add(first, batch, [0] * len(batch), queue_number, 1_000)
    return True


def _fields(task: Task) -> list[object]:
    return [getattr(task, name) for name in Task.__struct_fields__]


def test_a_row_says_all_that_a_task_is() -> None:
    largest = NewTask(
        b"\xff" * 16,
        b"",
        limits.PRIORITY_MAX,
        limits.DELAY_MS_MAX,
        limits.ATTEMPTS_MAX_LIMIT,
    )
    names = [f"q{number}" for number in range(limits.QUEUES_MAX)]
    tasks = Tasks(names)
    at_ms = 2**53
    sequence = 10**9
    assert tasks.add_ids(sequence, [largest.id])
    tasks.add(sequence, [largest], [2**32 - 1], limits.QUEUES_MAX - 1, at_ms)
    expected = Task(
        sequence,
        names[-1],
        largest.id,
        0,
        2**32 - 1,
        limits.PRIORITY_MAX,
        limits.ATTEMPTS_MAX_LIMIT,
        at_ms + limits.DELAY_MS_MAX,
        at_ms,
        SCHEDULED,
    )
    assert _fields(tasks.get(sequence)) == _fields(expected)


def test_every_limit_fits_into_a_row() -> None:
    assert limits.PAYLOAD_BYTES_MAX < 2**LENGTH_BITS
    assert limits.DELAY_MS_MAX < 2 ** (64 - LENGTH_BITS)
    assert limits.PRIORITY_MAX < 2**8 and limits.ATTEMPTS_MAX_LIMIT < 2**16
    assert limits.QUEUES_MAX < 2**32


def test_tasks_come_in_order_of_their_sequences_wherever_they_are_kept() -> None:
    tasks = filled(5 * CHUNK)
    own(tasks, 3, 40, 41, 100, 5 * CHUNK)
    assert [task.sequence for task in tasks] == list(range(1, 5 * CHUNK + 1))
    assert [task.id for task in tasks] == [task_id(n) for n in range(1, 5 * CHUNK + 1)]
    assert len(tasks.objects) == 5 and len(tasks.rows) == 5 * CHUNK - 5


def test_a_chunk_whose_rows_are_gone_is_freed() -> None:
    tasks = filled(3 * CHUNK)
    held = tasks.rows.chunk_bytes
    own(tasks, *range(CHUNK, 2 * CHUNK))
    assert tasks.rows.chunk_bytes == held - CHUNK * ROW_BYTES
    assert [task.sequence for task in tasks] == list(range(1, 3 * CHUNK + 1))


def test_the_last_few_rows_of_a_chunk_become_objects() -> None:
    tasks = filled(3 * CHUNK)
    held = tasks.rows.chunk_bytes
    left = {CHUNK + 5, CHUNK + 6}
    own(tasks, *(set(range(CHUNK, 2 * CHUNK)) - left - {CHUNK + 9}))
    assert tasks.rows.chunk_bytes == held and CHUNK + 5 not in tasks.objects
    own(tasks, CHUNK + 9)
    assert tasks.rows.chunk_bytes == held - CHUNK * ROW_BYTES
    assert left <= set(tasks.objects)
    assert tasks.find(task_id(CHUNK + 5)) == CHUNK + 5
    assert _fields(tasks.get(CHUNK + 5)) == _fields(filled(3 * CHUNK).get(CHUNK + 5))


def test_the_chunk_that_is_being_filled_is_kept_and_then_looked_at() -> None:
    tasks = filled(CHUNK - 1)
    own(tasks, *range(1, CHUNK - 3))
    assert len(tasks.rows) == 3 and tasks.rows.chunk_bytes == CHUNK * ROW_BYTES
    own(tasks, CHUNK - 1)
    assert add(tasks, CHUNK, new(CHUNK))
    assert len(tasks.rows) == 1 and tasks.rows.chunk_bytes == CHUNK * ROW_BYTES
    assert {CHUNK - 2, CHUNK - 3} <= set(tasks.objects)
    own(tasks, CHUNK)
    assert add(tasks, 2 * CHUNK, new(2 * CHUNK))
    assert tasks.rows.chunk_bytes == CHUNK * ROW_BYTES


def test_a_refused_batch_leaves_no_row() -> None:
    tasks = filled(CHUNK + 3)
    before = [_fields(task) for task in tasks]
    batch = [new(number) for number in (500, 501, 4, 502)]
    assert not add(tasks, CHUNK + 4, *batch)
    assert [_fields(task) for task in tasks] == before
    assert add(tasks, CHUNK + 4, new(500))
    assert tasks.get(CHUNK + 4).state is READY


def test_an_id_of_zeros_is_not_that_of_a_row_that_is_still_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All ids have one hash here, so each is compared with those before it in the batch."""

    def same(_: bytes) -> int:
        return 7

    monkeypatch.setattr("raftq.core.id_table.hash", same, raising=False)
    tasks = filled(3)
    assert add(tasks, 4, new(4), NewTask(bytes(16), b""), new(5))
    assert [tasks.find(each) for each in (task_id(4), bytes(16), task_id(5))] == [4, 5, 6]


def test_waiting_tasks_of_a_dump_are_rows_again() -> None:
    driver = Driver()
    driver.enqueue(*range(1, 101))
    driver.enqueue(*range(101, 201), delay_ms=1_000)
    driver.lease(10)
    loaded = Machine.load(driver.machine.dump())
    tasks = loaded._state.tasks  # pyright: ignore[reportPrivateUsage]
    assert (len(tasks.rows), len(tasks.objects)) == (190, 10)


def test_a_changed_copy_of_a_row_changes_nothing_until_it_is_owned() -> None:
    tasks = filled(3)
    copy = tasks.get(2)
    copy.failures = 7
    assert tasks.get(2).failures == 0
    tasks.own(copy)
    assert tasks.get(2).failures == 7 and len(tasks.rows) == 2


def test_the_first_tasks_of_a_queue_may_be_the_last_ones_of_a_thin_chunk() -> None:
    driver = Driver()
    driver.enqueue(*range(1, CHUNK - 1))
    driver.lease(CHUNK - 2)
    driver.enqueue(*range(CHUNK - 1, 2 * CHUNK), queue="new")
    assert driver.state(CHUNK - 1) is READY


def _bytes_held(state: State) -> tuple[int, int, int]:
    return state.tasks.rows.chunk_bytes, len(state.tasks.objects), state.tasks.ids.buckets


@pytest.mark.parametrize("survivors", [0, 1])
def test_memory_follows_live_tasks_however_many_came_and_went(
    survivors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some tasks of each chunk stay; the others are enqueued, leased, done and forgotten."""
    monkeypatch.setattr(limits, "RESULTS_KEPT_MAX", 0)
    monkeypatch.setattr(limits, "RETRY_MEMORY_MS", 0)
    driver = Driver()
    driver.checks_invariants = False
    staying = 0
    for cycle in range(300):
        first = 1 + cycle * CHUNK
        going = range(first, first + CHUNK - survivors)
        driver.enqueue(*going)
        if survivors:
            driver.enqueue(first + CHUNK - 1, delay_ms=limits.DAY_MS)
            staying += 1
        for lease in driver.lease(len(going)):
            driver.ack(lease.token)
    driver.apply()
    driver.machine.check_invariants()
    state = driver.machine._state  # pyright: ignore[reportPrivateUsage]
    chunk_bytes, objects, buckets = _bytes_held(state)
    assert chunk_bytes <= CHUNK * ROW_BYTES and buckets <= 20
    assert staying - THIN <= objects + len(state.tasks.rows) == staying
    assert driver.machine.live_tasks == staying


def test_parents_that_become_objects_while_others_are_tied_know_their_child() -> None:
    driver = Driver()
    numbers = range(1, CHUNK + 1)
    driver.enqueue(*numbers)
    join = TaskOptions(depends_on=[task_id(number) for number in numbers])
    driver.apply(Enqueue("q", [NewTask(task_id(CHUNK + 1), b"", options=join)]))
    for lease in driver.lease(CHUNK):
        driver.ack(lease.token)
    assert driver.lease_numbers() == [CHUNK + 1]
