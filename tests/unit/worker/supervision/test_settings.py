"""What a worker leases from: as told, or as its App's tasks say."""

import msgspec
import pytest

from raftq.protocol.errors import InvalidRequest
from raftq.worker import App
from raftq.worker.supervision.settings import Settings, parse_queue, plan_queues

app = App()


@app.task(queue="mail")
async def send() -> None:
    """On the loop."""


@app.task(queue="images", execution="process")
def shrink() -> None:
    """In a child process."""


@app.task(queue="files")
def copy() -> None:
    """In a thread."""


@app.task(queue="mixed")
def one() -> None:
    """In a thread."""


@app.task(queue="mixed", execution="process")
def two() -> None:
    """In a child process."""


def test_settings_survive_their_journey() -> None:
    settings = Settings(target="a:b", queues=[("mail", None), ("reports", 2)], threads=3)
    assert msgspec.json.decode(msgspec.json.encode(settings), type=Settings) == settings


@pytest.mark.parametrize(
    ("text", "queue"), [("mail", ("mail", None)), ("reports:2", ("reports", 2))]
)
def test_a_queue_may_have_a_limit(text: str, queue: tuple[str, int | None]) -> None:
    assert parse_queue(text) == queue


@pytest.mark.parametrize("text", ["mail:", "mail:0", "mail:-1", "mail:x", "ma il", "", ":2"])
def test_what_is_no_queue_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_queue(text)


def test_without_queues_all_of_the_apps_are_leased_from() -> None:
    plan = plan_queues(app, Settings(target="a:b", children=2))
    assert plan.queues == ["mail", "images", "files", "mixed"] and plan.warnings == []


def test_a_queue_of_one_kind_is_limited_by_what_runs_it() -> None:
    settings = Settings(target="a:b", concurrency=16, threads=4, children=2)
    assert plan_queues(app, settings).queue_limits == {"images": 2, "files": 4}


def test_a_limit_that_was_given_goes_before_one_that_follows() -> None:
    settings = Settings(target="a:b", queues=[("images", 5), ("mail", 3)], children=2)
    assert plan_queues(app, settings).queue_limits == {"images": 5, "mail": 3}


def test_limits_that_follow_never_ask_for_more_slots_than_there_are() -> None:
    settings = Settings(target="a:b", concurrency=2, threads=1, children=1)
    assert plan_queues(app, settings).queue_limits == {}


def test_a_queue_without_tasks_is_warned_of_with_the_nearest_name() -> None:
    plan = plan_queues(app, Settings(target="a:b", queues=[("mial", None)]))
    (warning,) = plan.warnings
    assert "queue 'mial' (did you mean 'mail'?)" in warning
    assert "files, images, mail, mixed" in warning


@pytest.mark.parametrize(
    ("empty", "queues", "text"),
    [
        (True, [], "a:b has no tasks; are the modules that declare them imported"),
        (False, [("mail", None), ("mail", 2)], "a queue is named twice"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    empty: bool, queues: list[tuple[str, int | None]], text: str
) -> None:
    with pytest.raises(InvalidRequest, match=text):
        plan_queues(App() if empty else app, Settings(target="a:b", queues=queues))
