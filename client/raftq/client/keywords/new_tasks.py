"""New tasks: every option of a task as a keyword, with durations and instants as people write them.

A task that is told nothing beyond priority, delay and attempts carries no options at all: the
cluster keeps such tasks in less memory.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypedDict
from uuid import UUID

from raftq.client.durations import Duration, milliseconds
from raftq.client.keywords.moments import Moment, instant_ms
from raftq.client.keywords.naming import refuse_unknown
from raftq.client.keywords.rates import BackoffText, backoff_of
from raftq.protocol import limits
from raftq.protocol.commands import EnqueuePart
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import OnConflict, OnParentFailure
from raftq.protocol.options import NewTask, TaskOptions

ConflictName: TypeAlias = OnConflict | Literal["reject", "existing", "replace"]
ParentFailureName: TypeAlias = OnParentFailure | Literal["cancel", "run", "wait"]
Parts: TypeAlias = (
    Mapping[str, Sequence[NewTask | bytes]] | Sequence[tuple[str, Sequence[NewTask | bytes]]]
)
"""Queues, and the tasks of each, in order; plain bytes become tasks with defaults."""


class PreparedKeywords(TypedDict, total=False):
    """What a task can be told, without what makes it a prepared one."""

    id: UUID | None
    """Enqueued again, it is the same task; made unless given."""
    priority: int
    """0 (first) to 9."""
    delay: Duration
    """Earliest start, from now."""
    not_before: Moment
    """Earliest start; of `delay` and this the later counts."""
    attempts_max: int
    """Failures after which it is dead; the queue's setting unless given."""
    crashes_max: int
    """Deaths of its worker after which it is dead; the queue's setting unless given."""
    backoff: BackoffText
    """The pause before a retry; the queue's setting unless given."""
    expires: Duration
    """Dropped if it was not started by then, from now."""
    expires_at: Moment
    """The same as an instant; the earlier counts."""
    unique_key: str
    """At most one live task of the cluster has it."""
    on_conflict: ConflictName
    """What if another has the unique key: `reject`, `existing` (answer with that) or `replace`."""
    unique_for: Duration
    """How long the unique key is taken from now on, whatever becomes of the task."""
    order_key: str
    """Tasks of one key run one after the other, in order."""
    limit_key: str
    """Counts for the limit of this key; see `set_limit`."""
    fair_key: str
    """Keys of a queue take turns; see `set_queue(fair_weights=…)`."""
    depends_on: Sequence[UUID | bytes]
    """It waits for these to be over."""
    on_parent_failure: ParentFailureName
    """What if one of them does not succeed: `cancel`, `run` or `wait`."""
    result_ttl: Duration
    """How long its outcome is kept; the queue's setting unless given."""


class TaskKeywords(PreparedKeywords, total=False):
    """What a task can be told."""

    confirm_within: Duration
    """It is only prepared, and must be confirmed in this time."""
    check_queue: str | None
    """Where it goes if it was not confirmed in time; unless given it expires."""


def task_id(id: UUID | bytes) -> bytes:
    """Return a task's id as it is sent."""
    return id.bytes if isinstance(id, UUID) else id


def _as_it_is(value: object) -> object:
    return value


_Option: TypeAlias = tuple[str, Callable[[Any], Any]]
_OPTIONS: Final[Mapping[str, _Option]] = {
    "crashes_max": ("crashes_max", _as_it_is),
    "backoff": ("backoff", backoff_of),
    "expires": ("expires_after_ms", milliseconds),
    "expires_at": ("expires_at_ms", instant_ms),
    "unique_key": ("unique_key", _as_it_is),
    "on_conflict": ("on_conflict", OnConflict),
    "unique_for": ("unique_ms", milliseconds),
    "order_key": ("order_key", _as_it_is),
    "limit_key": ("limit_key", _as_it_is),
    "fair_key": ("fair_key", _as_it_is),
    "depends_on": ("depends_on", lambda ids: [task_id(each) for each in ids]),
    "on_parent_failure": ("on_parent_failure", OnParentFailure),
    "result_ttl": ("result_ttl_ms", milliseconds),
    "confirm_within": ("confirm_within_ms", milliseconds),
    "check_queue": ("check_queue", _as_it_is),
}
"""Keyword → field of TaskOptions, and how its value is read."""
_PLAIN: Final = frozenset({"id", "priority", "delay", "not_before", "attempts_max"})
TASK_KEYWORDS: Final = _PLAIN | _OPTIONS.keys()


def make_task(id: bytes, payload: bytes, keywords: TaskKeywords) -> NewTask:
    """Return a task; an id among the keywords goes before the other.

    Raises:
        InvalidRequest: There is no such option, or a value is not written as it must be.
    """
    if not keywords:
        return NewTask(id, payload)
    given = keywords.get("id")
    not_before = keywords.get("not_before")
    return NewTask(
        id if given is None else given.bytes,
        payload,
        keywords.get("priority", limits.PRIORITY_DEFAULT),
        milliseconds(keywords.get("delay", 0)),
        keywords.get("attempts_max", 0),
        0 if not_before is None else instant_ms(not_before),
        task_options(keywords),
    )


def task_options(keywords: Mapping[str, Any]) -> TaskOptions | None:
    """Return what goes beyond a plain task; None if nothing does.

    Raises:
        InvalidRequest: There is no such option, or a value is not written as it must be.
    """
    fields: dict[str, Any] = {}
    for keyword, value in keywords.items():
        option = _OPTIONS.get(keyword)
        if option is not None:
            fields[option[0]] = _read(keyword, value, option[1])
        elif keyword not in _PLAIN:
            refuse_unknown([keyword], TASK_KEYWORDS, "a task")
    return TaskOptions(**fields) if fields else None


def _read(keyword: str, value: object, read: Callable[[Any], Any]) -> object:
    try:
        return read(value)
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"{keyword} is {value!r}: {error}") from None


def enqueue_parts(parts: Parts, new_id: Callable[[], bytes]) -> list[EnqueuePart]:
    """Return tasks by queue as they are sent; queues without tasks are left out."""
    pairs = parts.items() if isinstance(parts, Mapping) else parts
    return [EnqueuePart(queue, new_tasks(tasks, new_id)) for queue, tasks in pairs if tasks]


def new_tasks(tasks: Sequence[NewTask | bytes], new_id: Callable[[], bytes]) -> list[NewTask]:
    """Return tasks; plain bytes become tasks with defaults."""
    return [NewTask(new_id(), task) if isinstance(task, bytes) else task for task in tasks]
