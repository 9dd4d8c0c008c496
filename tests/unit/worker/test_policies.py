"""What a task is told beyond a plain one: where it is declared, per call, by its arguments."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from tests.support.fake_access import FakeAccess

from raftq.client import backoff
from raftq.protocol.control import Cancel, Confirm
from raftq.protocol.fields import BackoffKind, OnConflict, OnParentFailure, TaskState
from raftq.protocol.options import Backoff, NewTask, TaskOptions
from raftq.protocol.replies import EnqueuedTask
from raftq.worker import App
from raftq.worker.errors import InvalidArguments, InvalidTask
from raftq.worker.job import Job
from raftq.worker.pauses import pause_ms

NOON = datetime(2026, 12, 24, 12, tzinfo=UTC)
NOON_MS = 1_798_113_600_000


@dataclass
class User:
    id: int


def tenant(user: User, kind: str = "a") -> str | None:
    return f"tenant-{user.id % 2}" if kind == "a" else None


def number(user: User) -> Any:
    return user.id  # Not text.


def made() -> tuple[App, FakeAccess]:
    app = App()
    app.access = access = FakeAccess()
    return app, access


def sent(access: FakeAccess, job: Job[Any]) -> NewTask:
    return access.tasks[job.id.bytes][1]


def test_a_task_that_says_nothing_special_is_plain_and_leaves_attempts_to_its_queue() -> None:
    app, access = made()

    @app.task(priority=2, delay="1s")
    def work() -> None: ...

    new = sent(access, work.options(not_before=NOON).enqueue())
    assert (new.options, new.attempts_max, new.not_before_at_ms) == (None, 0, NOON_MS)


def test_every_policy_may_be_declared_and_said_per_call() -> None:
    app, access = made()

    @app.task(
        crashes_max=2,
        backoff=backoff("5s", "linear"),
        expires="1h",
        unique_key="everybody",
        on_conflict="replace",
        unique_for="1m",
        order_key="o",
        limit_key="l",
        fair_key="f",
        on_parent_failure="wait",
        result_ttl="2h",
        confirm_within="5m",
        check_queue="checks",
    )
    def work() -> None: ...

    declared = TaskOptions(
        expires_after_ms=3_600_000,
        backoff=Backoff(5_000, BackoffKind.LINEAR),
        crashes_max=2,
        unique_key="everybody",
        on_conflict=OnConflict.REPLACE,
        unique_ms=60_000,
        order_key="o",
        limit_key="l",
        fair_key="f",
        on_parent_failure=OnParentFailure.WAIT,
        result_ttl_ms=7_200_000,
        confirm_within_ms=300_000,
        check_queue="checks",
    )
    assert sent(access, work.enqueue()).options == declared
    parent = work.enqueue()
    said = work.options(
        backoff="1s", expires_at=NOON, unique_key=None, order_key="p", depends_on=[parent]
    )
    found = sent(access, said.enqueue()).options
    assert found is not None
    assert (found.backoff, found.expires_at_ms, found.unique_key) == (Backoff(1_000), NOON_MS, None)
    assert (found.order_key, found.depends_on) == ("p", [parent.id.bytes])
    assert (found.limit_key, found.crashes_max) == ("l", 2), "what is not named stays"
    more = sent(access, said.options(order_key="q", backoff="2s").enqueue()).options
    assert more is not None
    assert (more.order_key, more.backoff, more.expires_at_ms) == ("q", Backoff(2_000), NOON_MS)


def test_a_key_may_follow_from_the_arguments() -> None:
    app, access = made()

    @app.task(
        unique_key="user-{user.id}-{kind}",
        limit_key=tenant,
    )
    def work(user: User, kind: str = "a") -> None: ...

    new = sent(access, work.enqueue(User(7)))
    assert new.options == TaskOptions(unique_key="user-7-a", limit_key="tenant-1")
    new = sent(access, work.enqueue(User(8), kind="b"))
    assert new.options == TaskOptions(unique_key="user-8-b")


def test_a_key_that_cannot_be_made_is_refused_where_the_task_is_enqueued() -> None:
    app, access = made()

    @app.task(unique_key="{user.name}")
    def by_template(user: User) -> None: ...

    @app.task(order_key=number)
    def by_function(user: User) -> None: ...

    for task in (by_template, by_function):
        with pytest.raises(InvalidArguments, match="cannot be made of these arguments"):
            task.enqueue(User(1))
    with pytest.raises(InvalidTask, match="names 'color', which is none of its parameters: user"):
        by_function.options(fair_key="{color}")
    assert not access.enqueues


def test_the_job_of_a_taken_key_is_that_of_the_task_that_has_it() -> None:
    app, access = made()
    there = UUID(int=9)

    @app.task(unique_key="k", on_conflict="existing")
    def work() -> int:
        return 1

    def holder(queue: str, task: NewTask) -> EnqueuedTask:
        return EnqueuedTask(there.bytes, TaskState.LEASED, False)

    access.enqueue = holder
    (again,) = app.enqueue_many([work.draft()])
    job = work.enqueue()
    assert (job.id, job.created, again.id) == (there, False, there)


def test_a_job_can_be_cancelled_confirmed_and_asked_how_far_it_is() -> None:
    app, access = made()

    @app.task
    def work() -> None: ...

    job = work.enqueue()
    assert job.cancel() is TaskState.READY
    assert job.confirm() is TaskState.READY
    assert access.controls == [Cancel([job.id.bytes]), Confirm([job.id.bytes])]
    nothing: object = job.progress()
    assert nothing is None
    access.tell(job.id, app.serializer.encode({"percent": 50}))
    assert job.progress() == {"percent": 50}


# ---------------------------------------------------------------- prepared tasks


def test_a_check_is_meant_by_the_check_queue_and_keeps_its_function_callable() -> None:
    app, access = made()

    @app.task(confirm_within="1m", check_queue="checks")
    def work(number: int) -> None: ...

    @work.check
    def is_committed(number: int) -> bool:
        return number == 1

    assert is_committed(1), "calling it stays a plain call"
    payload = access.payload(work.enqueue(3).id)
    run, check = app.read(payload, "default"), app.read(payload, "checks")
    assert (run.task, run.is_check) == (work, False)
    assert (check.task.function, check.is_check, check.args) == (is_committed, True, [3])
    assert app.read(payload).task is work


def test_a_check_queue_needs_a_check_and_a_check_needs_a_queue() -> None:
    app, access = made()

    @app.task(confirm_within="1m", check_queue="checks")
    def work() -> None: ...

    with pytest.raises(InvalidTask, match=r"declare one with @work\.check"):
        work.validate()
    with pytest.raises(InvalidTask, match="no check"):
        app.read(access.payload(work.enqueue().id), "checks")

    @app.task
    def plain() -> None: ...

    with pytest.raises(InvalidTask, match="has no check_queue"):
        plain.check(lambda: True)
    with pytest.raises(InvalidTask, match="own queue"):
        app.task(name="other", queue="q", check_queue="q")(lambda: None)


# ---------------------------------------------------------------- the App's pauses


@pytest.mark.parametrize(
    ("kind", "pauses"),
    [("fixed", [100, 100, 100]), ("linear", [100, 200, 300]), ("exponential", [100, 200, 350])],
)
def test_the_apps_pauses_grow_as_the_clusters_do(kind: Any, pauses: list[int]) -> None:
    growing = backoff("100ms", kind, max="350ms", jitter_percent=0)
    assert [pause_ms(growing, attempt) for attempt in (1, 2, 3)] == pauses
    assert pause_ms(growing, 10_000) <= 350


def test_jitter_takes_away_and_never_adds() -> None:
    growing = backoff("1s", jitter_percent=20)
    assert (pause_ms(growing, 1, 0.0), pause_ms(growing, 1, 1.0)) == (1_000, 800)
    assert all(800 <= pause_ms(growing, 1) <= 1_000 for _ in range(50))


def test_an_app_may_leave_pauses_to_the_queue() -> None:
    assert App(backoff=None).pause_ms(1) is None
    assert App(backoff="2s").pause_ms(1) in range(1_600, 2_001)
