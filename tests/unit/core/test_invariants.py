"""The full check finds what is made wrong by hand."""

from collections.abc import Callable

import pytest
from tests.support.machines import Driver, task_id

from raftq.core.invariants import check_invariants
from raftq.core.state import State
from raftq.core.task import Lease, Task
from raftq.protocol.fields import TaskState

READY, LEASED, SCHEDULED, DONE, DEAD = 1, 2, 3, 4, 5


def healthy() -> State:
    """Return a state that holds a task in every state, numbered as above."""
    driver = Driver()
    driver.run(DONE)
    driver.enqueue(DEAD, attempts_max=1)
    driver.fail(driver.lease()[0].token)
    driver.enqueue(LEASED)
    driver.lease()
    driver.enqueue(READY)
    driver.enqueue(SCHEDULED, delay_ms=1_000)
    return driver.machine._state  # pyright: ignore[reportPrivateUsage]


def task(state: State, number: int) -> Task:
    """Return the task of a number, as an object that can be made wrong."""
    found = state.tasks.get(state.tasks.find(task_id(number)))
    state.tasks.own(found)
    return found


def lose(number: int) -> Callable[[State], object]:
    return lambda state: state.tasks.forget(task(state, number))


def set_state(number: int, value: TaskState) -> Callable[[State], None]:
    def corrupt(state: State) -> None:
        task(state, number).state = value

    return corrupt


def lose_row(number: int) -> Callable[[State], None]:
    return lambda state: state.tasks.rows.remove(state.tasks.find(task_id(number)))


def lose_id(number: int) -> Callable[[State], None]:
    def corrupt(state: State) -> None:
        state.tasks.ids.remove(task_id(number), state.tasks.find(task_id(number)))

    return corrupt


def _is_kept_twice(state: State) -> None:
    ready = state.tasks.get(state.tasks.find(task_id(READY)))
    state.tasks.objects[ready.sequence] = ready


def _is_a_row_after_a_lease(state: State) -> None:
    leased = task(state, LEASED)
    del state.tasks.objects[leased.sequence]
    leased.state = TaskState.READY
    state.tasks.rows.restore(leased, 0)


def _has_another_queue_number(state: State) -> None:
    state.queues["q"].number = 1


def _starts_twice(state: State) -> None:
    state.scheduled.add(5, state.tasks.find(task_id(SCHEDULED)))


def _stands_twice(state: State) -> None:
    state.queues["q"].push_back(task(state, READY).sequence, 5)


def _leaves_the_line(state: State) -> None:
    state.queues["q"].pop()


def _miscounts_the_line(state: State) -> None:
    state.queues["q"].ready += 1


def _counts_one_more(state: State) -> None:
    state.queues["q"].counts[TaskState.DEAD] += 1
    state.queues["q"].enqueued += 1


def _loses_one_in_the_counts(state: State) -> None:
    state.queues["q"].enqueued += 1


def _has_a_lease_too_many(state: State) -> None:
    task(state, READY).lease = Lease("w", 5)


def _lost_its_lease(state: State) -> None:
    task(state, LEASED).lease = None


def _forgets_a_lease_timer(state: State) -> None:
    state.leases.forget()


def _forgets_a_start_timer(state: State) -> None:
    state.scheduled.pop_due(2**60)


def _token_of_another(state: State) -> None:
    state.by_token[task(state, LEASED).token] = task(state, READY)


def _token_from_the_future(state: State) -> None:
    leased = task(state, LEASED)
    leased.token += 100
    state.by_token[leased.token] = leased


def _cannot_be_settled(state: State) -> None:
    del state.by_token[task(state, LEASED).token]


def _miscounts_live_tasks(state: State) -> None:
    state.live_tasks -= 1


def _miscounts_live_bytes(state: State) -> None:
    state.live_payload_bytes += 1


def _outcome_is_kept_for_ever(state: State) -> None:
    state.outcomes = type(state.outcomes)()


def _token_of_a_forgotten_task(state: State) -> None:
    gone = Task(99, "q", task_id(99), 0)
    state.by_token[gone.token] = gone


@pytest.mark.parametrize(
    "corrupt",
    [
        lose_row(READY),
        lose_row(SCHEDULED),
        lose_id(READY),
        lose_id(LEASED),
        _is_kept_twice,
        _is_a_row_after_a_lease,
        _has_another_queue_number,
        _starts_twice,
        lose(READY),
        lose(LEASED),
        lose(SCHEDULED),
        lose(DEAD),
        lose(DONE),
        set_state(READY, TaskState.DEAD),
        set_state(LEASED, TaskState.DONE),
        set_state(DONE, TaskState.READY),
        _stands_twice,
        _leaves_the_line,
        _miscounts_the_line,
        _counts_one_more,
        _loses_one_in_the_counts,
        _has_a_lease_too_many,
        _lost_its_lease,
        _forgets_a_lease_timer,
        _forgets_a_start_timer,
        _token_of_another,
        _token_from_the_future,
        _cannot_be_settled,
        _miscounts_live_tasks,
        _miscounts_live_bytes,
        _outcome_is_kept_for_ever,
        _token_of_a_forgotten_task,
    ],
)
def test_corruption_is_found(corrupt: Callable[[State], object]) -> None:
    state = healthy()
    check_invariants(state)
    corrupt(state)
    with pytest.raises(AssertionError):
        check_invariants(state)
