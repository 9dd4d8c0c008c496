"""The broker in memory answers what a real cluster answers, call by call.

The same calls go through the blocking client to a real node and to a broker in memory. What differs
by nature is left out of the comparison: instants, and by how much tokens grew before.
"""

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from raftq.cli.local_cluster import LocalCluster
from raftq.client import (
    Client,
    Consistency,
    LeasedTask,
    RaftqError,
    TaskStatus,
)
from raftq.protocol import limits
from raftq.testing.memory.broker import MemoryBroker
from raftq.testing.memory.clients import client as memory_client

IDS: Final = 12
LEASE_SECONDS: Final = 600.0
"""No lease runs out on the real node during a test."""
DELAY: Final = "1h"
_examples: Final = count(1)


@dataclass
class Side:
    """A cluster, and what was leased there, as the other side leased it too."""

    client: Client
    prefix: str
    """Of its queues, workers and ids: nothing of another example is met."""
    tokens: list[int] = field(default_factory=list[int])

    def id(self, number: int) -> UUID:
        """Return one of the ids of this example."""
        return UUID(bytes=self.prefix.encode().ljust(15, b".")[:15] + bytes([number]))

    def queue(self, name: str) -> str:
        """Return a queue of this example."""
        return f"{self.prefix}-{name}"

    def token(self, index: int) -> int:
        """Return a token that was granted, or one that never was."""
        return self.tokens[index % len(self.tokens)] if self.tokens else limits.TOKEN_MAX


T = TypeVar("T")
Step: TypeAlias = Callable[[Side], object]


def enqueue(queue: str, tasks: list[tuple[int, bytes, int, str, int]]) -> Step:
    def step(side: Side) -> object:
        new = [
            side.client.new_task(
                payload, id=side.id(number), priority=priority, delay=delay, attempts_max=attempts
            )
            for number, payload, priority, delay, attempts in tasks
        ]
        return side.client.enqueue_many(side.queue(queue), new)

    return step


def lease(queues: list[str], amount: int, request: str) -> Step:
    def step(side: Side) -> object:
        leases = side.client.lease(
            [side.queue(queue) for queue in queues],
            worker=f"{side.prefix}-w",
            count=amount,
            lease=LEASE_SECONDS,
            request_id=request,
        )
        side.tokens += [each.token for each in leases if each.token not in side.tokens]
        return leases

    return step


def settle(method: str, token: int, argument: object) -> Step:
    def step(side: Side) -> object:
        call = cast(Callable[..., object], getattr(side.client, method))
        given = side.token(token)
        if method == "requeue":
            return call(given, delay=argument)
        return call(given, argument)

    return step


def task(number: int, consistency: Consistency) -> Step:
    return lambda side: side.client.task(side.id(number), consistency=consistency)


def queue(name: str) -> Step:
    return lambda side: side.client.queue(side.queue(name)).counts


# ---------------------------------------------------------------- the task model


def enqueue_keyed(number: int, key: str, choice: str, parent: int | None) -> Step:
    """Enqueue a task with a key, or that depends on another."""

    def step(side: Side) -> object:
        options: dict[str, Any] = {"id": side.id(number)}
        if key == "unique":
            options["unique_key"] = side.queue("u")
            options["on_conflict"] = choice
        elif key == "order":
            options["order_key"] = side.queue("o")
        elif key == "limit":
            options["limit_key"] = side.queue("l")
        else:
            options["confirm_within"] = DELAY
        if parent is not None and parent != number:
            options["depends_on"] = [side.id(parent)]
        return side.client.enqueue(side.queue("a"), b"keyed", **options)

    return step


def control(method: str, number: int, argument: int) -> Step:
    """Do something with one task."""

    def step(side: Side) -> object:
        id_ = side.id(number)
        match method:
            case "cancel":
                return side.client.cancel(id_)
            case "confirm":
                return side.client.confirm(id_)
            case "retry":
                return side.client.retry(id_)
            case "hasten":
                return side.client.edit(id_, delay="0")
            case _:
                return side.client.edit(id_, priority=argument)

    return step


def sweep(method: str, states: str | None, *, dry_run: bool) -> Step:
    """Do something with many tasks of a queue."""

    def step(side: Side) -> object:
        where: dict[str, Any] = {"queue": side.queue("a")}
        if states is not None:
            where["states"] = states
        match method:
            case "move":
                return side.client.move(side.queue("b"), dry_run=dry_run, **where)
            case "redrive":
                return side.client.redrive(dry_run=dry_run, **where)
            case "discard":
                return side.client.discard(dry_run=dry_run, **where)
            case _:
                return side.client.cancel_where(dry_run=dry_run, **where)

    return step


def set_up(paused: bool | None, concurrency: int | None, limit: int | None) -> Step:
    """Change how a queue and a limit key are run."""

    def step(side: Side) -> object:
        if paused is not None:
            return side.client.set_queue(side.queue("a"), paused=paused)
        if concurrency is not None:
            return side.client.set_queue(side.queue("a"), concurrency=concurrency or None)
        return side.client.set_limit(side.queue("l"), concurrency=limit)

    return step


def why(number: int) -> Step:
    def step(side: Side) -> object:
        found = side.client.why(side.id(number))
        return found.state, [each.rule for each in found.reasons]

    return step


def listed(states: str) -> Step:
    def step(side: Side) -> object:
        found = side.client.tasks(
            queue=side.queue("a"), states=cast("Literal['dead', 'ready', 'blocked']", states)
        )
        return [(each.id, each.state, each.options) for each in found]

    return step


def mostly(*usual: T, rarely: Sequence[T]) -> st.SearchStrategy[T]:
    """Return one of the usual values four times in five."""
    return st.integers(0, 4).flatmap(lambda n: st.sampled_from(usual if n else list(rarely)))


names = mostly("a", rarely=["b", "not a name"])
task_fields = st.tuples(
    st.integers(0, IDS - 1),
    st.sampled_from([b"", b"x", b"y" * 300]),
    mostly(5, rarely=[0, 9, 10]),
    mostly("0", rarely=[DELAY]),
    mostly(5, rarely=[1, 2, 0]),
)
tasks = st.lists(task_fields, min_size=1, max_size=3, unique_by=lambda each: each[0])
leases = st.builds(
    lease,
    mostly(["a"], rarely=[["a", "b"], ["b", "a", "b"], ["not a name"], []]),
    mostly(1, 2, 5, rarely=[0]),
    mostly("r1", "r2", rarely=["r3", "r4", "no request"]),
)
settlements = st.one_of(
    st.builds(settle, st.just("ack"), st.integers(0, 5), mostly(b"result", rarely=[None, b""])),
    st.builds(settle, st.just("fail"), st.integers(0, 5), mostly("reason", rarely=[""])),
    st.builds(settle, st.just("requeue"), st.integers(0, 5), mostly("0", rarely=[DELAY])),
    st.builds(settle, st.just("extend"), st.integers(0, 5), mostly(LEASE_SECONDS, rarely=[0])),
)
reads = st.one_of(
    st.builds(task, st.integers(0, IDS), st.sampled_from(list(Consistency))),
    st.builds(queue, names),
)
numbers = st.integers(0, IDS - 1)
keyed = st.builds(
    enqueue_keyed,
    numbers,
    st.sampled_from(["unique", "order", "limit", "prepared"]),
    st.sampled_from(["reject", "existing", "replace"]),
    st.one_of(st.none(), st.none(), numbers),
)
controls = st.one_of(
    st.builds(
        control,
        st.sampled_from(["cancel", "confirm", "retry", "hasten", "hurry"]),
        numbers,
        mostly(0, 5, 9, rarely=[10]),
    ),
    st.builds(
        sweep,
        st.sampled_from(["cancel", "move", "redrive", "discard"]),
        st.sampled_from([None, "dead", "ready", "blocked"]),
        dry_run=st.booleans(),
    ),
    st.builds(
        set_up,
        st.sampled_from([None, None, False, True]),
        st.sampled_from([None, 0, 2]),
        st.sampled_from([1, 3]),
    ),
    st.builds(why, numbers),
    st.builds(listed, st.sampled_from(["dead", "ready", "blocked"])),
)
# Chosen by number: `one_of` would flatten the choices, and most calls would meet no lease at all.
STEPS: st.SearchStrategy[Step] = st.sampled_from(
    [st.builds(enqueue, names, tasks)] * 3 + [leases] * 4 + [settlements] * 3 + [reads]
).flatmap(lambda chosen: chosen)


def answer(side: Side, step: Step) -> object:
    """Return what a call returned or raised, without what differs by nature."""
    try:
        return comparable(side, step(side))
    except RaftqError as error:
        # The length of a call depends on how much of its deadline is left.
        text = re.sub(r"call has \d+ bytes", "call has … bytes", error.message)
        return type(error), text.replace(side.prefix, "~"), dict(error.facts)


def comparable(side: Side, value: object) -> object:
    if isinstance(value, list):
        return [comparable(side, each) for each in cast("list[object]", value)]
    match value:
        case LeasedTask():
            # Time passes between the grant and a repetition of it only on the real node.
            token = side.tokens.index(value.token)
            return value.task_id, value.queue, token, value.attempt, value.payload
        case TaskStatus():
            delay = value.not_before_at_ms - value.enqueued_at_ms > 0
            newest = side.tokens.index(value.token) if value.token else None
            known = (value.id, value.queue, value.state, value.priority, value.failures)
            counted = (value.crashes, value.attempts, value.attempts_max, value.result)
            return known, counted, value.errors, delay, newest, value.finished_at_ms is None
        case _:
            return value


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Generator[Client]:
    with (
        LocalCluster(tmp_path_factory.mktemp("cluster"), 1) as cluster,
        Client(cluster.addresses) as client,
    ):
        yield client


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=(Phase.reuse, Phase.generate),  # To shrink on a real node would take minutes.
)
@given(st.lists(STEPS, min_size=15, max_size=60))
def test_the_same_calls_get_the_same_answers(real: Client, steps: list[Step]) -> None:
    prefix = f"e{next(_examples)}"
    broker = MemoryBroker(1_700_000_000_000)
    with memory_client(broker) as client:
        sides = Side(real, prefix), Side(client, prefix)
        for number, step in enumerate(steps):
            expected, found = (answer(side, step) for side in sides)
            assert found == expected, f"call {number} was answered differently in memory"


MODEL_STEPS: st.SearchStrategy[Step] = st.sampled_from(
    [keyed] * 4 + [leases] * 3 + [settlements] * 3 + [controls] * 4 + [reads]
).flatmap(lambda chosen: chosen)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=(Phase.reuse, Phase.generate),
)
@given(st.lists(MODEL_STEPS, min_size=15, max_size=60))
def test_the_whole_task_model_answers_the_same(real: Client, steps: list[Step]) -> None:
    prefix = f"m{next(_examples)}"
    with memory_client(MemoryBroker(1_700_000_000_000)) as client:
        sides = Side(real, prefix), Side(client, prefix)
        for number, step in enumerate(steps):
            expected, found = (answer(side, step) for side in sides)
            assert found == expected, f"call {number} was answered differently in memory"


LARGE: Final[list[Step]] = [
    lambda side: side.client.enqueue("q", bytes(limits.PAYLOAD_BYTES_MAX + 1)),
    lambda side: side.client.enqueue("q", bytes(limits.REQUEST_BYTES_MAX + 1)),
    lambda side: side.client.enqueue_many("q", [b""] * (limits.TASKS_PER_ENQUEUE_MAX + 1)),
    lambda side: side.client.ack(1, bytes(limits.RESULT_BYTES_MAX + 1)),
    lambda side: side.client.fail(limits.TOKEN_MAX, "x" * (limits.ERROR_TEXT_CHARACTERS_MAX + 1)),
    lambda side: side.client.lease(["q"] * (limits.QUEUES_PER_LEASE_MAX + 1), worker="w"),
    lambda side: side.client.lease("q", worker="no worker"),
    lambda side: side.client.extend(1, limits.LEASE_MS_MAX),
    lambda side: side.client.ack(2**64),
    lambda side: side.client.enqueue("q", b"", delay=limits.DELAY_MS_MAX),
    lambda side: side.client.enqueue("q", cast(bytes, {"not": "bytes"})),
    lambda side: side.client.task(b"short"),
]


@pytest.mark.parametrize("step", LARGE)
def test_calls_over_a_limit_get_the_same_error(real: Client, step: Step) -> None:
    with memory_client(MemoryBroker(1_700_000_000_000)) as client:
        found = answer(Side(client, "limits"), step)
        assert found == answer(Side(real, "limits"), step)
        assert isinstance(found, tuple), found


def test_lease_replies_stop_at_the_same_size(real: Client) -> None:
    payload = bytes(limits.LEASE_REPLY_BYTES_MAX // 3)
    with memory_client(MemoryBroker(1_700_000_000_000)) as client:
        granted: list[int] = []
        for side in (Side(real, "sizes"), Side(client, "sizes")):
            side.client.enqueue_many(side.queue("q"), [payload] * 2)
            side.client.enqueue_many(side.queue("q"), [payload] * 2)
            granted.append(len(side.client.lease(side.queue("q"), worker="w", count=4)))
        assert granted[0] == granted[1] < 4
