"""The table of legal moves, against what commands really do."""

import msgspec
from tests.support.machines import LEASE_MS, Driver, task_id

from raftq.core.payloads import PayloadsInMemory
from raftq.core.ready_queue import ReadyQueue
from raftq.core.state import State
from raftq.core.task import FORGETTABLE, STATE_NUMBERS, TRANSITIONS
from raftq.protocol.commands import Enqueue
from raftq.protocol.control import Cancel, Confirm, Edit, SetLimit, Sweep
from raftq.protocol.fields import SweepAction, TaskState
from raftq.protocol.options import KeyLimit, NewTask, TaskFilter, TaskOptions
from raftq.protocol.replies import Enqueued


def test_nothing_leaves_a_final_state() -> None:
    assert all(not TRANSITIONS[state] for state in FORGETTABLE)


def test_every_state_can_be_reached_and_has_a_row() -> None:
    reached = {state for moves in TRANSITIONS.values() for state in moves}
    assert reached == set(TaskState) == {state for state in TRANSITIONS if state is not None}


def test_every_move_says_what_causes_it() -> None:
    assert all(cause for moves in TRANSITIONS.values() for cause in moves.values())


def test_state_numbers_are_stable() -> None:
    """They are mixed into the state hash, which nodes of different versions compare."""
    assert {state.value: number for state, number in STATE_NUMBERS.items()} == {
        "scheduled": 0,
        "blocked": 1,
        "ready": 2,
        "leased": 3,
        "done": 4,
        "dead": 5,
        "cancelled": 6,
        "expired": 7,
    }


def test_commands_and_time_make_exactly_the_moves_of_the_table() -> None:
    seen: set[tuple[TaskState | None, TaskState]] = set()

    class Watching(State):
        def count(
            self, queue: ReadyQueue, old: TaskState | None, new: TaskState, tasks: int = 1
        ) -> None:
            seen.add((old, new))
            super().count(queue, old, new, tasks)

    driver = Driver()
    driver.machine._state = Watching(PayloadsInMemory())  # pyright: ignore[reportPrivateUsage]
    driver.enqueue(1, 2, 3, 4, attempts_max=1)
    driver.enqueue(5, delay_ms=1)
    driver.pass_wall_ms(1)
    leases = driver.lease(5)
    driver.ack(leases[0].token)
    driver.fail(leases[1].token)
    driver.requeue(leases[2].token)
    driver.requeue(leases[3].token, delay_ms=1)
    driver.pass_lease_ms(LEASE_MS)
    _use_options(driver)
    _dead_and_on(driver)
    assert seen == {(old, new) for old, moves in TRANSITIONS.items() for new in moves}


def _add(driver: Driver, number: int, **options: object) -> None:
    delay_ms = options.pop("delay_ms", 0)
    assert isinstance(delay_ms, int)
    told = msgspec.convert(options, TaskOptions)
    new = NewTask(task_id(number), b"", 5, delay_ms, 1, options=told)
    (reply,) = driver.apply(Enqueue("o", [new])).replies
    assert isinstance(reply, Enqueued)


def _use_options(driver: Driver) -> None:
    """Tasks that are held back by everything that can, and end in every way."""
    hold = {"order_key": "k"}
    _add(driver, 20, **hold)
    _add(driver, 21, **hold)  # Blocked behind 20.
    _add(driver, 22, **hold, delay_ms=1)  # Scheduled, then blocked.
    driver.pass_wall_ms(1)
    driver.apply(Edit(task_id(20), priority=4))  # Ready again.
    driver.apply(Edit(task_id(20), delay_ms=1_000))  # Scheduled.
    driver.apply(Edit(task_id(20), delay_ms=2_000))  # Scheduled again.
    driver.apply(Edit(task_id(21), delay_ms=1_000))  # From blocked to scheduled.
    driver.apply(Cancel([task_id(20), task_id(21)]))
    driver.apply(Cancel([task_id(22)]))
    _add(driver, 23, expires_after_ms=1)
    _add(driver, 24, expires_after_ms=1, delay_ms=10)
    _add(driver, 25, expires_after_ms=1, **hold)
    _add(driver, 26, expires_after_ms=1, **hold)
    _add(driver, 32, confirm_within_ms=1)
    driver.pass_wall_ms(1)
    _add(driver, 27, expires_at_ms=1)  # Expired at once.
    _add(driver, 28, depends_on=[task_id(20)])  # Cancelled at once.
    _add(driver, 29, confirm_within_ms=100, depends_on=[task_id(5)], on_parent_failure="run")
    driver.apply(Confirm([task_id(29)]))  # Blocked, and again.
    driver.apply(Cancel([task_id(29)]))


def _dead_and_on(driver: Driver) -> None:
    """Leased tasks that are cancelled, checked or parked; dead ones that go on."""
    driver.apply(SetLimit("cap", KeyLimit(concurrency=1)))
    for number in (30, 31):
        _add(driver, number, limit_key="cap")
    leases = driver.request("r1", 2, ("o",)).leases  # The second is parked.
    driver.apply(Cancel([leases[0].task_id]))
    driver.ack(leases[0].token)
    leases = driver.request("r2", 2, ("o",)).leases
    driver.fail(leases[0].token)
    sweep = Sweep(SweepAction.REDRIVE, TaskFilter())
    driver.apply(sweep)
    driver.apply(Cancel([task_id(31)]))
    for number in (40, 41, 42):
        _add(driver, number, confirm_within_ms=1, check_queue="check", delay_ms=100)
    _add(driver, 43, confirm_within_ms=1, check_queue="check", depends_on=[task_id(42)])
    driver.pass_wall_ms(1)
    leases = driver.request("r3", 4, ("check",)).leases
    driver.fail(leases[0].token)
    driver.apply(Sweep(SweepAction.DISCARD, TaskFilter()))
    driver.apply(Confirm([task_id(41), task_id(43)]))  # Scheduled, and blocked.
    driver.apply(Cancel([task_id(41), task_id(43)]))
    _add(driver, 50, order_key="last")
    driver.fail(driver.request("r4", 1, ("o",)).leases[0].token)
    _add(driver, 51, order_key="last")
    driver.apply(sweep)  # Blocked behind 51.
    driver.fail(driver.request("r5", 1, ("o",)).leases[0].token)
    driver.apply(Edit(task_id(50), delay_ms=10))
    driver.apply(sweep)
