"""What must hold of every state, checked by a full scan."""

from hashlib import blake2b

from raftq.core.dump import dump
from raftq.core.state import State
from raftq.core.task import DONE, LEASED, READY, SCHEDULED, Task
from raftq.protocol.messages import TaskState


def content_hash(state: State) -> str:
    """Return a hash of everything that a snapshot would hold, as 32 hex digits."""
    digest = blake2b(digest_size=16)
    for _, chunk in dump(state):
        digest.update(chunk)
    return digest.hexdigest()


def check_invariants(state: State) -> None:
    """Check a state; see `Machine.check_invariants`."""
    _check_counts(state)
    _check_places(state)
    _check_tokens(state)
    live = [task for task in state.tasks.values() if task.state is not DONE]
    assert state.live_tasks == len(live), "live tasks are miscounted"
    assert state.live_payload_bytes == sum(task.payload_bytes for task in live)


def _check_counts(state: State) -> None:
    """The conservation law: every task ever enqueued is in exactly one state."""
    counted: dict[tuple[str, TaskState | None], int] = {}
    for task in state.tasks.values():
        counted[task.queue, task.state] = counted.get((task.queue, task.state), 0) + 1
    for queue in state.queues.values():
        assert queue.enqueued == sum(queue.counts.values()), f"{queue.name} lost a task"
        for each, count in queue.counts.items():
            kept = counted.get((queue.name, each), 0)
            matches = kept <= count if each is DONE else kept == count
            assert matches, f"{queue.name} counts {count} {each} tasks and holds {kept}"


def _check_places(state: State) -> None:
    """Every ready task stands in line once, every leased or scheduled one has a timer."""
    in_line: dict[bytes, Task] = {}
    for queue in state.queues.values():
        tasks = list(queue)
        assert queue.ready == len(tasks), f"{queue.name} miscounts its line"
        for task in tasks:
            assert task.state is READY and task.queue == queue.name and task.id not in in_line
            in_line[task.id] = task
    by_state = {each: 0 for each in TaskState}
    for task in state.tasks.values():
        assert task.state is not None
        by_state[task.state] += 1
        assert (task.lease is not None) == (task.state is LEASED), "a lease without its state"
    assert len(in_line) == by_state[READY], "a ready task stands in no line"
    assert state.leases.live == by_state[LEASED], "a lease has no timer"
    assert state.scheduled.live == by_state[SCHEDULED], "a scheduled task has no timer"
    assert len(state.outcomes) == by_state[DONE], "a done task would never be forgotten"


def _check_tokens(state: State) -> None:
    for token, task in state.by_token.items():
        assert token == task.token <= state.last_token, "a token points to another lease's task"
        assert state.tasks.get(task.id) is task, "a token points to a forgotten task"
    leased = sum(task.state is LEASED for task in state.tasks.values())
    held = sum(task.state is LEASED for task in state.by_token.values())
    assert leased == held, "a leased task cannot be settled"
