"""What a worker process is told when it is started, and what follows from it for queues."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from raftq.client.keywords.naming import did_you_mean
from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest
from raftq.worker.app import App
from raftq.worker.logs import Level, Style
from raftq.worker.options import check_name

DRAIN_SECONDS_DEFAULT: Final = 30.0


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of one worker process; they travel as JSON."""

    target: str
    """The App, as `module:name`."""
    queues: list[tuple[str, int | None]] = []
    """Queues with their limits, None for none; all queues of the App's tasks if empty."""
    concurrency: int = 16
    threads: int | None = None
    """Of tasks that are `def`; as many as concurrency if None."""
    children: int | None = None
    """Child processes of tasks that want one; as many as there are CPUs if None."""
    prefetch: int = 0
    lease_seconds: float = limits.LEASE_MS_DEFAULT / 1_000
    drain_seconds: float = DRAIN_SECONDS_DEFAULT
    tasks_max: int | None = None
    memory_max_bytes: int | None = None
    log_level: Level = "info"
    log_style: Style = "auto"

    @property
    def threads_max(self) -> int:
        """The most threads."""
        return self.threads or self.concurrency

    @property
    def children_max(self) -> int:
        """The most child processes."""
        return self.children or os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class QueuePlan:
    """What a worker process leases from."""

    queues: Sequence[str]
    queue_limits: Mapping[str, int]
    warnings: Sequence[str]


def parse_queue(text: str) -> tuple[str, int | None]:
    """Return a queue and its limit, from `name` or `name:limit`.

    Raises:
        InvalidRequest: It is neither.
    """
    name, colon, limit = text.partition(":")
    check_name("queue", name)
    if not colon:
        return name, None
    if not limit.isdecimal() or int(limit) < 1:
        raise InvalidRequest(
            f"the limit of queue {name!r} is {limit!r}; write NAME or NAME:LIMIT, like reports:2"
        )
    return name, int(limit)


def plan_queues(app: App, settings: Settings) -> QueuePlan:
    """Return what to lease from, and how much of it at a time.

    A queue whose tasks all need a thread or all need a child process gets the number of these as
    its limit: what could not run anyway is left to other workers.

    Raises:
        InvalidRequest: The App has no tasks, or a queue is named twice.
    """
    if not app.tasks:
        raise InvalidRequest(
            f"{settings.target} has no tasks; are the modules that declare them imported by it?"
        )
    kinds: dict[str, set[str]] = {}
    for task in app.tasks.values():
        kinds.setdefault(task.queue, set()).add(task.execution)
        if task.checker is not None and task.policy.check_queue is not None:
            kinds.setdefault(task.policy.check_queue, set()).add(task.checker.execution)
    wanted = settings.queues or [(name, None) for name in kinds]
    names = [name for name, _ in wanted]
    if len(set(names)) < len(names):
        raise InvalidRequest(f"a queue is named twice: {', '.join(names)}")
    given = {name: limit for name, limit in wanted if limit is not None}
    derived = _derived_limits(names, kinds, settings)
    queue_limits = {**derived, **given}
    if len(names) > settings.concurrency and len(queue_limits) >= settings.concurrency:
        queue_limits = given
    return QueuePlan(names, queue_limits, _warnings(names, kinds, settings.target))


def _derived_limits(
    names: Sequence[str], kinds: Mapping[str, set[str]], settings: Settings
) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        limit = settings.concurrency
        if kinds.get(name) == {"thread"}:
            limit = settings.threads_max
        elif kinds.get(name) == {"process"}:
            limit = settings.children_max
        if limit < settings.concurrency:
            found[name] = limit
    return found


def _warnings(names: Sequence[str], kinds: Mapping[str, object], target: str) -> list[str]:
    return [
        f"no task of {target} is declared for queue {name!r}{did_you_mean(name, kinds)}; "
        f"its tasks' queues are {', '.join(sorted(kinds))}"
        for name in names
        if name not in kinds
    ]
