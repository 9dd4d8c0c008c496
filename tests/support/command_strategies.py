"""Hypothesis strategies for commands that meet: few ids, few keys, short times.

`messages_of` makes any valid message; these make messages that have to do with each other. They
are drawn with placeholders for tasks and tokens, which a `Scene` replaces by what there is: so the
strategies are built once, and most commands find what they are about.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

from hypothesis import strategies as st
from msgspec.structs import replace
from tests.support.machines import START_AT_MS, task_id

from raftq.protocol import limits
from raftq.protocol.commands import (
    Ack,
    AckItem,
    Command,
    Enqueue,
    EnqueuePart,
    EnqueueParts,
    Extend,
    ExtendItem,
    Fail,
    FailItem,
    FoundCluster,
    Lease,
    Requeue,
    RequeueItem,
)
from raftq.protocol.control import (
    Cancel,
    Confirm,
    DeleteSchedule,
    Edit,
    FireSchedule,
    SetLimit,
    SetQueue,
    SetQuota,
    SetSchedule,
    Sweep,
)
from raftq.protocol.fields import (
    BackoffKind,
    OnConflict,
    OnParentFailure,
    Overlap,
    SweepAction,
    TaskState,
)
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

T = TypeVar("T")
Strategy: TypeAlias = st.SearchStrategy[object]

NUMBERS: Final = 16
"""Tasks have the ids of the numbers from 1 to this."""
QUEUES: Final = ("a", "b", "c")
LONG: Final = b"over the limit"

_PLACES: Final = 8
_places = st.integers(0, _PLACES - 1)
_place_ids = _places.map(task_id)
queues = st.sampled_from(["a", "a", "a", "b", "c"])
payloads = st.sampled_from([b"1234", b"1234", b"1234", LONG])
priorities = st.sampled_from([0, 5, 5, 5, 9])
delays_ms = st.sampled_from([0, 0, 0, 1, 500, 2_000])
leases_ms = st.sampled_from([100, 1_000, 2_500])
results = st.sampled_from([None, b"", b"1234", b"12345"])
instants = st.sampled_from([START_AT_MS + 400, START_AT_MS + 3_000, START_AT_MS + 9_000])


def some(
    cls: type[T], given: Mapping[str, Strategy] | None = None, /, **fields: Strategy
) -> st.SearchStrategy[T]:
    """Return values of a type with all of the given fields, and some of the others."""
    drawn = st.fixed_dictionaries(dict(given or {}), optional=fields)
    return drawn.map(lambda values: cls(**values))


def weighted(*strategies: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Return values of one of these, each as often as it is named (`one_of` drops what is named
    twice, and mixes what it is nested in)."""
    return st.sampled_from(strategies).flatmap(lambda chosen: chosen)


# ---------------------------------------------------------------- tasks and their options

backoffs = st.builds(
    Backoff,
    base_ms=st.sampled_from([0, 1, 300]),
    kind=st.sampled_from(list(BackoffKind)),
    max_ms=st.sampled_from([0, 1_000]),
    jitter_percent=st.sampled_from([0, 50, 100]),
)
rates = st.builds(
    Rate,
    count=st.integers(1, 3),
    per_ms=st.sampled_from([1, 700, 1_000]),
    burst=st.integers(1, 3),
)
unique_keys = st.sampled_from(["u1", "u2"])
order_keys = st.sampled_from(["o1", "o1", "o2"])
limit_keys = st.sampled_from(["l1", "l1", "l2"])
fair_keys = st.sampled_from(["f1", "f2", "f3"])
ttls_ms = st.sampled_from([1, 1_000, 10_000, limits.RESULT_RETENTION_MS])
policies = st.sampled_from(list(OnParentFailure))
conflicts = st.sampled_from(list(OnConflict))

_EXPIRY: Final[dict[str, Strategy]] = {
    "expires_at_ms": instants,
    "expires_after_ms": st.sampled_from([1, 900]),
}
_UNIQUE: Final[dict[str, Strategy]] = {
    "unique_key": unique_keys,
    "on_conflict": conflicts,
    "unique_ms": st.sampled_from([0, 0, 800]),
}
_PARENTS: Final[dict[str, Strategy]] = {
    "depends_on": st.lists(_place_ids, min_size=1, max_size=3),
    "on_parent_failure": policies,
}
_PREPARED: Final[dict[str, Strategy]] = {
    "confirm_within_ms": st.sampled_from([1, 900]),
    "check_queue": st.sampled_from([None, "a", "b", "check"]),
}
_ONE_EACH: Final[dict[str, Strategy]] = {
    "backoff": backoffs,
    "crashes_max": st.integers(0, 2),
    "order_key": order_keys,
    "limit_key": limit_keys,
    "fair_key": fair_keys,
    "result_ttl_ms": ttls_ms,
}
_LIMIT: Final[dict[str, Strategy]] = {"limit_key": limit_keys}
_ORDER: Final[dict[str, Strategy]] = {"order_key": order_keys}
_FAIR: Final[dict[str, Strategy]] = {"fair_key": fair_keys}
THEMES: Final[dict[str, st.SearchStrategy[TaskOptions]]] = {
    "order": some(TaskOptions, _ORDER, backoff=backoffs, **_EXPIRY),
    "limits": some(TaskOptions, _LIMIT, **_EXPIRY, **_FAIR),
    "fairness": some(TaskOptions, _FAIR, **_LIMIT),
    "unique": some(TaskOptions, _UNIQUE, **_ORDER),
    "workflows": some(TaskOptions, _PARENTS, result_ttl_ms=ttls_ms, **_LIMIT),
    "prepared": some(TaskOptions, _PREPARED, **_PARENTS, **_ONE_EACH),
    "everything": some(TaskOptions, **_EXPIRY, **_UNIQUE, **_PARENTS, **_PREPARED, **_ONE_EACH),
}
"""What tasks are told, so that those of one run have to do with each other."""


def tasks_with(options: st.SearchStrategy[TaskOptions]) -> st.SearchStrategy[NewTask]:
    """Return tasks with options, and some plain ones."""
    return st.builds(
        NewTask,
        id=_place_ids,
        payload=payloads,
        priority=priorities,
        delay_ms=delays_ms,
        attempts_max=st.integers(0, 3),
        not_before_at_ms=weighted(st.just(0), st.just(0), st.just(0), instants),
        options=weighted(st.none(), options, options, options),
    )


new_tasks = tasks_with(st.one_of(*THEMES.values()))
plain_tasks = st.builds(
    NewTask,
    id=_place_ids,
    payload=payloads,
    priority=priorities,
    delay_ms=delays_ms,
    attempts_max=st.integers(1, 3),
)

# ---------------------------------------------------------------- the life cycle

plain_enqueues: st.SearchStrategy[Command] = st.builds(
    Enqueue, queue=queues, tasks=st.lists(plain_tasks, min_size=1, max_size=4)
)
leases: st.SearchStrategy[Command] = st.builds(
    Lease,
    queues=st.lists(queues, min_size=1, max_size=3),
    count=st.integers(1, 4),
    lease_ms=leases_ms,
    worker=st.sampled_from(["w1", "w2", "w3"]),
    request_id=st.integers(1, 30).map(str),
)
_tokens = st.integers(1, _PLACES)
_rarely = st.sampled_from([False, False, False, True])
_errors = st.sampled_from(["x", "yy"])


def _reports(
    ack: st.SearchStrategy[AckItem],
    fail: st.SearchStrategy[FailItem],
    extend: st.SearchStrategy[ExtendItem],
) -> st.SearchStrategy[Command]:
    requeue = st.builds(RequeueItem, _tokens, delays_ms)
    return st.one_of(
        st.builds(Ack, st.lists(ack, min_size=1, max_size=3)),
        st.builds(Fail, st.lists(fail, min_size=1, max_size=3)),
        st.builds(Requeue, st.lists(requeue, min_size=1, max_size=2)),
        st.builds(Extend, st.lists(extend, min_size=1, max_size=2)),
    )


def enqueues_of(tasks: st.SearchStrategy[NewTask]) -> st.SearchStrategy[Command]:
    """Return enqueues, to one queue or to several."""
    parts = st.builds(EnqueuePart, queues, st.lists(tasks, min_size=1, max_size=3))
    one: st.SearchStrategy[Command] = st.builds(
        Enqueue, queues, st.lists(tasks, min_size=1, max_size=4)
    )
    many: st.SearchStrategy[Command] = st.builds(
        EnqueueParts, st.lists(parts, min_size=1, max_size=3)
    )
    return weighted(one, one, one, one, many)


def reports_with(tasks: st.SearchStrategy[NewTask]) -> st.SearchStrategy[Command]:
    """Return reports about leases, with tasks as follow-ups."""
    parts = st.builds(EnqueuePart, queues, st.lists(tasks, min_size=1, max_size=3))
    pauses_ms = st.sampled_from([None, 0, 400])
    return _reports(
        st.builds(AckItem, _tokens, results, st.lists(parts, max_size=1)),
        st.builds(FailItem, _tokens, _errors, pauses_ms, _rarely, _rarely),
        st.builds(ExtendItem, _tokens, leases_ms, st.sampled_from([None, b"", b"12"])),
    )


enqueues = enqueues_of(new_tasks)
reports = reports_with(new_tasks)
plain_reports = _reports(
    st.builds(AckItem, _tokens, results),
    st.builds(FailItem, _tokens, _errors),
    st.builds(ExtendItem, _tokens, leases_ms),
)


# ---------------------------------------------------------------- control


some_ids = st.lists(_place_ids, min_size=1, max_size=3)
cancels: st.SearchStrategy[Command] = st.builds(Cancel, some_ids)
confirms: st.SearchStrategy[Command] = st.builds(Confirm, some_ids)
edits: st.SearchStrategy[Command] = st.builds(
    Edit,
    _place_ids,
    st.sampled_from([None, None, 0, 600]),
    st.one_of(st.none(), st.none(), instants),
    st.one_of(st.none(), priorities),
)
filters = some(
    TaskFilter,
    queue=queues,
    states=st.lists(st.sampled_from(list(TaskState)), max_size=3),
    unique_key=unique_keys,
    order_key=order_keys,
    limit_key=limit_keys,
    fair_key=fair_keys,
    priority=priorities,
    enqueued_before_ms=instants,
    enqueued_after_ms=instants,
    error_contains=st.sampled_from(["x", "y", "lease"]),
)
sweeps: st.SearchStrategy[Command] = st.builds(
    Sweep,
    action=st.sampled_from([*SweepAction, SweepAction.REDRIVE, SweepAction.MOVE]),
    filter=st.one_of(st.just(TaskFilter()), filters),
    after=st.sampled_from([0, 0, 1, 5]),
    until=st.sampled_from([0, 0, 3, 1_000]),
    tasks_max=st.sampled_from([1, 2, limits.TASKS_PER_SWEEP_MAX]),
    to_queue=st.one_of(st.none(), queues, queues, queues),
)
queue_settings: st.SearchStrategy[Command] = st.builds(
    SetQueue,
    queues,
    some(
        QueueChanges,
        paused=_rarely,
        concurrency=st.sampled_from([None, 1, 2]),
        rate=st.one_of(st.none(), rates),
        attempts_max=st.integers(1, 3),
        crashes_max=st.integers(1, 3),
        backoff=backoffs,
        result_ttl_ms=ttls_ms,
        ageing_ms=st.sampled_from([0, 1, 200, 60_000]),
        tasks_max=st.sampled_from([None, None, None, 6]),
        payload_bytes_max=st.sampled_from([None, None, None, 40]),
        enqueue_rate=st.one_of(st.none(), rates),
        fair_weights=st.dictionaries(fair_keys, st.integers(1, 3), max_size=3),
    ),
)
key_limits: st.SearchStrategy[Command] = st.builds(
    SetLimit,
    limit_keys,
    st.builds(KeyLimit, st.sampled_from([None, 1, 1, 2]), st.one_of(st.none(), rates)),
)
quotas: st.SearchStrategy[Command] = st.builds(
    SetQuota,
    st.builds(
        Quota,
        st.sampled_from([None, None, None, 12]),
        st.sampled_from([None, None, 30]),
        st.one_of(st.none(), st.none(), rates),
    ),
)

# ---------------------------------------------------------------- schedules

schedule_names = st.sampled_from(["s1", "s1", "s2"])
schedules = st.builds(
    Schedule,
    queue=queues,
    payload=payloads,
    every_ms=st.sampled_from([1_000, 2_000]),
    overlap=st.sampled_from(list(Overlap)),
    paused=_rarely,
)
ticks = st.sampled_from([0, START_AT_MS + 1_000, START_AT_MS + 2_000])
schedule_settings: st.SearchStrategy[Command] = st.one_of(
    st.builds(SetSchedule, schedule_names, schedules, ticks),
    st.builds(SetSchedule, schedule_names, schedules, ticks),
    st.builds(DeleteSchedule, schedule_names),
)


_newer = st.sampled_from([0, 0, 0, 1])


fires: st.SearchStrategy[Command] = st.builds(
    FireSchedule,
    schedule_names,
    _newer,
    _newer,
    ticks,
    st.one_of(st.none(), new_tasks, new_tasks, new_tasks),
    _newer,
)
"""Revision and tick are counted from those that the schedule has."""
settings: st.SearchStrategy[Command] = st.one_of(
    queue_settings, key_limits, quotas, schedule_settings
)
_about_tasks = weighted(cancels, confirms, confirms, edits, sweeps)
_setting = weighted(settings, settings, key_limits, fires)


def commands_about(tasks: st.SearchStrategy[NewTask]) -> st.SearchStrategy[Command]:
    """Return commands of every kind, of which the enqueues are of such tasks."""
    own, about = enqueues_of(tasks), reports_with(tasks)
    return weighted(*[own] * 5, *[leases] * 4, *[about] * 4, _about_tasks, _setting)


commands = commands_about(new_tasks)
"""About tasks of all kinds."""
plain_commands: st.SearchStrategy[Command] = st.one_of(plain_enqueues, leases, plain_reports)
founding: st.SearchStrategy[Command] = st.builds(FoundCluster, st.sampled_from(["c1", "c2"]))


# ---------------------------------------------------------------- what there is


class Scene:
    """Puts what there is for the placeholders of commands.

    Args:
        known: The ids of the tasks that exist.
        tokens: Those of leases that are held.
        newest_token: The greatest one that was granted.
        schedules: Revision and next tick of each.
    """

    def __init__(
        self,
        known: Sequence[bytes],
        tokens: Sequence[int],
        newest_token: int,
        schedules: Mapping[str, tuple[int, int]],
    ) -> None:
        self._known = list(known)
        self._tokens = tokens
        self._newest_token = newest_token
        self._schedules = schedules

    def command(self, drawn: Command) -> Command:
        """Return a command about what there is, mostly."""
        if not self._tokens and isinstance(drawn, Ack | Fail | Requeue | Extend):
            place = drawn.items[0].token
            if place < _PLACES:  # Nothing is leased: that can be helped.
                return Lease(["a", "b", "c"], 1 + place % 4, 1_000, "w4", f"instead-{place}")
        match drawn:
            case Enqueue():
                return Enqueue(drawn.queue, self._tasks(drawn.tasks))
            case EnqueueParts():
                return EnqueueParts(self._parts(drawn.parts))
            case Ack():
                return Ack([self._ack(item) for item in drawn.items])
            case Fail():
                return Fail([replace(item, token=self._token(item.token)) for item in drawn.items])
            case Requeue():
                items = [replace(item, token=self._token(item.token)) for item in drawn.items]
                return Requeue(items)
            case Extend():
                held = [replace(item, token=self._token(item.token)) for item in drawn.items]
                return Extend(held)
            case Cancel():
                return Cancel([self._id(each) for each in drawn.ids])
            case Confirm():
                return Confirm([self._id(each) for each in drawn.ids])
            case Edit():
                return replace(drawn, id=self._id(drawn.id))
            case FireSchedule():
                return self._fire(drawn)
            case _:
                return drawn

    def _id(self, place: bytes) -> bytes:
        """Return the id of a task that exists; for the last place, of any."""
        number = int.from_bytes(place)
        if not self._known or number == _PLACES - 1:
            return task_id(number + 1)
        return self._known[-1 - number % len(self._known)]

    def _token(self, place: int) -> int:
        """Return a token that is held; for the last places, one that was, or never was."""
        if place == _PLACES or not self._tokens:
            return max(1, self._newest_token + (place - 4) // 2)
        return self._tokens[place % len(self._tokens)]

    def _ack(self, item: AckItem) -> AckItem:
        return AckItem(self._token(item.token), item.result, self._parts(item.follow_ups))

    def _parts(self, parts: Sequence[EnqueuePart]) -> list[EnqueuePart]:
        return [EnqueuePart(part.queue, self._tasks(part.tasks)) for part in parts]

    def _tasks(self, tasks: Sequence[NewTask]) -> list[NewTask]:
        return [self._task(new) for new in tasks]

    def _task(self, new: NewTask) -> NewTask:
        """Return a task of a new id, mostly; what it depends on exists, or comes before it."""
        options = new.options
        if options is not None and options.depends_on:
            parents = dict.fromkeys(self._id(each) for each in options.depends_on)
            new = replace(new, options=replace(options, depends_on=list(parents)))
        number = int.from_bytes(new.id)
        free = [each for each in range(1, NUMBERS + 1) if task_id(each) not in self._known]
        if free and number < _PLACES - 1:
            task_number = task_id(free[number % len(free)])
        else:
            task_number = self._id(task_id(max(0, number - 1)))
        self._known.append(task_number)
        return replace(new, id=task_number)

    def _fire(self, drawn: FireSchedule) -> FireSchedule:
        revision, tick_at_ms = self._schedules.get(drawn.name, (0, 0))
        return replace(
            drawn,
            revision=revision + drawn.revision,
            tick_at_ms=tick_at_ms + drawn.tick_at_ms,
            task=None if drawn.task is None else self._task(drawn.task),
        )
