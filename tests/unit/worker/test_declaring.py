"""Functions that become tasks: names, policies, and what cannot work."""

import inspect
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.support.fake_access import FakeAccess

from raftq.protocol.errors import InvalidRequest
from raftq.worker import App
from raftq.worker.errors import InvalidTask


def plain(number: int) -> int:
    """Double a number."""
    return 2 * number


async def asynchronous(number: int) -> int:
    return 2 * number


def test_calling_a_task_stays_a_plain_call() -> None:
    app = App()
    assert app.task(plain)(3) == 6
    coroutine = app.task(asynchronous)(4)
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    assert end.value.value == 8


def test_a_task_looks_like_its_function() -> None:
    task = App().task(plain)
    assert (task.__name__, task.__doc__) == ("plain", "Double a number.")
    assert inspect.signature(task) == inspect.signature(plain)


def test_a_name_is_the_functions_and_not_the_modules() -> None:
    app = App()
    assert app.task(plain).name == "plain"
    assert app.task(name="mail.double")(plain).name == "mail.double"
    assert list(app.tasks) == ["plain", "mail.double"]


def test_the_policies_are_what_was_declared_and_else_the_clusters() -> None:
    app = App()
    declared = app.task(
        name="a", queue="mail", priority=1, attempts_max=7, timeout=timedelta(minutes=1), delay="2s"
    )(plain)
    assert (declared.queue, declared.priority, declared.attempts_max) == ("mail", 1, 7)
    assert (declared.timeout_ms, declared.policy.delay_ms) == (60_000, 2_000)
    default = app.task(plain)
    assert (default.queue, default.priority, default.attempts_max) == ("default", 5, 0)
    assert (default.timeout_ms, default.policy.delay_ms) == (None, 0)


def test_two_tasks_of_one_name_are_refused_with_both_places() -> None:
    app = App()
    app.task(plain)
    with pytest.raises(InvalidTask, match=r"two tasks are named 'plain'.*test_declaring.py:\d+"):
        app.task(name="plain")(asynchronous)


def test_an_interactive_session_may_declare_a_task_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App()
    first = app.task(plain)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    again = app.task(plain)
    assert app.tasks["plain"] is again is not first
    with pytest.raises(InvalidTask, match="two tasks"):
        app.task(name="plain")(asynchronous)


def test_async_def_runs_on_the_loop_and_def_in_a_thread_unless_declared_otherwise() -> None:
    app = App()
    assert app.task(name="a")(asynchronous).execution == "async"
    assert app.task(name="b")(plain).execution == "thread"
    assert app.task(name="c", execution="process")(plain).execution == "process"
    assert (app.tasks["a"].is_async, app.tasks["b"].is_async) == (True, False)


@pytest.mark.parametrize(
    ("function", "execution"),
    [(plain, "async"), (asynchronous, "thread"), (asynchronous, "process"), (plain, "greenlet")],
)
def test_an_execution_that_cannot_work_is_refused(
    function: Callable[..., Any], execution: Any
) -> None:
    with pytest.raises(InvalidTask, match=execution):
        App().task(execution=execution)(function)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"priority": 10}, "priority is 10"),
        ({"priority": True}, "priority is True"),
        ({"attempts_max": -1}, "attempts_max is -1"),
        ({"crashes_max": 2_000}, "crashes_max"),
        ({"result_ttl": "31d"}, "result_ttl_ms"),
        ({"unique_key": ""}, "unique_key"),
        ({"unique_key": "x" * 257}, "unique_key"),
        ({"unique_key": "{"}, "unique_key: Single"),
        ({"order_key": "{color}"}, "names 'color'"),
        ({"on_conflict": "fight"}, "on_conflict is 'fight'"),
        ({"backoff": "soon"}, "'soon' is no duration"),
        ({"queue": "a b"}, "queue is 'a b'"),
        ({"name": "a b"}, "name is 'a b'"),
        ({"queue": 7}, "queue is 7"),
        ({"timeout": "soon"}, "'soon' is no duration"),
        ({"timeout": 0}, "timeout in ms is 0"),
        ({"delay": "4000d"}, "delay in ms"),
    ],
)
def test_a_policy_out_of_range_is_refused_where_it_is_written(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidTask, match=f"task .*{words}"):
        App().task(**options)(plain)
    with pytest.raises(InvalidRequest):
        App().task(plain).options(**options)  # A name is none of these options.


def test_an_unknown_option_suggests_the_nearest() -> None:
    app = App()
    wrong: Any = {"quue": "mail"}
    with pytest.raises(InvalidRequest, match=r"no option 'quue' \(did you mean 'queue'\?\)"):
        app.task(**wrong)
    with pytest.raises(InvalidRequest, match=r"task 'plain' has no option 'quue' \(did you mean"):
        app.task(plain).options(**wrong)


def test_only_functions_that_return_are_tasks() -> None:
    def yields() -> Any:
        yield 1

    class Callable:
        def __call__(self) -> None: ...

    wrong: Any
    for wrong in (yields, Callable(), 7):
        with pytest.raises(InvalidTask):
            App().task(wrong)


def test_options_go_before_what_was_declared_and_change_only_what_they_name() -> None:
    app = App()
    app.access = access = FakeAccess()
    task = app.task(queue="mail", priority=3, attempts_max=9)(plain)
    job = task.options(priority=1, delay="60s").enqueue(1)
    queue, new = access.tasks[job.id.bytes]
    assert (queue, new.priority, new.delay_ms, new.attempts_max) == ("mail", 1, 60_000, 9)
    job = task.options(queue="later").enqueue(1)
    queue, new = access.tasks[job.id.bytes]
    assert (queue, new.priority, new.delay_ms) == ("later", 3, 0)
