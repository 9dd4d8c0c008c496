"""Options and schedules in JSON are those of the protocol, and come back as they were put."""

from uuid import UUID

import msgspec
import pytest
from msgspec import structs

from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest, PayloadTooLarge
from raftq.protocol.fields import BackoffKind, OnConflict, OnParentFailure, Overlap
from raftq.protocol.options import Backoff, Schedule, TaskOptions
from raftq.server.control.options import (
    OptionsBody,
    ScheduleBody,
    options_body,
    schedule_body,
    schedule_of,
    task_options,
)

PARENT = UUID(int=7)
FULL = TaskOptions(
    expires_at_ms=1,
    expires_after_ms=2,
    backoff=Backoff(3, BackoffKind.LINEAR, 4, 5),
    crashes_max=6,
    unique_key="u",
    on_conflict=OnConflict.REPLACE,
    unique_ms=7,
    order_key="o",
    limit_key="l",
    fair_key="f",
    depends_on=[PARENT.bytes],
    on_parent_failure=OnParentFailure.WAIT,
    result_ttl_ms=8,
    confirm_within_ms=9,
    check_queue="c",
)


def defaults(kind: type[msgspec.Struct]) -> dict[str, object]:
    return {each.name: each.default for each in structs.fields(kind) if not each.required}


def test_json_has_every_option_with_the_same_default() -> None:
    assert OptionsBody.__struct_fields__ == TaskOptions.__struct_fields__
    assert [each.default for each in structs.fields(OptionsBody)] == [
        each.default for each in structs.fields(TaskOptions)
    ]
    plain = TaskOptions()
    changed = [
        each for each in plain.__struct_fields__ if getattr(FULL, each) != getattr(plain, each)
    ]
    assert changed == list(TaskOptions.__struct_fields__), "the example changes every option"


def test_every_option_comes_through_json_and_back() -> None:
    shown = options_body(FULL)
    sent = msgspec.json.decode(msgspec.json.encode(shown), type=OptionsBody)
    assert sent.depends_on == [PARENT]
    assert task_options(sent) == FULL


@pytest.mark.parametrize("body", [None, OptionsBody()])
def test_options_without_a_choice_make_a_plain_task(body: OptionsBody | None) -> None:
    assert task_options(body) is None
    assert options_body(None) is None


def test_json_has_every_field_of_a_schedule_with_the_same_default() -> None:
    fields = set(ScheduleBody.__struct_fields__)
    assert fields == {*Schedule.__struct_fields__, "payload_base64"}
    shown, real = defaults(ScheduleBody), defaults(Schedule)
    assert {name: shown[name] for name in real} == real


@pytest.mark.parametrize("payload", [b"text", b"", b"\xff\x00"])
def test_a_schedule_that_was_read_can_be_put_again(payload: bytes) -> None:
    schedule = Schedule(
        "q", payload, cron="0 8 * * *", timezone="Europe/Berlin", overlap=Overlap.SKIP, options=FULL
    )
    shown = msgspec.json.encode(schedule_body(schedule))
    assert schedule_of(msgspec.json.decode(shown, type=ScheduleBody)) == schedule


def test_a_payload_that_is_given_twice_or_is_too_large_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not both"):
        schedule_of(ScheduleBody("q", payload="a", payload_base64="YQ=="))
    edge = "x" * limits.SCHEDULE_PAYLOAD_BYTES_MAX
    assert len(schedule_of(ScheduleBody("q", payload=edge)).payload) == len(edge)
    with pytest.raises(PayloadTooLarge) as refused:
        schedule_of(ScheduleBody("q", payload=edge + "x"))
    assert refused.value.facts["bytes_max"] == limits.SCHEDULE_PAYLOAD_BYTES_MAX
