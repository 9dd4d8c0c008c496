"""What callers write becomes what is sent, or is refused by name."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from raftq.client import backoff
from raftq.client.keywords.filters import FilterKeywords, task_filter
from raftq.client.keywords.moments import instant_ms
from raftq.client.keywords.new_tasks import TASK_KEYWORDS, TaskKeywords, make_task
from raftq.client.keywords.rates import backoff_of, rate_of
from raftq.client.parts.configuring import QueueKeywords, queue_changes
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import BackoffKind, OnConflict, OnParentFailure, SweepAction, TaskState
from raftq.protocol.options import Backoff, NewTask, QueueChanges, Rate, TaskFilter, TaskOptions
from raftq.protocol.sweeps import swept_states

ID = bytes(16)
PARENT = UUID(int=7)
NOON = datetime(2026, 12, 24, 12, tzinfo=UTC)
NOON_MS = 1_798_113_600_000


def test_a_task_that_is_told_nothing_special_carries_no_options() -> None:
    plain: TaskKeywords = {"priority": 1, "delay": "2s", "not_before": NOON, "attempts_max": 3}
    assert make_task(ID, b"x", {}) == NewTask(ID, b"x")
    assert make_task(ID, b"x", plain) == NewTask(ID, b"x", 1, 2_000, 3, NOON_MS)
    assert make_task(ID, b"x", {"id": PARENT}) == NewTask(PARENT.bytes, b"x")
    assert make_task(ID, b"x", {"id": None}) == NewTask(ID, b"x")


def test_every_option_of_a_task_has_a_keyword() -> None:
    told: TaskKeywords = {
        "crashes_max": 2,
        "backoff": "5s",
        "expires": "1m",
        "expires_at": NOON,
        "unique_key": "u",
        "on_conflict": "existing",
        "unique_for": timedelta(hours=1),
        "order_key": "o",
        "limit_key": "l",
        "fair_key": "f",
        "depends_on": [PARENT, ID],
        "on_parent_failure": "run",
        "result_ttl": "2d",
        "confirm_within": 60,
        "check_queue": "checks",
    }
    options = make_task(ID, b"x", told).options
    assert options == TaskOptions(
        expires_at_ms=NOON_MS,
        expires_after_ms=60_000,
        backoff=Backoff(5_000),
        crashes_max=2,
        unique_key="u",
        on_conflict=OnConflict.EXISTING,
        unique_ms=3_600_000,
        order_key="o",
        limit_key="l",
        fair_key="f",
        depends_on=[PARENT.bytes, ID],
        on_parent_failure=OnParentFailure.RUN,
        result_ttl_ms=172_800_000,
        confirm_within_ms=60_000,
        check_queue="checks",
    )
    fields = set(TaskOptions.__struct_fields__)
    assert len(told) == len(fields), "each field of the options can be told"
    assert TaskKeywords.__annotations__.keys() == TASK_KEYWORDS


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [
        ("unique_kee", "x", "did you mean 'unique_key'"),
        ("on_conflict", "ignore", "on_conflict is 'ignore'"),
        ("expires_at", datetime(2026, 1, 1), "time zone"),
        ("expires_at", 1.5, "no instant"),
        ("not_before", 0, "no instant"),
        ("backoff", "soon", "no duration"),
        ("depends_on", 7, "depends_on is 7"),
    ],
)
def test_what_is_not_written_as_it_must_be_is_refused_by_name(
    keyword: str, value: object, said: str
) -> None:
    told: Any = {keyword: value}
    with pytest.raises(InvalidRequest, match=said):
        make_task(ID, b"x", told)


def test_an_instant_is_the_same_in_every_time_zone() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=9)))
    assert instant_ms(there) == instant_ms(NOON) == instant_ms(NOON_MS) == NOON_MS


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/s", Rate(10, 1_000)),
        ("100/5m", Rate(100, 300_000)),
        (" 3 / 500ms burst 7", Rate(3, 500, 7)),
        (Rate(1, 2, 3), Rate(1, 2, 3)),
    ],
)
def test_a_rate_is_a_number_in_a_time(text: Rate | str, rate: Rate) -> None:
    assert rate_of(text) == rate


@pytest.mark.parametrize("text", ["10", "/s", "10/", "x/s", "10/s burst", "10/fortnight", "-1/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is no rate"):
        rate_of(text)


def test_a_backoff_is_a_struct_or_its_first_pause() -> None:
    assert backoff_of("5s") == Backoff(5_000)
    assert backoff_of("20m").max_ms == 1_200_000, "the longest pause is not below the first"
    own = backoff("1s", "linear", max="1h", jitter_percent=0)
    assert backoff_of(own) == own == Backoff(1_000, BackoffKind.LINEAR, 3_600_000, 0)
    wrong: Any = "random"
    with pytest.raises(InvalidRequest, match="there are fixed, linear, exponential"):
        backoff(1, wrong)


def test_every_criterion_of_a_filter_has_a_keyword() -> None:
    told: FilterKeywords = {
        "queue": "q",
        "states": ["dead", TaskState.READY],
        "unique_key": "u",
        "order_key": "o",
        "limit_key": "l",
        "fair_key": "f",
        "priority": 3,
        "enqueued_before": NOON,
        "enqueued_after": 5,
        "error_contains": "disk",
    }
    states = [TaskState.DEAD, TaskState.READY]
    assert task_filter(told) == TaskFilter("q", states, "u", "o", "l", "f", 3, NOON_MS, 5, "disk")
    assert len(told) == len(TaskFilter.__struct_fields__)
    assert task_filter({"states": "dead"}).states == [TaskState.DEAD]


@pytest.mark.parametrize(
    ("told", "said"),
    [({"que": "q"}, "did you mean 'queue'"), ({"states": "gone"}, "there are scheduled")],
)
def test_a_filter_that_is_none_is_refused(told: Any, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        task_filter(told)


def test_a_sweep_changes_tasks_only_in_the_states_where_it_has_a_meaning() -> None:
    ready = TaskFilter(states=[TaskState.READY, TaskState.DONE])
    assert swept_states(SweepAction.CANCEL, ready) == [TaskState.READY]
    assert swept_states(SweepAction.REDRIVE, ready) == []
    assert swept_states(SweepAction.REDRIVE, TaskFilter()) == [TaskState.DEAD]
    assert TaskState.LEASED not in swept_states(SweepAction.MOVE, TaskFilter())


def test_every_setting_of_a_queue_has_a_keyword() -> None:
    told: QueueKeywords = {
        "paused": True,
        "concurrency": 3,
        "rate": "10/s",
        "attempts_max": 4,
        "crashes_max": 5,
        "backoff": "1s",
        "result_ttl": "1h",
        "ageing": "30s",
        "tasks_max": 6,
        "payload_bytes_max": None,
        "enqueue_rate": None,
        "fair_weights": {"a": 2},
    }
    assert queue_changes(told) == QueueChanges(
        paused=True,
        concurrency=3,
        rate=Rate(10, 1_000),
        attempts_max=4,
        crashes_max=5,
        backoff=Backoff(1_000),
        result_ttl_ms=3_600_000,
        ageing_ms=30_000,
        tasks_max=6,
        payload_bytes_max=None,
        enqueue_rate=None,
        fair_weights={"a": 2},
    )
    assert len(told) == len(QueueChanges.__struct_fields__)
    wrong: Any = {"concurency": 1}
    with pytest.raises(InvalidRequest, match="did you mean 'concurrency'"):
        queue_changes(wrong)


@pytest.mark.parametrize("read", [rate_of, backoff_of])
def test_text_that_is_neither_rate_nor_duration_names_what_it_was(
    read: Callable[[str], object],
) -> None:
    with pytest.raises(InvalidRequest, match="often"):
        read("often")
