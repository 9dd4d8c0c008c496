"""The rules of tasks with options catch moves that break them, and no others."""

from raftq.protocol.fields import OnParentFailure, TaskState
from raftq.protocol.options import TaskOptions
from raftq.testing.checks.task_model import ModelTasks, Move, check_moves

A, B, C = (bytes([number]) * 16 for number in (1, 2, 3))
READY, LEASED, DONE = TaskState.READY, TaskState.LEASED, TaskState.DONE
DEAD, CANCELLED, EXPIRED = TaskState.DEAD, TaskState.CANCELLED, TaskState.EXPIRED


def rules(tasks: ModelTasks, *moves: tuple[bytes, TaskState], queue: str = "orders") -> list[str]:
    """Return the rules that are broken when tasks move so, one entry each."""
    told = [Move(index, state, queue, task_id) for index, (task_id, state) in enumerate(moves, 1)]
    return [violation.rule for violation in check_moves(told, tasks)]


def of(**options: TaskOptions) -> ModelTasks:
    return ModelTasks({{"a": A, "b": B, "c": C}[name]: each for name, each in options.items()})


def test_tasks_of_an_order_key_are_not_leased_together() -> None:
    one = TaskOptions(order_key="one")
    tasks = of(a=one, b=one, c=TaskOptions(order_key="other"))
    assert not rules(tasks, (A, LEASED), (C, LEASED), (A, READY), (B, LEASED), (B, DONE))
    assert rules(tasks, (A, LEASED), (B, LEASED)) == ["order-together"]


def test_no_more_tasks_of_a_limit_key_are_leased_than_its_limit_says() -> None:
    limited = TaskOptions(limit_key="api")
    tasks = of(a=limited, b=limited, c=limited)
    tasks.limits["api"] = 2
    assert not rules(tasks, (A, LEASED), (B, LEASED), (A, DONE), (C, LEASED))
    assert rules(tasks, (A, LEASED), (B, LEASED), (C, LEASED)) == ["over-limit"]


def test_a_join_waits_for_the_success_of_all_its_parents() -> None:
    tasks = of(a=TaskOptions(), b=TaskOptions(), c=TaskOptions(depends_on=[A, B]))
    assert not rules(tasks, (A, DONE), (B, DONE), (C, READY), (C, LEASED))
    assert rules(tasks, (A, DONE), (C, READY)) == ["early-join"]
    assert rules(tasks, (A, DONE), (B, DEAD), (C, LEASED)) == ["early-join"]


def test_a_join_that_runs_all_the_same_waits_until_its_parents_are_over() -> None:
    join = TaskOptions(depends_on=[A], on_parent_failure=OnParentFailure.RUN)
    tasks = of(a=TaskOptions(), c=join)
    assert not rules(tasks, (A, DEAD), (C, READY))
    assert rules(tasks, (A, LEASED), (C, READY)) == ["early-join"]


def test_what_is_done_cancelled_or_expired_stays_so() -> None:
    tasks = of(a=TaskOptions())
    assert not rules(tasks, (A, LEASED), (A, DEAD), (A, READY), (A, CANCELLED))
    for end in (DONE, CANCELLED, EXPIRED):
        assert rules(tasks, (A, end), (A, LEASED)) == ["ended-moves"]
    assert rules(tasks, (A, CANCELLED), (A, DONE)) == ["ended-moves"], "its result was recorded"


def test_a_join_fires_once() -> None:
    tasks = of(a=TaskOptions(), c=TaskOptions(depends_on=[A]))
    assert rules(tasks, (A, DONE), (C, LEASED), (C, DONE), (C, READY)) == ["ended-moves"]


def test_a_prepared_task_that_nobody_confirmed_is_leased_from_its_check_queue_only() -> None:
    tasks = of(a=TaskOptions(confirm_within_ms=100, check_queue="checks"))
    assert not rules(tasks, (A, LEASED), queue="checks")
    assert rules(tasks, (A, LEASED)) == ["unconfirmed-leased"]
    tasks.confirmed.add(A)
    assert not rules(tasks, (A, LEASED))


def test_tasks_that_the_clients_of_the_model_did_not_make_are_judged_elsewhere() -> None:
    assert not rules(of(b=TaskOptions()), (A, DONE), (A, LEASED))
