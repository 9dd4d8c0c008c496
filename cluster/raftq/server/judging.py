"""What a leader decides from its machine alone: who is let in, and what a read answers."""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final, TypeVar, assert_never

from raftq.core.machine import Machine
from raftq.protocol import codec, limits
from raftq.protocol.calls import (
    QueueCall,
    QueuesCall,
    ReadCall,
    ResultCall,
    SchedulesCall,
    SettingsCall,
    TaskCall,
    TasksCall,
    WhyCall,
)
from raftq.protocol.commands import Enqueue, EnqueueParts
from raftq.protocol.control import Edit
from raftq.protocol.errors import (
    DiskFull,
    ForgottenTask,
    InvalidRequest,
    QueueFull,
    RaftqError,
    UnknownSchedule,
    UnknownTask,
)
from raftq.protocol.fields import TaskId
from raftq.protocol.options import NewTask
from raftq.protocol.replies import ReadReply
from raftq.protocol.statuses import (
    LimitStatus,
    QueueList,
    QueueStatus,
    ScheduleList,
    ScheduleStatus,
    Settings,
    TaskPage,
    TaskStatus,
)

T = TypeVar("T", QueueStatus, LimitStatus, ScheduleStatus)
_STATUS_BYTES: Final = 1_000
"""What a task's status takes, at least about, beside the bytes and texts in it."""


# ---------------------------------------------------------------- who is let in


def admit(
    machine: Machine, command: Enqueue | EnqueueParts, disk_is_full: Callable[[], bool]
) -> None:
    """Refuse new tasks over the limits; everything that makes room always passes.

    A repetition passes too: its caller must learn that the tasks are there.

    Raises:
        QueueFull, DiskFull: There is no room.
    """
    tasks = tasks_of(command)
    try:
        _check_room(machine, len(tasks), disk_is_full)
    except (QueueFull, DiskFull):
        if any(machine.task(task.id) is None for task in tasks):
            raise


def tasks_of(command: Enqueue | EnqueueParts) -> list[NewTask]:
    """Return the tasks of an enqueue, in order."""
    if isinstance(command, Enqueue):
        return command.tasks
    return list(chain.from_iterable(part.tasks for part in command.parts))


def check_edit(command: Edit) -> None:
    """Refuse an edit that contradicts itself, or changes nothing.

    Raises:
        InvalidRequest: It does.
    """
    times = [each for each in (command.delay_ms, command.not_before_at_ms) if each is not None]
    if len(times) > 1:
        raise InvalidRequest("an edit takes either delay_ms or not_before_at_ms, not both")
    if not times and command.priority is None:
        raise InvalidRequest("an edit takes delay_ms, not_before_at_ms or priority; none is given")


def _check_room(machine: Machine, tasks: int, disk_is_full: Callable[[], bool]) -> None:
    advice = limits.RETRY_AFTER_MS
    if machine.live_tasks + tasks > limits.TASKS_LIVE_MAX:
        raise QueueFull(
            f"the cluster holds {machine.live_tasks} unfinished tasks; the limit is "
            f"{limits.TASKS_LIVE_MAX}: wait for workers to catch up",
            retry_after_ms=advice,
        )
    if machine.live_payload_bytes > limits.PAYLOAD_BYTES_LIVE_MAX:
        raise QueueFull(
            f"unfinished tasks hold {machine.live_payload_bytes} payload bytes; the limit is "
            f"{limits.PAYLOAD_BYTES_LIVE_MAX}: wait for workers to catch up",
            retry_after_ms=advice,
        )
    if disk_is_full():
        raise DiskFull(
            "the leader's disk is nearly full: free some space on it", retry_after_ms=advice
        )


# ---------------------------------------------------------------- reads


def read(machine: Machine, call: ReadCall) -> ReadReply:
    """Answer a read from what is applied.

    Raises:
        UnknownTask, ForgottenTask, UnknownSchedule: There is none.
        InvalidRequest: There is no queue behind which a list goes on.
    """
    match call:
        case TaskCall() | ResultCall():
            return found_task(machine, call.task_id)
        case QueueCall():
            return machine.queue(call.queue)
        case TasksCall():
            return _fitting(machine.tasks_page(call.filter, call.after, call.count_max))
        case WhyCall():
            why = machine.why(call.task_id)
            if why is None:
                raise _not_found(machine, call.task_id)
            return why
        case QueuesCall():
            return _queues(machine, call.after)
        case SettingsCall():
            return _settings(machine, call.after)
        case SchedulesCall():
            return _schedules(machine, call.name, call.after)
        case _:
            assert_never(call)


def found_task(machine: Machine, task_id: TaskId) -> TaskStatus:
    """Return the status of a task.

    Raises:
        UnknownTask, ForgottenTask: There is none, or none any more.
    """
    status = machine.task(task_id)
    if status is None:
        raise _not_found(machine, task_id)
    return status


def _not_found(machine: Machine, task_id: TaskId) -> RaftqError:
    if machine.was_forgotten(task_id):
        return ForgottenTask("the task finished, and its outcome is not kept any more")
    return UnknownTask("there is no such task, or it finished long ago and was forgotten")


def _queues(machine: Machine, after: str | None) -> QueueList:
    names = machine.queues()
    if after is not None and after not in names:
        raise InvalidRequest(f"there is no queue {after} behind which the list could go on")
    first = 0 if after is None else names.index(after) + 1
    return QueueList(*_page(map(machine.queue, names[first:]), lambda each: each.queue))


def _settings(machine: Machine, after: str | None) -> Settings:
    settings = machine.settings()
    behind = [each for each in settings.limits if after is None or each.key > after]
    return Settings(settings.quota, *_page(behind, lambda each: each.key))


def _schedules(machine: Machine, name: str | None, after: str | None) -> ScheduleList:
    found = machine.schedule_list(name).schedules
    if name is not None and not found:
        raise UnknownSchedule(f"there is no schedule {name}")
    behind = [each for each in found if after is None or each.name > after]
    return ScheduleList(*_page(behind, lambda each: each.name))


def _page(items: Iterable[T], name_of: Callable[[T], str]) -> tuple[list[T], str | None]:
    """Return as many items as fit in a reply, one at least, and what the next page is behind."""
    page: list[T] = []
    room = limits.LEASE_REPLY_BYTES_MAX
    for item in items:
        room -= len(codec.encode(item))
        if room < 0 and page:
            return page, name_of(page[-1])
        page.append(item)
    return page, None


def _fitting(page: TaskPage) -> TaskPage:
    """Return as much of a page as fits in a reply; the next one goes on behind it."""
    room = limits.LEASE_REPLY_BYTES_MAX
    for count, task in enumerate(page.tasks):
        room -= _size(task)
        if room < 0 and count:
            return TaskPage(page.tasks[:count], count, page.tasks[count - 1].sequence)
    return page


def _size(task: TaskStatus) -> int:
    """Return about how many bytes a status takes; characters of texts count as most they can."""
    size = _STATUS_BYTES + len(task.result or b"") + len(task.progress or b"")
    size += 4 * sum(map(len, task.errors))
    size += sum(4 * len(attempt.error) + 300 for attempt in task.history)
    if task.options is not None:
        size += 4 * limits.KEY_CHARACTERS_MAX + 18 * len(task.options.depends_on)
    return size
