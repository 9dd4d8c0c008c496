"""The policies of a task: what may be said where it is declared, and where it is enqueued."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, TypedDict
from uuid import UUID

from raftq.client.durations import Duration, milliseconds
from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.messages import NAME_PATTERN
from raftq.worker.serialising.serializer import Serializer

ExecutionKind: TypeAlias = Literal["async", "thread", "process"]
"""Where a task's function runs: on the worker's loop, in a thread, in a process of its own."""
Execution: TypeAlias = Literal["auto", "async", "thread", "process"]
"""The same as it is declared; `auto` is `async` for `async def`, `thread` for `def`."""


class TaskOptions(TypedDict, total=False):
    """What `@app.task(…)` takes."""

    name: str
    """What the task is called in payloads; the function's name unless given."""
    queue: str
    priority: int
    """0 (first) to 9."""
    attempts_max: int
    """Failures after which the task is dead."""
    delay: Duration
    """Earliest start, from when it is enqueued."""
    timeout: Duration | None
    """How long one attempt may run; None is for ever."""
    execution: Execution
    serializer: Serializer


class CallOptions(TypedDict, total=False):
    """What `task.options(…)` takes; it goes before what the task was declared with."""

    queue: str
    priority: int
    attempts_max: int
    delay: Duration
    timeout: Duration | None
    id: UUID
    """Enqueueing the same id again returns the task that is there."""
    headers: Mapping[str, str]
    """Small facts beside the arguments; `current().headers` in the worker."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The policies of one task or one call of it, checked."""

    queue: str = "default"
    priority: int = limits.PRIORITY_DEFAULT
    attempts_max: int = limits.ATTEMPTS_MAX_DEFAULT
    delay_ms: int = 0
    timeout_ms: int | None = None

    def with_options(self, options: Mapping[str, Any]) -> "Policy":
        """Return these policies with those that the options name replaced.

        Raises:
            InvalidRequest: A value is out of range.
        """
        changes: dict[str, Any] = {
            name: options[name] for name in ("queue", "priority", "attempts_max") if name in options
        }
        if "delay" in options:
            changes["delay_ms"] = milliseconds(options["delay"])
        if "timeout" in options:
            timeout = options["timeout"]
            changes["timeout_ms"] = None if timeout is None else milliseconds(timeout)
        changed = replace(self, **changes)
        changed.check()
        return changed

    def check(self) -> None:
        """Raise InvalidRequest if the cluster would refuse these."""
        check_name("queue", self.queue)
        _check_range("priority", self.priority, 0, limits.PRIORITY_MAX)
        _check_range("attempts_max", self.attempts_max, 1, limits.ATTEMPTS_MAX_LIMIT)
        _check_range("delay in ms", self.delay_ms, 0, limits.DELAY_MS_MAX)
        if self.timeout_ms is not None:
            _check_range("timeout in ms", self.timeout_ms, 1, limits.DELAY_MS_MAX)


def check_name(what: str, name: object) -> None:
    """Raise InvalidRequest if a name is none that queues and tasks can have."""
    if not isinstance(name, str) or not re.match(NAME_PATTERN, name):
        raise InvalidRequest(f"{what} is {name!r}; it must match {NAME_PATTERN}")


def refuse_unknown(options: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise InvalidRequest with a suggestion if an option is none of those that are known."""
    names = sorted(known)
    for option in options:
        if option not in names:
            raise InvalidRequest(
                f"{where} has no option {option!r}{did_you_mean(option, names)}; "
                f"there are {', '.join(names)}"
            )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean …?)`, or nothing if no known name is near."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


TASK_OPTIONS: Final = frozenset(TaskOptions.__annotations__)
CALL_OPTIONS: Final = frozenset(CallOptions.__annotations__)


def _check_range(what: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise InvalidRequest(f"{what} is {value!r}; it must be a whole number, {low} to {high}")
