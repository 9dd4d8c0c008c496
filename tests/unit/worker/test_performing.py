"""One run of a function: its context, its hooks, its result."""

import asyncio
import logging
import threading
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any
from uuid import uuid4

import pytest
from tests.support.asyncs import asynchronous
from tests.support.run_control import Control

from raftq.worker import App, Context, Hook, current
from raftq.worker.errors import InvalidArguments, NotRunning
from raftq.worker.performing import aperform, perform
from raftq.worker.task import Task


def context(task: Task[..., Any], control: Control | None = None) -> Context:
    return Context(uuid4(), task.name, "mail", 2, 77, control or Control(), {"trace": "1"})


def perform_call(task: Task[..., Any], *args: object, **known: Any) -> bytes | None:
    invocation = task.app.read(task.payload(args, {}, {}))
    return perform(invocation, known.get("context") or context(task))


async def aperform_call(task: Task[..., Any], *args: object) -> bytes | None:
    return await aperform(task.app.read(task.payload(args, {}, {})), context(task))


def test_a_def_runs_and_its_result_becomes_bytes() -> None:
    @App().task
    def double(number: int) -> int:
        return 2 * number

    assert double.decode_result(perform_call(double, 21)) == 42


@asynchronous
async def test_an_async_def_runs_and_its_result_becomes_bytes() -> None:
    @App().task
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    assert double.decode_result(await aperform_call(double, 21)) == 42


def test_a_run_knows_itself_and_afterwards_nobody_does() -> None:
    seen: list[Context] = []

    @App().task
    def work() -> None:
        seen.append(current())

    with pytest.raises(NotRunning):
        work()
    control = Control(5.0)
    expected = context(work, control)
    perform_call(work, context=expected)
    assert seen == [expected]
    assert (expected.deadline, expected.is_lost) == (5.0, False)
    expected.extend("1m")
    control.is_lost = True
    assert (expected.deadline, expected.is_lost) == (60.0, True)
    with pytest.raises(NotRunning, match=r"no task runs here"):
        current()


@asynchronous
async def test_runs_at_the_same_time_know_each_their_own() -> None:
    seen: list[tuple[int, bool]] = []

    @App().task
    async def work(number: int) -> None:
        before = current()
        await asyncio.sleep(0)
        seen.append((number, current() is before))

    await asyncio.gather(*(aperform_call(work, each) for each in range(3)))
    assert sorted(seen) == [(0, True), (1, True), (2, True)]


def test_log_records_of_a_run_carry_its_ids(caplog: pytest.LogCaptureFixture) -> None:
    @App().task
    def work() -> None:
        current().logger.warning("slow", extra={"size": 3})

    expected = context(work)
    perform_call(work, context=expected)
    (record,) = caplog.records
    fields = {name: getattr(record, name) for name in ("task_name", "queue", "attempt", "token")}
    assert fields == {"task_name": "work", "queue": "mail", "attempt": 2, "token": 77}
    assert vars(record)["task_id"] == str(expected.task_id) and vars(record)["size"] == 3
    assert (record.name, record.levelno) == ("raftq.task", logging.WARNING)


def test_a_def_that_returns_an_awaitable_is_a_mistake_and_says_so() -> None:
    async def forgotten() -> None: ...

    @App().task
    def work() -> Any:
        return forgotten()

    with pytest.raises(TypeError, match="make it async def"):
        perform_call(work)


def test_a_result_that_cannot_be_stored_fails_the_run() -> None:
    @App().task
    def work() -> Any:
        return threading.Lock()

    with pytest.raises(InvalidArguments, match=r"the result of task 'work' \(lock\)"):
        perform_call(work)


class Around(Hook):
    """Notes when runs begin and end, and swallows what it can."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    @contextmanager
    def running(self, context: Context) -> Generator[None]:
        self.notes.append(f"{self.name} enters {context.name} as {current().name}")
        with suppress(ValueError):
            yield
        self.notes.append(f"{self.name} leaves")


def test_hooks_are_entered_in_order_and_left_in_reverse() -> None:
    notes: list[str] = []

    @App(hooks=[Around("a", notes), Hook(), Around("b", notes)]).task
    def work() -> None:
        notes.append("runs")

    perform_call(work)
    assert notes == [
        "a enters work as work", "b enters work as work", "runs", "b leaves", "a leaves",
    ]  # fmt: skip


@asynchronous
async def test_no_hook_can_turn_a_failure_into_a_success() -> None:
    notes: list[str] = []
    app = App(hooks=[Around("a", notes)])

    @app.task
    def sync() -> None:
        raise ValueError("bad")

    @app.task
    async def on_loop() -> None:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        perform_call(sync)
    with pytest.raises(ValueError, match="bad"):
        await aperform_call(on_loop)
    assert notes.count("a leaves") == 2


def test_a_hook_that_raises_fails_the_run_before_it_begins() -> None:
    class Refusing(Hook):
        def running(self, context: Context) -> AbstractContextManager[object]:
            raise PermissionError(context.name)

    ran: list[float] = []

    @App(hooks=[Refusing()]).task
    def work() -> None:
        ran.append(time.monotonic())

    with pytest.raises(PermissionError):
        perform_call(work)
    assert not ran
