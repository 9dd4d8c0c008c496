"""What must hold of every state, checked by a full scan."""

from hashlib import blake2b
from itertools import pairwise

from raftq.core.dump import dump
from raftq.core.key_invariants import check_keys
from raftq.core.state import State
from raftq.core.task import (
    CANCELLED,
    FORGETTABLE,
    LEASED,
    READY,
    SCHEDULED,
    Task,
    is_untouched,
)
from raftq.core.tasks import Tasks
from raftq.protocol.fields import TaskState


def content_hash(state: State) -> str:
    """Return a hash of everything that a snapshot would hold, as 32 hex digits."""
    digest = blake2b(digest_size=16)
    for _, chunk in dump(state):
        digest.update(chunk)
    return digest.hexdigest()


def check_invariants(state: State) -> None:
    """Check a state; see `Machine.check_invariants`."""
    tasks = list(state.tasks)
    _check_index(state.tasks, tasks)
    _check_counts(state, tasks)
    _check_lines(state, tasks)
    _check_timers(state, tasks)
    _check_tokens(state, tasks)
    check_keys(state, tasks)
    live = [task for task in tasks if task.state not in FORGETTABLE]
    assert state.live_tasks == len(live), "live tasks are miscounted"
    assert state.live_payload_bytes == sum(task.payload_bytes for task in live)


def _check_index(index: Tasks, tasks: list[Task]) -> None:
    """Every task is kept once, as an object or as a row, and is found by its id."""
    assert len(tasks) == len(index) == len(index.rows) + len(index.objects), "tasks are miscounted"
    for before, after in pairwise(tasks):
        assert before.sequence < after.sequence, "a task is kept twice"
    for task in tasks:
        assert index.find(task.id) == task.sequence, "a task is not found by its id"
        assert is_untouched(task) or task.sequence in index.objects, "a row says too little"


def _check_counts(state: State, tasks: list[Task]) -> None:
    """The conservation law: every task ever enqueued is in exactly one state."""
    counted: dict[tuple[str, TaskState | None], int] = {}
    for task in tasks:
        counted[task.queue, task.state] = counted.get((task.queue, task.state), 0) + 1
    for number, queue in enumerate(state.queues.values()):
        assert queue.number == number, f"{queue.name} has another number than its tasks say"
        assert queue.enqueued == sum(queue.counts.values()), f"{queue.name} lost a task"
        for each, count in queue.counts.items():
            kept = counted.get((queue.name, each), 0)
            matches = kept <= count if each in FORGETTABLE else kept == count
            assert matches, f"{queue.name} counts {count} {each} tasks and holds {kept}"
        own = [task for task in tasks if task.queue == queue.name]
        held = sum(task.payload_bytes for task in own if task.state not in FORGETTABLE)
        assert queue.payload_bytes == held, f"{queue.name} miscounts its payload bytes"
        leased = sum(task.lease is not None for task in own)
        assert queue.leased == leased, f"{queue.name} miscounts its leases"


def _check_lines(state: State, tasks: list[Task]) -> None:
    """Every ready task stands in line once."""
    by_sequence = {task.sequence: task for task in tasks}
    in_line: set[int] = set()
    for queue in state.queues.values():
        sequences = list(queue)
        assert queue.ready == len(sequences), f"{queue.name} miscounts its line"
        for sequence in sequences:
            task = by_sequence[sequence]
            assert task.state is READY and task.queue == queue.name and sequence not in in_line
            in_line.add(sequence)
    ready = sum(task.state is READY for task in tasks)
    assert len(in_line) == ready, "a ready task stands in no line"


def _check_timers(state: State, tasks: list[Task]) -> None:
    """Every lease, start, end and outcome has its instant."""
    to_tell = {task.sequence for task in state.over}
    for task in tasks:
        is_held = task.lease is not None
        assert is_held or task.state is not LEASED, "a leased task without a lease"
        assert not is_held or task.state in (LEASED, CANCELLED), "a lease without its state"
        is_over = task.state in FORGETTABLE
        assert not task.is_kept or is_over, "an outcome of a task that is not over"
        is_needed = is_held or task.children or task.sequence in to_tell
        assert not is_over or task.is_kept or is_needed, "never forgotten"
    leases = sum(task.lease is not None for task in tasks)
    assert state.leases.live == leases, "a lease has no timer"
    scheduled = sorted(state.scheduled)
    assert scheduled == [task.sequence for task in tasks if task.state is SCHEDULED], "no timer"
    ends = sum(task.extras is not None and task.extras.end_at_ms > 0 for task in tasks)
    assert state.ends.live == ends, "an end has no timer"
    assert len(state.outcomes) == sum(task.is_kept for task in tasks), "outcomes are miscounted"


def _check_tokens(state: State, tasks: list[Task]) -> None:
    for token, task in state.by_token.items():
        assert token == task.token <= state.last_token, "a token points to another lease's task"
        kept = state.tasks.objects.get(task.sequence)
        assert kept is task, "a token points to a forgotten task"
    leased = sum(task.state is LEASED for task in tasks)
    held = sum(task.state is LEASED for task in state.by_token.values())
    assert leased == held, "a leased task cannot be settled"
