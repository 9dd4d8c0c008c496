"""What readers are told: of a task, of queues, of many tasks, of what is set."""

from raftq.core.finding import Search
from raftq.core.ready_queue import ReadyQueue
from raftq.core.state import State
from raftq.core.task import DONE, OVER, Task
from raftq.protocol.fields import TaskState
from raftq.protocol.options import TaskFilter
from raftq.protocol.statuses import QueueStatus, TaskPage, TaskStatus


def task_status(state: State, task: Task) -> TaskStatus:
    """Return the status of a task."""
    assert task.state is not None
    extras = task.extras
    history = list(task.history or ())
    was_cancelled = bool(history) and history[-1].end == "cancelled"
    is_in_attempt = task.state is DONE or task.lease is not None or was_cancelled
    settings = state.queues[task.queue].settings
    return TaskStatus(
        id=task.id,
        queue=task.queue,
        state=task.state,
        priority=task.priority,
        failures=task.failures,
        crashes=task.crashes,
        attempts=task.failures + task.crashes + is_in_attempt,
        attempts_max=task.attempts_max or settings.attempts_max,
        token=task.token or None,
        result=task.result,
        errors=[attempt.error for attempt in history if attempt.error],
        not_before_at_ms=task.not_before_at_ms,
        enqueued_at_ms=task.enqueued_at_ms,
        finished_at_ms=task.finished_at_ms or None,
        history=history,
        progress=task.progress,
        worker=None if task.lease is None else task.lease.worker,
        options=None if extras is None else extras.options,
        sequence=task.sequence,
    )


def queue_status(state: State, queue: ReadyQueue) -> QueueStatus:
    """Return counts and settings of a queue."""
    oldest = state.tasks.get(queue.first()) if queue.ready else None
    return QueueStatus(
        queue.name,
        queue.enqueued,
        {each.value: count for each, count in queue.counts.items()},
        queue.settings,
        queue.payload_bytes,
        None if oldest is None else max(oldest.enqueued_at_ms, oldest.not_before_at_ms),
    )


def unused_queue(name: str) -> QueueStatus:
    """Return what is told of a queue that was never used."""
    return QueueStatus(name, 0, {each.value: 0 for each in TaskState})


def task_page(state: State, wanted: TaskFilter, after: int, count_max: int) -> TaskPage:
    """Return a page of tasks, or, for a count of 0, only how many match."""
    search = Search(state, wanted, after, state.last_sequence)
    tasks: list[TaskStatus] = []
    matched = 0
    for task in search:
        matched += 1
        if count_max:
            tasks.append(task_status(state, task))
            if matched >= count_max:
                return TaskPage(tasks, matched, task.sequence)
    return TaskPage(tasks, matched, search.next_after)


def is_over(task: Task) -> bool:
    """Tell whether a task has ended, for good or until it is redriven."""
    return task.state in OVER
