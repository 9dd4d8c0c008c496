"""The table of legal moves, against what commands really do."""

from tests.support.machines import LEASE_MS, Driver

from raftq.core.payloads import PayloadsInMemory
from raftq.core.ready_queue import ReadyQueue
from raftq.core.state import State
from raftq.core.task import STATE_NUMBERS, TRANSITIONS
from raftq.protocol.messages import TaskState

IMPLEMENTED = {
    TaskState.SCHEDULED,
    TaskState.READY,
    TaskState.LEASED,
    TaskState.DONE,
    TaskState.DEAD,
}


def test_nothing_leaves_a_final_state() -> None:
    assert TRANSITIONS[TaskState.DONE] == TRANSITIONS[TaskState.DEAD] == {}


def test_every_state_in_use_can_be_reached_and_has_a_row() -> None:
    reached = {state for moves in TRANSITIONS.values() for state in moves}
    assert reached == IMPLEMENTED == {state for state in TRANSITIONS if state is not None}


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
        def _move(
            self, queue: ReadyQueue, old: TaskState | None, new: TaskState, tasks: int = 1
        ) -> None:
            seen.add((old, new))
            super()._move(queue, old, new, tasks)

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
    assert seen == {(old, new) for old, moves in TRANSITIONS.items() for new in moves}
