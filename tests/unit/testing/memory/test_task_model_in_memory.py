"""`app.testing()` with the whole task model: flows, schedules, keys, checks, in virtual time."""

from collections.abc import Generator
from datetime import UTC, datetime

import pytest

from raftq.client import KeyTaken, TaskState
from raftq.testing import Testing
from raftq.worker import App, DoNotRetry, RetryLater, current
from raftq.worker.errors import TaskFailed

START = datetime(2030, 1, 7, 8, tzinfo=UTC)  # A Monday.


class Shop:
    """An App that uses the whole task model, and what it did."""

    def __init__(self) -> None:
        self.app = App("nowhere.invalid:1")
        self.done: list[str] = []
        self.committed: set[str] = set()
        app = self.app

        @app.task
        def number(value: int) -> int:
            return value

        @app.task
        async def total(results: list[int], factor: int = 1) -> int:
            return factor * sum(results)

        @app.task
        def note(word: str) -> None:
            self.done.append(word)

        @app.task(unique_key="greet-{name}")
        def greet(name: str) -> int:
            current().progress(50)
            current().follow_up(note.s(f"hello {name}"))
            if name == "nobody":
                raise DoNotRetry("there is no such user")
            if name == "busy" and current().attempt == 1:
                raise RetryLater("later", "10m")
            return sum(current().parent_results())

        @app.task(confirm_within="1m", check_queue="checks")
        def pay(order: str) -> str:
            return f"paid {order}"

        @pay.check
        def was_committed(order: str) -> bool:
            self.done.append(f"checked {order}")
            return order in self.committed

        @app.schedule("0 9 * * 1-5", tz="Europe/Berlin", catch_up="one")
        @app.task
        def report() -> str:
            return "reported"

        self.number, self.total, self.note, self.greet = number, total, note, greet
        self.pay, self.report = pay, report


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def testing(shop: Shop) -> Generator[Testing]:
    with shop.app.testing(START) as started:
        yield started


def test_a_join_runs_when_its_members_are_done_and_gets_their_results(
    shop: Shop, testing: Testing
) -> None:
    group = shop.app.group(shop.number.s(each) for each in (1, 2, 3))
    job = group.join(shop.total.s(10)).enqueue()
    assert [run.name for run in testing.run_pending()] == ["number"] * 3 + ["total"]
    assert job.result() == 60
    (joined,) = testing.enqueued("total")
    assert joined.options is not None and len(joined.options.depends_on) == 3
    assert joined.arguments == {"factor": 10}, "the results are not known when it is enqueued"


def test_a_join_whose_member_is_dead_is_cancelled(shop: Shop, testing: Testing) -> None:
    group = shop.app.group([shop.number.s(1), shop.number.options(attempts_max=1).s(2)])
    job = group.join(shop.total.s()).enqueue()
    testing.run_one()
    testing.fail_next(ValueError("no"))
    testing.run_pending()
    with pytest.raises(TaskFailed) as failed:
        job.result()
    assert failed.value.state is TaskState.CANCELLED


def test_follow_ups_and_progress_come_with_the_result(shop: Shop, testing: Testing) -> None:
    parents = [shop.number.enqueue(each) for each in (4, 5)]
    job = shop.greet.options(depends_on=parents).enqueue("ada")
    testing.run_pending()
    progress: object = job.progress()
    assert (job.result(), progress, shop.done) == (9, 50, ["hello ada"])


def test_what_a_failed_attempt_would_have_enqueued_is_not(shop: Shop, testing: Testing) -> None:
    job = shop.greet.enqueue("nobody")
    testing.run_pending(fail_fast=False)
    assert (job.status().state, job.status().failures, shop.done) == (TaskState.DEAD, 1, [])


def test_a_retry_waits_as_long_as_the_task_says(shop: Shop, testing: Testing) -> None:
    job = shop.greet.enqueue("busy")
    assert len(testing.run_pending()) == 1
    testing.advance("9m")
    assert testing.run_pending() == [] and job.status().state is TaskState.SCHEDULED
    testing.advance("1m")
    testing.run_pending()
    assert job.result() == 0 and shop.done == ["hello busy"]


def test_the_pauses_that_only_the_app_asks_for_are_left_out(shop: Shop, testing: Testing) -> None:
    testing.fail_next(ValueError("no"))
    shop.number.enqueue(1)
    assert [run.attempt for run in testing.run_pending()] == [1, 2]


def test_a_key_is_free_again_when_its_task_is_over(shop: Shop, testing: Testing) -> None:
    first = shop.greet.enqueue("ada")
    with pytest.raises(KeyTaken):
        shop.greet.enqueue("ada")
    testing.run_pending()
    assert shop.greet.enqueue("ada").id != first.id


def test_a_refused_follow_up_is_a_failure_of_the_run(shop: Shop, testing: Testing) -> None:
    @shop.app.task(attempts_max=1)
    def twice() -> None:
        current().follow_up(shop.greet.s("ada"))

    shop.greet.options(delay="1h").enqueue("ada")
    job = twice.enqueue()
    (run,) = testing.run_pending(fail_fast=False)
    assert isinstance(run.error, KeyTaken) and job.status().state is TaskState.DEAD


def test_an_unconfirmed_task_is_checked_when_its_time_is_over(shop: Shop, testing: Testing) -> None:
    kept, lost, confirmed = (shop.pay.enqueue(each) for each in ("kept", "lost", "quick"))
    shop.committed.add("kept")
    assert testing.run_pending() == []
    confirmed.confirm()
    assert [run.name for run in testing.run_pending()] == ["pay"]
    testing.advance("1m")
    testing.run_pending()
    assert sorted(shop.done) == ["checked kept", "checked lost"]
    assert (kept.result(), lost.status().state) == ("paid kept", TaskState.CANCELLED)


def test_a_cancelled_task_does_not_run(shop: Shop, testing: Testing) -> None:
    job = shop.note.enqueue("never")
    job.cancel()
    assert testing.run_pending() == [] and shop.done == []


def test_a_run_that_is_cancelled_meanwhile_counts_for_nothing(shop: Shop, testing: Testing) -> None:
    @shop.app.task
    def cancel_itself() -> int:
        shop.app.job(current().task_id).cancel()
        return 1

    job = cancel_itself.enqueue()
    (run,) = testing.run_pending()
    assert (run.state, job.status().state) == (None, TaskState.CANCELLED)


def test_a_schedule_fires_in_virtual_time_on_weekdays_only(shop: Shop, testing: Testing) -> None:
    assert shop.app.sync_schedules() == ["report"]
    testing.advance("7d")
    days = [run for run in testing.run_pending() if run.name == "report"]
    assert len(days) == 5 and days[0].result == "reported"
