"""What must hold of keys and of parents and children, checked by a full scan."""

from raftq.core.state import State
from raftq.core.task import BLOCKED, DEAD, FORGETTABLE, LEASED, OVER, WAITING, Blocked, Task


def check_keys(state: State, tasks: list[Task]) -> None:
    """Check a state; see `Machine.check_invariants`."""
    _check_blocked(state, tasks)
    _check_order(state, tasks)
    _check_limits(state, tasks)
    _check_family(state, tasks)


def _check_blocked(state: State, tasks: list[Task]) -> None:
    """A blocked task waits for something that is really there."""
    for task in tasks:
        by = None if task.extras is None else task.extras.blocked_by
        assert (task.state is BLOCKED) == (by is not None), "blocked by nothing"
        if task.extras is None:
            continue
        if by is Blocked.UNCONFIRMED:
            assert task.extras.confirm_by_ms > 0, "would never be confirmed or expire"
        if by is Blocked.PARENTS:
            assert task.extras.waits_for, "blocked by parents that are over"
        if by is Blocked.ORDER_KEY:
            holder = state.order_keys.holder(task.extras.options.order_key or "")
            assert holder not in (0, task.sequence), "blocked by a key that nobody else holds"


def _check_order(state: State, tasks: list[Task]) -> None:
    """Whoever has a place in the line of an order key is not over, or still runs."""
    by_sequence = {task.sequence: task for task in tasks}
    for key, sequences in state.order_keys:
        for sequence in sequences:
            task = by_sequence[sequence]
            assert task.extras is not None and task.extras.options.order_key == key
            assert task.state not in OVER or task.lease is not None, "a key is held for ever"
        for sequence in sequences[1:]:
            state_of = by_sequence[sequence].state
            assert state_of in WAITING, "two tasks of an order key run"


def _check_limits(state: State, tasks: list[Task]) -> None:
    """Leases and parked tasks of a limit key are counted, and none has more than its cap."""
    leased: dict[str, int] = {}
    parked: dict[str, int] = {}
    for task in tasks:
        extras = task.extras
        if extras is None or (key := extras.options.limit_key) is None:
            continue
        if task.lease is not None and extras.home_queue is None:
            leased[key] = leased.get(key, 0) + 1
        if extras.blocked_by is Blocked.LIMIT_KEY:
            parked[key] = parked.get(key, 0) + 1
    statuses = {each.key: each for each in state.limit_keys.statuses()}
    for key in leased.keys() | parked.keys():
        assert key in statuses, f"limit key {key} is not known"
    for key, status in statuses.items():
        assert status.leased == leased.get(key, 0), f"limit key {key} miscounts its leases"
        assert status.parked == parked.get(key, 0), f"limit key {key} miscounts who waits"


def _check_family(state: State, tasks: list[Task]) -> None:
    """Parents and children know each other, and who is over is no relative, or is to tell it."""
    by_sequence = {task.sequence: task for task in tasks}
    to_tell = {task.sequence for task in state.over}
    for task in tasks:
        for sequence in task.children or ():
            child = by_sequence[sequence]
            assert child.extras is not None
            is_over = child.state in FORGETTABLE and child.lease is None
            assert not is_over or sequence in to_tell, "a child is over"
            assert task.id in child.extras.options.depends_on
            assert task.sequence in child.extras.parents, "a child that knows no parent"
        if task.extras is None:
            continue
        parents = task.extras.parents
        assert parents == sorted(set(parents), reverse=True), "parents in disorder"
        for sequence in parents:
            assert task.sequence in (by_sequence[sequence].children or ()), "unknown to a parent"
        for sequence in task.extras.waits_for:
            assert sequence in parents, "waits for a task that is no parent"
            is_waiting = by_sequence[sequence].state in WAITING | {LEASED, DEAD}
            assert is_waiting or sequence in to_tell, "waits for a parent that is over"
