"""The checks accept every correct execution and notice a machine that is broken.

The executions are random, but of the real machine behind a network that loses, repeats and delays
calls and replies (see `tests/support/executions.py`).
"""

from collections.abc import Callable, Sequence
from time import process_time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.executions import Execution, Settings

from raftq.core.applied import Granted
from raftq.core.machine import Machine
from raftq.core.ready_queue import ReadyQueue
from raftq.core.request_memory import RequestMemory
from raftq.core.sequences import Line
from raftq.core.state import State
from raftq.core.task import DONE, Task
from raftq.protocol.commands import AckItem, Lease
from raftq.protocol.options import NewTask
from raftq.protocol.replies import SettledTask
from raftq.protocol.statuses import TaskStatus
from raftq.testing.checks import check_all

WORLDS = st.builds(
    Settings,
    clients=st.integers(1, 12),
    duration_ms=st.integers(1_000, 10_000),
    loss=st.sampled_from((0.0, 0.0, 0.02, 0.1, 0.4)),
    again=st.sampled_from((0.0, 0.2, 0.6)),
    delay_ms=st.sampled_from((0.5, 5.0, 80.0)),
    pauses=st.integers(0, 6),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), WORLDS)
def test_a_correct_execution_breaks_no_rule(seed: int, world: Settings) -> None:
    execution = Execution(seed, world).run()
    found = check_all(execution.history, execution.facts, execution.bounds)
    assert found == [], "\n".join(map(str, found[:3]))


def test_the_checks_take_time_in_proportion_to_the_history() -> None:
    def seconds_per_call(duration_ms: float) -> float:
        execution = Execution(1, Settings(clients=10, duration_ms=duration_ms)).run()
        begun_at = process_time()
        check_all(execution.history, execution.facts, execution.bounds)
        return (process_time() - begun_at) / len(execution.history)

    assert seconds_per_call(160_000) < 4 * seconds_per_call(10_000)


# ---------------------------------------------------------------- broken machines


def _forget_acks(self: Machine, item: AckItem) -> SettledTask:
    return SettledTask(DONE) if item.token % 11 == 0 else _ack(self, item)


def _accept_stale_acks(self: Machine, item: AckItem) -> SettledTask:
    settled = _ack(self, item)
    return settled if settled.state is not None else SettledTask(DONE)


def _record_other_results(self: State, task: Task, result: bytes | None) -> None:
    _finish(self, task, b"other")


def _run_twice_as_fast(self: State, lease_advance_ms: int, wall_at_ms: int) -> None:
    _advance(self, 2 * lease_advance_ms, wall_at_ms)


def _ignore_extensions(self: State, task: Task, lease_ms: int, progress: bytes | None) -> None:
    """Answer as if the lease had been extended."""


def _shorten_delays(self: State, queue: str, tasks: Sequence[NewTask], crcs: Sequence[int]) -> bool:
    hasty = [
        NewTask(new.id, new.payload, new.priority, new.delay_ms // 3, new.attempts_max)
        for new in tasks
    ]
    return _enqueue(self, queue, hasty, crcs)


def _last_in_first_out(
    self: ReadyQueue, first: int, priority: int, count: int = 1, fair_key: str = ""
) -> None:
    assert not fair_key, "no task of these executions has one"
    line = self._line(priority)  # pyright: ignore[reportPrivateUsage]  # to break it
    assert isinstance(line, Line)
    returned = line.returned()
    waiting = list(line.waiting())
    for _ in (*returned, *waiting):
        line.pop()
    for sequence in (*reversed(range(first, first + count)), *waiting):
        line.append(sequence, 1)
    for sequence in returned:
        line.put_back(sequence)
    self.ready += count


def _remember_no_request(self: RequestMemory, worker: str, request_id: str) -> tuple[int, ...]:
    return ()


def _deny_what_waits(self: Machine, command: Lease) -> Granted:
    return Granted([]) if len(command.request_id) % 3 == 0 else _lease(self, command)


def _die_early(
    self: State,
    task: Task,
    error: str,
    delay_ms: int | None = None,
    *,
    is_final: bool = False,
    is_crash: bool = False,
) -> None:
    task.attempts_max = 1
    _fail(self, task, error, delay_ms, is_final=is_final, is_crash=is_crash)


_ack = Machine._ack  # pyright: ignore[reportPrivateUsage]  # to break it
_lease = Machine._lease  # pyright: ignore[reportPrivateUsage]  # to break it
_finish, _advance, _enqueue, _fail = State.finish, State.advance, State.enqueue, State.fail

BROKEN: dict[str, tuple[type, str, Callable[..., object], str]] = {
    "acks forgotten": (Machine, "_ack", _forget_acks, "resurrected"),
    "stale acks accepted": (Machine, "_ack", _accept_stale_acks, "stale-accepted"),
    "other results": (State, "finish", _record_other_results, "wrong-result"),
    "lease time too fast": (State, "advance", _run_twice_as_fast, "overlap"),
    "workers robbed": (State, "advance", _run_twice_as_fast, "robbed"),
    "extensions ignored": (State, "extend", _ignore_extensions, "unjust-reject"),
    "delays shortened": (State, "enqueue", _shorten_delays, "early"),
    "last in, first out": (ReadyQueue, "push_back", _last_in_first_out, "fifo"),
    "requests forgotten": (RequestMemory, "recall", _remember_no_request, "retry-mismatch"),
    "denies what waits": (Machine, "_lease", _deny_what_waits, "false-empty"),
    "dead at once": (State, "fail", _die_early, "dead-early"),
}


def _rules_found(rule: str) -> set[str]:
    found: set[str] = set()
    for seed in range(12):
        quiet = Settings(clients=2, loss=0, again=0, delay_ms=1, pauses=1)
        execution = Execution(seed, quiet if seed % 2 else Settings()).run()
        all_found = check_all(execution.history, execution.facts, execution.bounds)
        found |= {each.rule for each in all_found}
        if rule in found:
            break
    return found


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_machine_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, method, replacement, rule = BROKEN[name]
    monkeypatch.setattr(owner, method, replacement)
    assert rule in _rules_found(rule)


def test_a_stale_read_is_noticed() -> None:
    found: set[str] = set()
    for seed in range(12):
        execution = Execution(seed)
        execution.read_task = _first_shown(execution.machine)
        execution.run()
        all_found = check_all(execution.history, execution.facts, execution.bounds)
        found |= {each.rule for each in all_found}
    assert "stale-read" in found


def _first_shown(machine: Machine) -> Callable[[bytes], TaskStatus | None]:
    """Return a read that shows each task as it was when it was read first."""
    shown: dict[bytes, TaskStatus] = {}

    def task(task_id: bytes) -> TaskStatus | None:
        status = machine.task(task_id)
        return None if status is None else shown.setdefault(task_id, status)

    return task
