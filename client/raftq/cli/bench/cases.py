"""The cases of `raftq bench`, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from raftq.cli.bench.backlog import backlog
from raftq.cli.bench.failover import hung_leaders, killed_leaders
from raftq.cli.bench.figures import Sample
from raftq.cli.bench.framework import blocking_enqueue, worker_backlog, worker_end_to_end
from raftq.cli.bench.pacing import idle, paced
from raftq.cli.bench.stage import Stage
from raftq.cli.bench.throughput import enqueues, life_cycles


@dataclass(frozen=True, slots=True)
class Case:
    """Something that is measured.

    Attributes:
        name: On the command line, and in JSON.
        text: What it is, in words.
        measure: Measures it once; is given the stage and the name.
        is_long: Whether it is measured in the first round only, unless it was asked for.
        hurts_leader: Whether it needs other nodes to take over, and a leader that may be killed.
        is_framework: Whether it runs Apps; measured only when it was asked for.
    """

    name: str
    text: str
    measure: Callable[[Stage, str], list[Sample]]
    is_long: bool = False
    hurts_leader: bool = False
    is_framework: bool = False


CASES: Final = (
    Case(
        "enqueue-1",
        "enqueue, 1 caller, one task a call",
        lambda stage, name: enqueues(stage, name, callers=1, batch=1),
    ),
    Case(
        "enqueue-128",
        "enqueue, 128 callers, one task a call",
        lambda stage, name: enqueues(stage, name, callers=128, batch=1),
    ),
    Case(
        "enqueue-batched",
        "enqueue, 4 callers, 100 tasks a call",
        lambda stage, name: enqueues(stage, name, callers=4, batch=100),
    ),
    Case(
        "life-cycle",
        "enqueue to ack, 1 producer and 4 consumer processes, one task a call",
        lambda stage, name: life_cycles(stage, name, callers=32, batch=1),
    ),
    Case(
        "life-cycle-batched",
        "the same, 100 tasks a call",
        lambda stage, name: life_cycles(stage, name, callers=2, batch=100),
    ),
    Case("paced", "200 tasks a second: latency, delivery, CPU", paced),
    Case("idle", "no clients: CPU and memory of a node", idle),
    Case(
        "leader-killed",
        "leader SIGKILLed, until the next accepted enqueue",
        killed_leaders,
        hurts_leader=True,
    ),
    Case(
        "leader-hangs",
        "leader SIGSTOPped, until the next accepted enqueue",
        hung_leaders,
        hurts_leader=True,
    ),
    Case(
        "backlog",
        "many waiting tasks: memory, disk, stalls, restart, drain",
        backlog,
        is_long=True,
    ),
    Case(
        "worker-backlog",
        "one worker process drains tasks of an App that do nothing: first async, then sync ones",
        worker_backlog,
        is_framework=True,
    ),
    Case(
        "worker-end-to-end",
        "one process enqueues such tasks and waits for their results, one worker process runs them",
        worker_end_to_end,
        is_framework=True,
    ),
    Case(
        "blocking-enqueue",
        "enqueue of an App's task, 32 callers: in threads, then in one asynchronous program",
        blocking_enqueue,
        is_framework=True,
    ),
)
"""In the order in which they run."""
