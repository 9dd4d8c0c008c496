"""What a leader decides from its machine alone: who is let in, and what a read answers."""

from collections.abc import Callable

from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.protocol.errors import DiskFull, QueueFull, UnknownTask
from raftq.protocol.messages import Enqueue, QueueCall, QueueStatus, TaskCall, TaskStatus


def admit(machine: Machine, command: Enqueue, disk_is_full: Callable[[], bool]) -> None:
    """Refuse new tasks over the limits; everything that makes room always passes.

    A repetition passes too: its caller must learn that the tasks are there.

    Raises:
        QueueFull, DiskFull: There is no room.
    """
    try:
        _check_room(machine, command, disk_is_full)
    except (QueueFull, DiskFull):
        if any(machine.task(task.id) is None for task in command.tasks):
            raise


def _check_room(machine: Machine, command: Enqueue, disk_is_full: Callable[[], bool]) -> None:
    advice = limits.RETRY_AFTER_MS
    if machine.live_tasks + len(command.tasks) > limits.TASKS_LIVE_MAX:
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


def read(machine: Machine, call: TaskCall | QueueCall) -> TaskStatus | QueueStatus:
    """Answer a read from what is applied.

    Raises:
        UnknownTask: There is none, or it was forgotten.
    """
    if isinstance(call, QueueCall):
        return machine.queue(call.queue)
    status = machine.task(call.task_id)
    if status is None:
        raise UnknownTask("there is no such task, or it finished long ago and was forgotten")
    return status
