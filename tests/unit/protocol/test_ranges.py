"""The ranges of options, settings and control: the last value that is taken, and the next one."""

from collections.abc import Callable

import pytest

from raftq.protocol import codec, limits
from raftq.protocol.calls import Call, ResultCall, TasksCall
from raftq.protocol.commands import (
    Ack,
    AckItem,
    Enqueue,
    EnqueuePart,
    EnqueueParts,
    Extend,
    ExtendItem,
)
from raftq.protocol.control import Cancel, Confirm, SetLimit, SetQueue, SetQuota, SetSchedule, Sweep
from raftq.protocol.errors import InvalidRequest, PayloadTooLarge
from raftq.protocol.fields import SweepAction
from raftq.protocol.options import (
    Backoff,
    KeyLimit,
    NewTask,
    QueueChanges,
    Quota,
    Rate,
    Schedule,
    TaskFilter,
    TaskOptions,
)

TASK_ID = bytes(16)


def with_options(**fields: object) -> Call:
    options = TaskOptions(**fields)  # type: ignore[arg-type]  # Out of range on purpose.
    return Enqueue("q", [NewTask(TASK_ID, b"", options=options)])


def with_changes(**fields: object) -> Call:
    return SetQueue("q", QueueChanges(**fields))  # type: ignore[arg-type]  # As above.


def with_rate(count: int = 1, per_ms: int = 1, burst: int = 1) -> Call:
    return SetLimit("k", KeyLimit(rate=Rate(count, per_ms, burst)))


def with_schedule(**fields: object) -> Call:
    schedule = Schedule("q", b"", **fields)  # type: ignore[arg-type]  # As above.
    return SetSchedule("s", schedule)


def ids(count: int) -> list[bytes]:
    return [each.to_bytes(16) for each in range(count)]


def parts(count: int) -> list[EnqueuePart]:
    return [EnqueuePart(f"q{each}", [NewTask(bytes(16), b"")]) for each in range(count)]


Make = Callable[[int], Call]
RANGES: dict[str, tuple[int, Make]] = {
    "unique key": (limits.KEY_CHARACTERS_MAX, lambda n: with_options(unique_key="k" * n)),
    "order key": (limits.KEY_CHARACTERS_MAX, lambda n: with_options(order_key="é" * n)),
    "limit key": (limits.KEY_CHARACTERS_MAX, lambda n: with_options(limit_key="k" * n)),
    "fair key": (limits.KEY_CHARACTERS_MAX, lambda n: with_options(fair_key="k" * n)),
    "set limit key": (limits.KEY_CHARACTERS_MAX, lambda n: SetLimit("k" * n, KeyLimit())),
    "parents": (limits.PARENTS_MAX, lambda n: with_options(depends_on=ids(n))),
    "expiry": (limits.INSTANT_MS_MAX, lambda n: with_options(expires_at_ms=n)),
    "expiry after": (limits.DELAY_MS_MAX, lambda n: with_options(expires_after_ms=n)),
    "unique for": (limits.DELAY_MS_MAX, lambda n: with_options(unique_key="k", unique_ms=n)),
    "crashes of a task": (limits.CRASHES_MAX_LIMIT, lambda n: with_options(crashes_max=n)),
    "retention of a task": (limits.RESULT_TTL_MS_MAX, lambda n: with_options(result_ttl_ms=n)),
    "confirmation": (limits.CONFIRM_MS_MAX, lambda n: with_options(confirm_within_ms=n)),
    "backoff base": (limits.BACKOFF_MS_MAX, lambda n: with_options(backoff=Backoff(n))),
    "backoff most": (limits.BACKOFF_MS_MAX, lambda n: with_options(backoff=Backoff(max_ms=n))),
    "jitter": (100, lambda n: with_options(backoff=Backoff(jitter_percent=n))),
    "not before": (
        limits.INSTANT_MS_MAX,
        lambda n: Enqueue("q", [NewTask(TASK_ID, b"", not_before_at_ms=n)]),
    ),
    "batches": (limits.BATCHES_MAX, lambda n: EnqueueParts(parts(n))),
    "follow-up batches": (
        limits.BATCHES_MAX,
        lambda n: Ack([AckItem(1, None, parts(n))]),
    ),
    "progress": (limits.PROGRESS_BYTES_MAX, lambda n: Extend([ExtendItem(1, 1_000, bytes(n))])),
    "cancelled at once": (limits.TASKS_PER_CONTROL_MAX, lambda n: Cancel(ids(n))),
    "confirmed at once": (limits.TASKS_PER_CONTROL_MAX, lambda n: Confirm(ids(n))),
    "swept at once": (
        limits.TASKS_PER_SWEEP_MAX,
        lambda n: Sweep(SweepAction.CANCEL, TaskFilter(), tasks_max=n),
    ),
    "listed at once": (
        limits.TASKS_PER_SWEEP_MAX,
        lambda n: TasksCall(TaskFilter(), count_max=n),
    ),
    "error text sought": (
        256,
        lambda n: TasksCall(TaskFilter(error_contains="x" * n)),
    ),
    "wait for a result": (limits.WAIT_MS_MAX, lambda n: ResultCall(TASK_ID, n)),
    "rate": (limits.RATE_MAX, lambda n: with_rate(count=n)),
    "period": (limits.RATE_PERIOD_MS_MAX, lambda n: with_rate(per_ms=n)),
    "burst": (limits.BURST_MAX, lambda n: with_rate(burst=n)),
    "weight": (limits.WEIGHT_MAX, lambda n: with_changes(fair_weights={"k": n})),
    "weights": (
        limits.FAIR_WEIGHTS_MAX,
        lambda n: with_changes(fair_weights={str(each): 1 for each in range(n)}),
    ),
    "ageing": (limits.AGEING_MS_MAX, lambda n: with_changes(ageing_ms=n)),
    "attempts of a queue": (limits.ATTEMPTS_MAX_LIMIT, lambda n: with_changes(attempts_max=n)),
    "crashes of a queue": (limits.CRASHES_MAX_LIMIT, lambda n: with_changes(crashes_max=n)),
    "retention of a queue": (limits.RESULT_TTL_MS_MAX, lambda n: with_changes(result_ttl_ms=n)),
    "concurrency": (1_000_000, lambda n: with_changes(concurrency=n)),
    "quota of tasks": (2**53, lambda n: SetQuota(Quota(tasks_max=n))),
    "schedule text": (
        limits.SCHEDULE_TEXT_CHARACTERS_MAX,
        lambda n: with_schedule(cron="*" * n),
    ),
    "schedule jitter": (limits.JITTER_MS_MAX, lambda n: with_schedule(every_ms=1_000, jitter_ms=n)),
    "schedule interval": (limits.DELAY_MS_MAX, lambda n: with_schedule(every_ms=n)),
}
LEAST: dict[str, tuple[int, Make]] = {
    "a key": (1, lambda n: with_options(unique_key="k" * n)),
    "ids to cancel": (1, lambda n: Cancel(ids(n))),
    "ids to confirm": (1, lambda n: Confirm(ids(n))),
    "swept at once": (1, lambda n: Sweep(SweepAction.CANCEL, TaskFilter(), tasks_max=n)),
    "batches": (1, lambda n: EnqueueParts(parts(n))),
    "rate": (1, lambda n: with_rate(count=n)),
    "period": (1, lambda n: with_rate(per_ms=n)),
    "burst": (1, lambda n: with_rate(burst=n)),
    "weight": (1, lambda n: with_changes(fair_weights={"k": n})),
    "attempts of a queue": (1, lambda n: with_changes(attempts_max=n)),
    "crashes of a queue": (1, lambda n: with_changes(crashes_max=n)),
    "retention of a queue": (1, lambda n: with_changes(result_ttl_ms=n)),
    "concurrency": (1, lambda n: with_changes(concurrency=n)),
    "schedule interval": (1_000, lambda n: with_schedule(every_ms=n)),
}


def decoded(call: Call) -> Call:
    return codec.decode_call(codec.encode(call))


@pytest.mark.parametrize("name", RANGES)
def test_the_greatest_value_is_taken_and_the_next_is_refused(name: str) -> None:
    most, make = RANGES[name]
    assert decoded(make(most)) == make(most)
    with pytest.raises(InvalidRequest):
        decoded(make(most + 1))


@pytest.mark.parametrize("name", LEAST)
def test_the_least_value_is_taken_and_the_one_below_is_refused(name: str) -> None:
    least, make = LEAST[name]
    assert decoded(make(least)) == make(least)
    with pytest.raises(InvalidRequest):
        decoded(make(least - 1))


def test_a_schedule_whose_payload_is_over_that_of_a_task_is_refused() -> None:
    schedule = Schedule("q", bytes(limits.PAYLOAD_BYTES_MAX + 1), every_ms=1_000)
    with pytest.raises(PayloadTooLarge):
        decoded(SetSchedule("s", schedule))


def test_an_option_that_nobody_knows_is_refused() -> None:
    raw = codec.encode([1, "q", [[TASK_ID, b"", 5, 0, 0, 0, {"uniqe_key": "k"}]]])
    with pytest.raises(InvalidRequest, match="uniqe_key"):
        codec.decode_call(raw)
    known = codec.encode([1, "q", [[TASK_ID, b"", 5, 0, 0, 0, {"unique_key": "k"}]]])
    assert codec.decode_call(known) == with_options(unique_key="k")
