"""The policies of a task: what may be said where it is declared, and where it is enqueued."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, cast
from uuid import UUID

import msgspec
from msgspec import structs

from raftq.client.durations import Duration, milliseconds
from raftq.client.keywords.moments import Moment, instant_ms
from raftq.client.keywords.new_tasks import ConflictName, ParentFailureName, task_options
from raftq.client.keywords.rates import BackoffText
from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import NAME_PATTERN
from raftq.protocol.options import TaskOptions as WireOptions
from raftq.worker.keys import KeyOption, KeyRule, Named
from raftq.worker.serialising.serializer import Serializer

if TYPE_CHECKING:
    from raftq.worker.job import Job

ExecutionKind: TypeAlias = Literal["async", "thread", "process"]
"""Where a task's function runs: on the worker's loop, in a thread, in a process of its own."""
Execution: TypeAlias = Literal["auto", "async", "thread", "process"]
"""The same as it is declared; `auto` is `async` for `async def`, `thread` for `def`."""


class PolicyOptions(TypedDict, total=False):
    """What both `@app.task(…)` and `task.options(…)` take."""

    queue: str
    priority: int
    """0 (first) to 9."""
    attempts_max: int
    """Failures after which the task is dead; the queue's setting unless given."""
    crashes_max: int
    """Deaths of its worker after which the task is dead; the queue's setting unless given."""
    backoff: BackoffText
    """The pause before a retry: `backoff(…)`, or the first pause, which then doubles."""
    delay: Duration
    """Earliest start, from when it is enqueued."""
    expires: Duration
    """Dropped if it was not started by then, from when it is enqueued."""
    timeout: Duration | None
    """How long one attempt may run; None is for ever."""
    unique_key: KeyOption
    """At most one live task of the cluster has it. Like the other keys a text in which `{…}` stands
    for an argument, or a function of the arguments; None per call means that it has none."""
    on_conflict: ConflictName
    """What if another has the unique key: `reject`, `existing` (its job is returned), `replace`."""
    unique_for: Duration
    """How long the unique key is taken from the enqueue, whatever becomes of the task."""
    order_key: KeyOption
    """Tasks of one key run one after the other, in order."""
    limit_key: KeyOption
    """Counts for the limit of this key; see `Client.set_limit`."""
    fair_key: KeyOption
    """Keys of a queue take turns."""
    on_parent_failure: ParentFailureName
    """What if a task that it depends on does not succeed: `cancel`, `run` or `wait`."""
    result_ttl: Duration
    """How long the outcome is kept; the queue's setting unless given."""
    confirm_within: Duration
    """It is only prepared, and `job.confirm()` must follow in this time."""


class TaskOptions(PolicyOptions, total=False):
    """What `@app.task(…)` takes."""

    name: str
    """What the task is called in payloads; the function's name unless given."""
    execution: Execution
    serializer: Serializer
    check_queue: str
    """Where a prepared task goes that was not confirmed in time; see `Task.check`."""


class CallOptions(PolicyOptions, total=False):
    """What `task.options(…)` takes; it goes before what the task was declared with."""

    id: UUID
    """Enqueueing the same id again returns the task that is there."""
    headers: Mapping[str, str]
    """Small facts beside the arguments; `current().headers` in the worker."""
    not_before: Moment
    """Earliest start; of this and `delay` the later counts."""
    expires_at: Moment
    """Dropped if it was not started by then."""
    depends_on: "Sequence[Job[Any] | UUID | bytes]"
    """It waits for these tasks to be over."""


_KEYS: Final = ("unique_key", "order_key", "limit_key", "fair_key")
_TOLD: Final = frozenset(
    {
        *("crashes_max", "backoff", "expires", "expires_at", "on_conflict", "unique_for"),
        *("on_parent_failure", "result_ttl", "confirm_within", "check_queue"),
    }
)
"""What goes to the cluster as it was said."""


@dataclass(frozen=True, slots=True)
class Chained:
    """What a flow adds to one of its tasks."""

    parents: Sequence[bytes] = ()
    """The tasks before it."""
    takes: int | None = None
    """See `envelope.Extras`."""

    @property
    def skipped(self) -> int:
        """How many leading arguments are not known yet, because they are results."""
        return 0 if self.takes is None else 1


@dataclass(frozen=True, slots=True)
class Policy:
    """The policies of one task or one call of it, checked."""

    queue: str = "default"
    priority: int = limits.PRIORITY_DEFAULT
    attempts_max: int = 0
    delay_ms: int = 0
    timeout_ms: int | None = None
    not_before_ms: int = 0
    told: Mapping[str, Any] = field(default_factory=dict[str, Any])
    keys: Mapping[str, KeyRule] = field(default_factory=dict[str, KeyRule])
    """Keys that follow from the arguments."""
    parents: Sequence[bytes] = ()
    fixed: WireOptions | None = None
    """What the cluster is told beyond a plain task, whatever the arguments are."""

    @property
    def has_backoff(self) -> bool:
        """Whether it has a backoff of its own."""
        return self.fixed is not None and self.fixed.backoff is not None

    @property
    def check_queue(self) -> str | None:
        """Where a prepared task goes that was not confirmed in time."""
        return cast("str | None", self.told.get("check_queue"))

    def with_options(self, options: Mapping[str, Any]) -> "Policy":
        """Return these policies with those that the options name replaced.

        Raises:
            InvalidRequest: A value is out of range.
        """
        if not options:
            return self
        changes: dict[str, Any] = {
            name: options[name] for name in ("queue", "priority", "attempts_max") if name in options
        }
        if "delay" in options:
            changes["delay_ms"] = milliseconds(options["delay"])
        if "timeout" in options:
            timeout = options["timeout"]
            changes["timeout_ms"] = None if timeout is None else milliseconds(timeout)
        if "not_before" in options:
            changes["not_before_ms"] = instant_ms(options["not_before"])
        if "depends_on" in options:
            changes["parents"] = [_id(each) for each in options["depends_on"]]
        told = {name: options[name] for name in options if name in _TOLD}
        keys = {name: options[name] for name in options if name in _KEYS}
        changes.update(self._beyond_plain(told, keys, changes.get("parents", self.parents)))
        changed = replace(self, **changes)
        changed.check()
        return changed

    def _beyond_plain(
        self, told: Mapping[str, Any], keys: Mapping[str, KeyOption], parents: Sequence[bytes]
    ) -> dict[str, Any]:
        """Return the fields for what goes beyond a plain task."""
        merged = {**self.told, **told}
        rules = {name: rule for name, rule in self.keys.items() if name not in keys}
        for name, key in keys.items():
            merged.pop(name, None)
            if isinstance(key, str) and not {"{", "}"} & set(key):
                merged[name] = key
            elif key is not None:
                rules[name] = KeyRule(name, key)
        fixed = task_options({**merged, "depends_on": parents} if parents else merged)
        return {"told": merged, "keys": rules, "fixed": fixed}

    def wire_options(
        self,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        named: Named,
        chained: Chained | None,
    ) -> WireOptions | None:
        """Return what the cluster is told of one call beyond a plain task; None if nothing."""
        if not self.keys and chained is None:
            return self.fixed
        changes: dict[str, Any] = {
            name: rule.key(args, kwargs, named) for name, rule in self.keys.items()
        }
        if chained is not None and chained.parents:
            changes["depends_on"] = [*chained.parents, *self.parents]
        changes = {name: value for name, value in changes.items() if value is not None}
        if not changes:
            return self.fixed
        return structs.replace(self.fixed or WireOptions(), **changes)

    def check(self) -> None:
        """Raise InvalidRequest if the cluster would refuse these."""
        check_name("queue", self.queue)
        _check_range("priority", self.priority, 0, limits.PRIORITY_MAX)
        _check_range("attempts_max", self.attempts_max, 0, limits.ATTEMPTS_MAX_LIMIT)
        _check_range("delay in ms", self.delay_ms, 0, limits.DELAY_MS_MAX)
        if self.timeout_ms is not None:
            _check_range("timeout in ms", self.timeout_ms, 1, limits.DELAY_MS_MAX)
        if self.check_queue is not None:
            check_name("check_queue", self.check_queue)
            if self.check_queue == self.queue:
                raise InvalidRequest("check_queue is the task's own queue; it must be another")
        if self.fixed is not None:
            _check_options(self.fixed)


def _id(parent: "Job[Any] | UUID | bytes") -> bytes:
    if isinstance(parent, bytes):
        return parent
    return parent.bytes if isinstance(parent, UUID) else parent.id.bytes


def check_name(what: str, name: object) -> None:
    """Raise InvalidRequest if a name is none that queues and tasks can have."""
    if not isinstance(name, str) or not re.match(NAME_PATTERN, name):
        raise InvalidRequest(f"{what} is {name!r}; it must match {NAME_PATTERN}")


def _check_options(options: WireOptions) -> None:
    """Raise InvalidRequest if the cluster would refuse these, as it would."""
    try:
        msgspec.msgpack.decode(msgspec.msgpack.encode(options), type=WireOptions)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(str(error)) from None


TASK_OPTIONS: Final = frozenset(TaskOptions.__annotations__)
CALL_OPTIONS: Final = frozenset(CallOptions.__annotations__)


def _check_range(what: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise InvalidRequest(f"{what} is {value!r}; it must be a whole number, {low} to {high}")
