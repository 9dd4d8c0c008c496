"""What a leader decides from its machine alone: who is let in, and what a read answers."""

from collections.abc import Callable
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
    PayloadTooLarge,
    QueueFull,
    RaftqError,
    UnknownSchedule,
    UnknownTask,
)
from raftq.protocol.fields import TaskId
from raftq.protocol.options import NewTask
from raftq.protocol.replies import ReadReply
from raftq.protocol.statuses import QueueList, ScheduleList, Settings, TaskPage, TaskStatus

_SURELY_SMALL: Final = 100
"""Items of a list that fit in a reply, whatever they are."""
_LIST_BYTES_MAX: Final = limits.REPLY_BYTES_MAX - 1 * limits.MIB
L = TypeVar("L", QueueList, Settings, ScheduleList)
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
        PayloadTooLarge: A list does not fit in a reply.
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
            queues = machine.queue_list()
            return _bounded(queues, len(queues.queues))
        case SettingsCall():
            settings = machine.settings()
            return _bounded(settings, len(settings.limits))
        case SchedulesCall():
            return _schedules(machine, call.name)
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


def _schedules(machine: Machine, name: str | None) -> ScheduleList:
    found = machine.schedule_list(name)
    if name is not None and not found.schedules:
        raise UnknownSchedule(f"there is no schedule {name}")
    return _bounded(found, len(found.schedules))


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


def _bounded(reply: L, items: int) -> L:
    """Return a list if it fits in a reply: what is larger would break its connection."""
    if items > _SURELY_SMALL and len(codec.encode(reply)) > _LIST_BYTES_MAX:
        raise PayloadTooLarge(
            f"the answer, of {items} items, is over {_LIST_BYTES_MAX} bytes; ask for one by name",
            bytes_max=_LIST_BYTES_MAX,
        )
    return reply
