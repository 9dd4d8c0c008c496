"""Schedules of an App: declared with the tasks, told to the cluster, and no more than needed."""

from typing import Any

import pytest
from tests.support.asyncs import asynchronous
from tests.support.fake_access import FakeAccess

from raftq.protocol.control import SetSchedule
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import MissedRuns, Overlap
from raftq.protocol.options import Schedule, TaskOptions
from raftq.worker import App
from raftq.worker.errors import InvalidTask


def made() -> tuple[App, FakeAccess]:
    app = App()
    app.access = access = FakeAccess()
    return app, access


def test_a_schedule_is_told_with_the_policies_and_arguments_of_its_task() -> None:
    app, access = made()

    @app.schedule(
        "0 9 * * 1-5",
        tz="Europe/Berlin",
        catch_up="all",
        overlap="skip",
        jitter="30s",
        args=["daily"],
        kwargs={"pages": 3},
    )
    @app.schedule(every="5m", name="often", args=["short"])
    @app.task(queue="reports", priority=1, unique_key="report-{kind}", delay="1h")
    def report(kind: str, pages: int = 1) -> None: ...

    assert app.sync_schedules() == ["often", "report"]
    payload = access.schedules["report"].payload
    assert access.schedules["report"] == Schedule(
        queue="reports",
        payload=payload,
        cron="0 9 * * 1-5",
        timezone="Europe/Berlin",
        missed=MissedRuns.ALL,
        overlap=Overlap.SKIP,
        jitter_ms=30_000,
        priority=1,
        options=TaskOptions(unique_key="report-daily"),
    )
    invocation = app.read(payload)
    assert (invocation.task, invocation.args, invocation.kwargs) == (
        report, ["daily"], {"pages": 3},
    )  # fmt: skip
    assert access.schedules["often"].every_ms == 300_000


@asynchronous
async def test_what_is_told_already_is_not_told_again() -> None:
    app, access = made()
    app.schedule(every="1m")(app.task(name="a")(lambda: None))
    assert await app.async_schedules() == ["a"]
    assert await app.async_schedules() == []
    assert [type(each) for each in access.controls] == [SetSchedule]


def test_an_app_without_schedules_asks_nothing() -> None:
    app, access = made()
    assert app.sync_schedules() == [] and access.calls == 0


def test_a_schedule_that_somebody_paused_stays_paused_also_when_it_changes() -> None:
    app, access = made()
    app.schedule(every="1m")(app.task(name="a")(lambda: None))
    access.schedules["a"] = Schedule("default", b"old", every_ms=5_000, paused=True)
    assert app.sync_schedules() == ["a"]
    assert (access.schedules["a"].paused, access.schedules["a"].every_ms) == (True, 60_000)
    assert app.sync_schedules() == []


def test_a_refused_schedule_is_named() -> None:
    app, access = made()
    app.schedule("99 * * * *")(app.task(name="a")(lambda: None))

    def refuse(name: str, schedule: Schedule) -> None:
        raise InvalidRequest("no minute 99")

    access.on_schedule = refuse
    with pytest.raises(InvalidRequest, match="schedule 'a': no minute 99"):
        app.sync_schedules()


def plain(number: int = 1) -> None: ...


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either cron"),
        ({"cron": "* * * * *", "every": "1m"}, "either cron"),
        ({"every": "1m", "catch_up": "some"}, "'some'"),
        ({"every": "1m", "overlap": "maybe"}, "'maybe'"),
        ({"every": "1m", "args": [1, 2]}, "too many positional"),
        ({"every": "1m", "kwargs": {"color": 1}}, "color"),
        ({"every": "1m", "name": "a b"}, "the name of a schedule is 'a b'"),
    ],
)
def test_a_schedule_that_cannot_work_is_refused_where_it_is_written(
    options: dict[str, Any], words: str
) -> None:
    app, _ = made()
    task = app.task(plain)
    with pytest.raises(InvalidTask, match=words):
        app.schedule(**options)(task)
    assert not app.schedules


def test_a_schedule_is_of_a_task_and_of_one_name() -> None:
    app, _ = made()
    function: Any = plain
    with pytest.raises(InvalidTask, match=r"above @app\.task"):
        app.schedule(every="1m")(function)
    task = app.schedule(every="1m")(app.task(plain))
    with pytest.raises(InvalidTask, match="two schedules are named 'plain'"):
        app.schedule(every="2m")(task)
    app.schedule(every="2m", name="other")(task)
    assert list(app.schedules) == ["plain", "other"]
