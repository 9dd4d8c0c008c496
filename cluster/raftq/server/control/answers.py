"""JSON answers of the control resources, as types."""

from uuid import UUID

from msgspec import Struct

from raftq.protocol.fields import TaskState
from raftq.protocol.options import KeyLimit
from raftq.protocol.replies import Done, Swept
from raftq.protocol.statuses import LimitStatus, ScheduleStatus, TaskPage, Why
from raftq.server.control.options import ScheduleBody, schedule_body
from raftq.server.http_answers import QueueAnswer, TaskAnswer, task_answer


class ChangedTaskAnswer(Struct, frozen=True):
    """The state of a task that was cancelled, confirmed or edited, and the log index of that."""

    state: TaskState
    index: int


class TasksAnswer(Struct, frozen=True):
    """Tasks in the order of their enqueue; `next_after` is null when all were looked at."""

    tasks: list[TaskAnswer]
    matched: int
    next_after: int | None


class ReasonAnswer(Struct, frozen=True):
    """One rule that holds a task back."""

    rule: str
    text: str
    facts: dict[str, int | str | list[str]]


class WhyAnswer(Struct, frozen=True):
    """What holds a task back; the first reason is the one that must go first."""

    id: UUID
    state: TaskState
    reasons: list[ReasonAnswer]


class SweptAnswer(Struct, frozen=True):
    """What a sweep changed, or would change, and how it goes on; `next_after` is null at its end.

    `until` and `index` are null for a dry run.
    """

    tasks: int
    next_after: int | None
    until: int | None
    index: int | None


class QueuesAnswer(Struct, frozen=True):
    """Queues, oldest first; `next_after` is null when these are the last."""

    queues: list[QueueAnswer]
    next_after: str | None


class ChangedAnswer(Struct, frozen=True):
    """Whether something was set that was not so before, and the log index of that."""

    is_changed: bool
    index: int


class LimitAnswer(Struct, frozen=True):
    """A limit key that is set or in use; `parked` tasks wait for it."""

    key: str
    limit: KeyLimit
    leased: int
    parked: int


class LimitsAnswer(Struct, frozen=True):
    """Limit keys, in their order; `next_after` is null when these are the last."""

    limits: list[LimitAnswer]
    next_after: str | None


class ScheduleAnswer(Struct, frozen=True):
    """One schedule and where it stands."""

    name: str
    schedule: ScheduleBody
    revision: int
    next_at_ms: int | None
    last_tick_at_ms: int | None
    last_task: UUID | None
    runs: int
    skipped: int


class SchedulesAnswer(Struct, frozen=True):
    """Schedules, by name; `next_after` is null when these are the last."""

    schedules: list[ScheduleAnswer]
    next_after: str | None


def tasks_answer(page: TaskPage) -> TasksAnswer:
    """Return the answer to a list of tasks."""
    return TasksAnswer([task_answer(each) for each in page.tasks], page.matched, page.next_after)


def why_answer(why: Why) -> WhyAnswer:
    """Return the answer to the question what holds a task back."""
    reasons = [ReasonAnswer(each.rule, each.text, each.facts) for each in why.reasons]
    return WhyAnswer(UUID(bytes=why.id), why.state, reasons)


def swept_answer(swept: Swept) -> SweptAnswer:
    """Return the answer to a sweep."""
    return SweptAnswer(swept.tasks, swept.next_after, swept.until, swept.index)


def changed_answer(done: Done) -> ChangedAnswer:
    """Return the answer to what sets something."""
    return ChangedAnswer(done.is_changed, done.index)


def limit_answer(status: LimitStatus) -> LimitAnswer:
    """Return one limit key as it is shown."""
    return LimitAnswer(status.key, status.limit, status.leased, status.parked)


def schedule_answer(status: ScheduleStatus) -> ScheduleAnswer:
    """Return one schedule as it is shown."""
    return ScheduleAnswer(
        status.name,
        schedule_body(status.schedule),
        status.revision,
        status.next_at_ms,
        status.last_tick_at_ms,
        None if status.last_task is None else UUID(bytes=status.last_task),
        status.runs,
        status.skipped,
    )
