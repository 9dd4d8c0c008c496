"""`app.testing()`: a test drives the worker and the clock, and sees what the cluster would do."""

import asyncio
import logging
import os
import threading
from collections.abc import Generator
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.asyncs import asynchronous

from raftq.client import InvalidRequest, TaskState
from raftq.testing import EnqueuedCall, RunRecord, Testing
from raftq.worker import App, Context, Hook, current
from raftq.worker.errors import ResultTimeout, TaskFailed, UnknownTaskName
from raftq.worker.job import Job
from raftq.worker.testing import session

START = datetime(2030, 1, 7, 8, tzinfo=UTC)


class Shop:
    """An App with a few tasks, and what they did."""

    def __init__(self) -> None:
        self.app = App("nowhere.invalid:1")
        self.done: list[object] = []
        self.threads: list[threading.Thread] = []
        app = self.app

        @app.task(queue="mail", attempts_max=2)
        async def send(address: str, subject: str = "hello") -> str:
            await asyncio.sleep(0)
            self.done.append((address, subject))
            return f"to {address}"

        @app.task
        def order(items: tuple[str, ...], when: datetime) -> int:
            self.threads.append(threading.current_thread())
            self.done.append((items, when))
            send.enqueue(items[0])
            return len(items)

        @app.task(attempts_max=2)
        def break_down(how: str) -> None:
            self.done.append(how)
            raise ValueError(how)

        self.send, self.order, self.break_down = send, order, break_down


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def testing(shop: Shop) -> Generator[Testing]:
    with shop.app.testing(START) as started:
        yield started


# ------------------------------------------------------------ running


def test_nothing_runs_by_itself_and_a_wait_for_it_ends_at_once(
    shop: Shop, testing: Testing
) -> None:
    job = shop.send.enqueue("a")
    assert job.status().state is TaskState.READY
    with pytest.raises(ResultTimeout, match="run_pending"):
        job.result()
    with pytest.raises(ResultTimeout):
        shop.app.gather([job], timeout="1h")
    assert shop.done == []


def test_a_run_is_on_the_caller_s_thread_and_its_result_is_there_at_once(
    shop: Shop, testing: Testing
) -> None:
    job = shop.order.enqueue(("a", "b"), START)
    record = testing.run_one()
    assert record is not None and (record.id, record.state) == (job.id, TaskState.DONE)
    assert job.result() == record.result == record.job.result() == 2
    assert shop.threads == [threading.current_thread()]


def test_arguments_arrive_as_a_worker_reads_them(shop: Shop, testing: Testing) -> None:
    shop.order.enqueue(("a",), START)
    testing.run_one()
    assert shop.done == [(("a",), START)]


def test_pending_are_also_the_tasks_that_tasks_enqueue(shop: Shop, testing: Testing) -> None:
    shop.order.enqueue(("a",), START)
    assert [record.name for record in testing.run_pending()] == ["order", "send"]
    assert testing.run_pending() == []
    assert testing.run_one() is None


def test_only_the_tasks_of_a_queue_can_be_run(shop: Shop, testing: Testing) -> None:
    shop.order.enqueue(("a",), START)
    assert testing.run_pending(queue="mail") == []
    assert [record.name for record in testing.run_pending(queue="default")] == ["order"]


def test_a_run_has_the_context_of_a_run() -> None:
    app = App()
    seen: list[Context] = []

    @app.task(queue="q", timeout="1m")
    def look() -> None:
        current().extend("1h")
        seen.append(current())

    with app.testing() as testing:
        job = look.options(headers={"trace": "7"}).enqueue()
        testing.run_pending()
    (context,) = seen
    assert (context.task_id, context.name, context.queue) == (job.id, "look", "q")
    assert (context.attempt, context.headers) == (1, {"trace": "7"})
    assert context.token >= 1 and context.deadline is not None and not context.is_lost


def test_hooks_are_called_as_with_a_cluster() -> None:
    class Counting(Hook):
        enqueued = 0

        def enqueuing(self, outgoing: object) -> None:
            self.enqueued += 1

    hook = Counting()
    app = App(hooks=[hook])

    @app.task
    def nothing() -> None: ...

    with app.testing() as testing:
        nothing.enqueue()
        assert hook.enqueued == 1
        assert testing.run_pending()[0].state is TaskState.DONE


def test_a_job_of_a_test_never_waits_for_a_real_cluster(shop: Shop) -> None:
    with shop.app.testing(START) as testing:
        done = shop.send.enqueue("a")
        testing.run_pending()
        waiting = shop.send.enqueue("b")
    assert done.result() == "to a"
    with pytest.raises(ResultTimeout):
        waiting.result()


@asynchronous
async def test_everything_can_be_awaited() -> None:
    shop = Shop()
    async with shop.app.testing(START) as testing:
        job = await shop.order.aenqueue(("a",), START)
        records = await testing.arun_pending()
        assert [record.name for record in records] == ["order", "send"]
        assert await job.aresult() == 1
        assert shop.threads != [threading.current_thread()]
        await shop.send.aenqueue("b")
        assert (await testing.akill_worker(after_run=True)).state is TaskState.READY
        assert shop.done[-1] == ("b", "hello")


@asynchronous
async def test_a_coroutine_cannot_run_in_blocking_code_inside_a_loop() -> None:
    shop = Shop()
    with shop.app.testing() as testing:
        shop.send.enqueue("a")
        with pytest.raises(InvalidRequest, match="arun_one"):
            testing.run_one()
        (record,) = await testing.arun_pending()
        assert record.attempt == 1


@asynchronous
async def test_a_run_that_is_cancelled_with_its_test_burns_no_attempt() -> None:
    app = App()

    @app.task
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    async with app.testing() as testing:
        job = await wait_for_ever.aenqueue()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await testing.arun_one()
        status = await job.astatus()
        assert (status.state, status.failures) == (TaskState.READY, 0)


def test_what_a_test_raises_inside_a_task_is_no_failure_of_the_task() -> None:
    app = App()

    @app.task
    def stop_the_test() -> None:
        pytest.fail("this is the test's own")

    with app.testing() as testing:
        job = stop_the_test.enqueue()
        with pytest.raises(pytest.fail.Exception):
            testing.run_one()
        assert job.status().failures == 0


# ------------------------------------------------------------ failures


def test_a_failure_is_recorded_and_tried_again(shop: Shop, testing: Testing) -> None:
    job = shop.break_down.enqueue("oh")
    record = testing.run_one()
    assert record is not None and record.state is TaskState.READY
    assert isinstance(record.error, ValueError)
    assert "ValueError: oh" in job.status().errors[0]


def test_the_exception_of_a_task_that_is_dead_by_it_reaches_the_test(
    shop: Shop, testing: Testing
) -> None:
    shop.break_down.enqueue("oh")
    with pytest.raises(ValueError, match="oh"):
        testing.run_pending()
    assert shop.done == ["oh", "oh"]


def test_a_dead_task_s_result_is_its_failure(shop: Shop, testing: Testing) -> None:
    job = shop.break_down.enqueue("oh")
    states = [record.state for record in testing.run_pending(fail_fast=False)]
    assert states == [TaskState.READY, TaskState.DEAD]
    with pytest.raises(TaskFailed) as failure:
        job.result()
    assert isinstance(failure.value.cause, ValueError)


def test_runs_that_fail_are_logged(
    shop: Shop, testing: Testing, caplog: pytest.LogCaptureFixture
) -> None:
    shop.break_down.enqueue("oh")
    with caplog.at_level(logging.WARNING):
        testing.run_pending(fail_fast=False)
    assert [record.message for record in caplog.records] == ["run_failed"] * 2


def test_the_next_run_can_be_made_to_fail(shop: Shop, testing: Testing) -> None:
    testing.fail_next(ConnectionError("no mail today"))
    job = shop.send.enqueue("a")
    first, second = testing.run_pending()
    assert (first.state, second.state) == (TaskState.READY, TaskState.DONE)
    assert (first.is_forced, second.is_forced) == (True, False)
    assert shop.done == [("a", "hello")]
    assert job.status().failures == 1


def test_a_task_that_was_made_to_fail_until_it_is_dead_does_not_stop_the_test(
    shop: Shop, testing: Testing
) -> None:
    testing.fail_next(OSError)
    testing.fail_next(OSError)
    shop.send.enqueue("a")
    assert testing.run_pending()[-1].state is TaskState.DEAD


def test_a_failure_can_wait_for_a_run_of_one_task(shop: Shop, testing: Testing) -> None:
    testing.fail_next(OSError, task="send")
    shop.order.enqueue(("a",), START)
    assert [record.is_forced for record in testing.run_pending()] == [False, True, False]


def test_tasks_that_enqueue_each_other_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "RUNS_MAX", 20)
    app = App()

    @app.task
    def again() -> None:
        again.enqueue()

    with app.testing() as testing:
        again.enqueue()
        with pytest.raises(InvalidRequest, match="for ever"):
            testing.run_pending()


def test_a_task_that_the_app_does_not_have_is_an_error_and_stays(testing: Testing) -> None:
    other = App()

    @other.task
    def strange() -> None: ...

    with testing.client() as client:
        made = client.enqueue("default", strange.payload((), {}, {}))
        with pytest.raises(UnknownTaskName):
            testing.run_one()
        assert client.task(made.id).state is TaskState.READY


# ------------------------------------------------------------ time and death


def test_a_delayed_task_runs_when_its_time_has_come(shop: Shop, testing: Testing) -> None:
    shop.send.options(delay="1m").enqueue("a")
    assert testing.run_pending() == []
    testing.advance("59s")
    assert testing.run_pending() == []
    testing.advance("1s")
    assert len(testing.run_pending()) == 1
    assert testing.clock.now == START + timedelta(minutes=1)
    assert testing.clock.elapsed == timedelta(minutes=1)


def test_a_killed_worker_s_task_comes_back_and_the_crash_counts(
    shop: Shop, testing: Testing
) -> None:
    job = shop.send.enqueue("a")
    record = testing.kill_worker()
    assert (record.id, record.state, record.attempt) == (job.id, TaskState.READY, 1)
    assert shop.done == [] and testing.clock.elapsed == timedelta(seconds=30)
    (again,) = testing.run_pending()
    assert again.attempt == 2
    assert (job.status().crashes, job.status().failures) == (1, 0)


def test_a_worker_can_die_when_its_task_is_through(shop: Shop, testing: Testing) -> None:
    shop.send.enqueue("a")
    testing.kill_worker(after_run=True)
    testing.run_pending()
    assert shop.done == [("a", "hello")] * 2


def test_a_task_that_crashes_too_often_is_dead(shop: Shop, testing: Testing) -> None:
    shop.send.enqueue("a")
    states = [testing.kill_worker().state for _ in range(10)]
    assert states == [TaskState.READY] * 9 + [TaskState.DEAD]
    with pytest.raises(InvalidRequest, match="no task is due"):
        testing.kill_worker()


def test_time_that_passes_during_a_run_costs_no_lease() -> None:
    app = App()
    with app.testing() as testing:

        @app.task
        def sleep_long() -> None:
            testing.advance("1h")

        sleep_long.enqueue()
        assert testing.run_pending()[0].state is TaskState.DONE


# ------------------------------------------------------------ looking


def test_what_was_enqueued_can_be_read(shop: Shop, testing: Testing) -> None:
    shop.send.options(delay="1m", priority=1, headers={"trace": "7"}).enqueue("a", subject="s")
    shop.order.enqueue(("a",), when=START)
    first, second = testing.enqueued()
    assert (first.args, first.kwargs) == (("a",), {"subject": "s"})
    assert (first.queue, first.delay_ms, first.priority) == ("mail", 60_000, 1)
    assert (first.headers, first.attempts_max) == ({"trace": "7"}, 2)
    assert second.task is shop.order and second.arguments == {"items": ("a",), "when": START}
    assert testing.enqueued(shop.send) == testing.enqueued("send") == [first]
    assert first.job.status().state is TaskState.SCHEDULED


def test_arguments_by_name_have_the_defaults(shop: Shop, testing: Testing) -> None:
    shop.send.enqueue("a")
    assert testing.enqueued()[0].arguments == {"address": "a", "subject": "hello"}


def test_asking_for_a_task_that_there_is_not_suggests_one(testing: Testing) -> None:
    with pytest.raises(InvalidRequest, match="did you mean 'send'"):
        testing.enqueued("sent")
    with pytest.raises(InvalidRequest, match="did you mean 'send'"):
        testing.fail_next(OSError, task="sent")


# ------------------------------------------------------------ beginning and end


def test_no_client_of_the_real_cluster_is_made_meanwhile(shop: Shop, testing: Testing) -> None:
    with pytest.raises(InvalidRequest, match="testing mode"):
        shop.app.new_client()
    with pytest.raises(InvalidRequest, match="testing mode"):
        shop.app.new_async_client()


def test_an_app_is_in_testing_mode_once(shop: Shop, testing: Testing) -> None:
    with pytest.raises(InvalidRequest, match="already"):
        shop.app.testing().__enter__()


def test_afterwards_the_app_is_as_before_and_the_mode_is_over(shop: Shop) -> None:
    before = shop.app.access
    with shop.app.testing() as testing:
        assert shop.app.access is not before
    assert shop.app.access is before
    for use in (testing.run_one, testing.run_pending, lambda: testing.advance("1s")):
        with pytest.raises(InvalidRequest, match="over"):
            use()


def test_two_tests_share_nothing(shop: Shop) -> None:
    with shop.app.testing():
        shop.send.enqueue("a")
    with shop.app.testing() as testing:
        assert testing.enqueued() == [] and testing.run_pending() == []


def test_a_task_of_a_worker_cannot_begin_a_test(shop: Shop) -> None:
    app = App()

    @app.task
    def begin() -> None:
        shop.app.testing().__enter__()

    with app.testing() as testing:
        begin.enqueue()
        with pytest.raises(InvalidRequest, match="for tests"):
            testing.run_pending()


def test_a_start_without_a_time_zone_is_refused(shop: Shop) -> None:
    with pytest.raises(InvalidRequest, match="time zone"):
        shop.app.testing(datetime(2030, 1, 1))


def test_other_threads_reach_the_same_cluster(shop: Shop, testing: Testing) -> None:
    thread = threading.Thread(target=lambda: shop.send.enqueue("a"))
    thread.start()
    thread.join()
    asyncio.run(_enqueue_one(shop))
    assert [call.args for call in testing.enqueued()] == [("a",), ("b",)]


async def _enqueue_one(shop: Shop) -> None:
    await shop.send.aenqueue("b")


def test_a_forked_child_is_told_that_it_cannot_reach_the_cluster(
    shop: Shop, testing: Testing, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = shop.send.enqueue("a")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    for use in (lambda: shop.send.enqueue("b"), job.status, lambda: asyncio.run(_ask(job))):
        with pytest.raises(InvalidRequest, match="another process"):
            use()


async def _ask(job: Job[str]) -> None:
    await job.astatus()


def test_no_test_class_of_pytest_is_made_of_what_is_imported() -> None:
    for kind in (Testing, RunRecord, EnqueuedCall):
        assert not kind.__name__.startswith("Test") or getattr(kind, "__test__", True) is False
