"""A queue of many waiting tasks: what it takes up, what stalls, and how it is worked off."""

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from raftq.cli.bench import processes
from raftq.cli.bench.figures import PER_SECOND, Sample
from raftq.cli.bench.processes import MB
from raftq.cli.bench.stage import Stage
from raftq.cli.bench.stalls import probing
from raftq.cli.bench.throughput import acked_tasks, consumers
from raftq.cli.local_cluster import NodeProcess
from raftq.protocol import limits

_FILL_BATCH: Final = 500
_FILL_CALLERS: Final = 4
_BATCH_BYTES_MAX: Final = 1_000_000
_DRAIN_BATCH: Final = 100
_ROOM_TASKS: Final = 10_000
_LOOK_SECONDS: Final = 0.02
_QUIET_SECONDS: Final = 2.0
"""A node whose disk use stands still for so long, with no snapshot under way, has settled."""
_PATIENCE_SECONDS: Final = 300.0
_SNAPSHOT_RATE: Final = 100
_SNAPSHOT_PAYLOAD_BYTES: Final = 131_072
"""13 MB a second bring every node to its next snapshot in some seconds, and leave the CPU alone."""
_SNAPSHOT_PIECES_MAX: Final = 20


def backlog(stage: Stage, case: str) -> list[Sample]:
    """Fill, look, restart, write snapshots, rebuild, drain."""
    queue = stage.new_queue()
    full = [*_fill(stage, case, queue), *_use(stage, case), *_restart(stage, case)]
    waiting = stage.scale.tasks - make_room(stage, queue)
    return [
        *full,
        *_snapshot_stall(stage, case),
        *(_rebuild(stage, case) if len(stage.cluster.nodes) > 1 else []),
        *_drain(stage, case, queue, waiting),
    ]


def fill(stage: Stage, queue: str, tasks: int) -> float:
    """Enqueue so many tasks in large batches; return how many a second were accepted."""
    size = stage.scale.payload_bytes
    batch = max(min(_FILL_BATCH, _BATCH_BYTES_MAX // max(size, 1)), 1)
    load = stage.load("enqueue", queue)
    return stage.perform(replace(load, tasks=tasks, callers=_FILL_CALLERS, batch=batch)).rate


def _fill(stage: Stage, case: str, queue: str) -> list[Sample]:
    return [Sample(case, "fill", PER_SECOND, fill(stage, queue, stage.scale.tasks))]


def _use(stage: Stage, case: str) -> list[Sample]:
    """Memory and disk of the node that takes most."""
    settle(stage)
    nodes = stage.running()
    memory = [processes.memory_bytes(process) for _, process in nodes]
    disk = max(processes.disk_bytes(node.folder) for node, _ in nodes)
    return [
        Sample(case, "memory of a node", "MB", max(now for now, _ in memory) / MB),
        Sample(
            case, "memory of a node, at most so far", "MB", max(most for _, most in memory) / MB
        ),
        Sample(case, "disk of a node", "MB", disk / MB),
    ]


def settle(stage: Stage) -> None:
    """Wait until no node writes a snapshot, or changes what it has on its disk.

    Raises:
        RuntimeError: They went on and on.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    quiet_since, last = time.monotonic(), [-1]
    while time.monotonic() < quiet_since + _QUIET_SECONDS:
        nodes = stage.running()
        now = [processes.disk_bytes(node.folder) for node, _ in nodes]
        if now != last or any(processes.has_children(process) for _, process in nodes):
            quiet_since, last = time.monotonic(), now
        if time.monotonic() > deadline:
            raise RuntimeError("the nodes' disks did not come to rest")
        time.sleep(_LOOK_SECONDS * 10)


def make_room(stage: Stage, queue: str) -> int:
    """Do so many tasks that a few more may be enqueued; return how many."""
    surplus = max(stage.scale.tasks + _ROOM_TASKS - limits.TASKS_LIVE_MAX, 0)
    if surplus:
        load = replace(stage.load("consume", queue), batch=_DRAIN_BATCH, tasks=surplus)
        return stage.perform(load).tasks
    return 0


def _snapshot_stall(stage: Stage, case: str) -> list[Sample]:
    """The longest stall of any loop while every node writes a snapshot and cuts its log."""
    before = {node.id: _snapshot_made_at(node.folder) for node in stage.cluster.nodes}
    with probing(stage.cluster) as probe:
        for _ in range(_SNAPSHOT_PIECES_MAX):
            _pass_bytes_through(stage)
            if all(_snapshot_made_at(node.folder) > before[node.id] for node, _ in stage.running()):
                break
        else:
            raise RuntimeError("the nodes wrote no snapshot, so there is no stall to measure")
        settle(stage)
    longest = max(probe.longest_ms.values())
    return [Sample(case, "longest stall, snapshot and compaction", "ms", longest)]


def _pass_bytes_through(stage: Stage) -> None:
    queue = stage.new_queue()
    producer = replace(
        stage.load("pace", queue), rate=_SNAPSHOT_RATE, payload_bytes=_SNAPSHOT_PAYLOAD_BYTES
    )
    acked_tasks(stage.perform(producer, replace(stage.load("consume", queue), batch=16)))


def _snapshot_made_at(folder: Path) -> int:
    found = [path.stat().st_mtime_ns for path in folder.rglob("current.snapshot")]
    return max(found, default=0)


def _restart(stage: Stage, case: str) -> list[Sample]:
    """SIGKILL a follower and start it again, with as much of a log as filling left behind."""
    node = _follower(stage)
    node.kill()
    return [Sample(case, "restart until ready", "s", _seconds_until_ready(node))]


def _rebuild(stage: Stage, case: str) -> list[Sample]:
    """Start a follower with an empty folder: the others stream it everything."""
    node = _follower(stage)
    node.kill()
    shutil.rmtree(node.folder)
    with probing(stage.cluster) as probe:
        seconds = _seconds_until_ready(node)
        settle(stage)
    serving = [each for each in probe.longest_ms if each != node.id]
    return [
        Sample(case, "rebuild from empty until ready", "s", seconds),
        Sample(
            case, "longest stall, catch-up", "ms", max(probe.longest_ms[each] for each in serving)
        ),
        Sample(case, "longest stall, node that catches up", "ms", probe.longest_ms[node.id]),
    ]


def _follower(stage: Stage) -> NodeProcess:
    leader = stage.cluster.wait_leader()
    others = [node for node in stage.cluster.nodes if node is not leader]
    return others[0] if others else leader


def _seconds_until_ready(node: NodeProcess) -> float:
    """Start a node and return how long it takes to serve.

    Raises:
        RuntimeError: It ended, or took far too long.
    """
    began_at = time.monotonic()
    node.start()
    while not node.is_ready():
        if not node.is_running or time.monotonic() > began_at + _PATIENCE_SECONDS:
            raise RuntimeError(f"{node.id} did not become ready:\n{node.last_words()}")
        time.sleep(_LOOK_SECONDS)
    return time.monotonic() - began_at


def _drain(stage: Stage, case: str, queue: str, waiting: int) -> list[Sample]:
    """Lease and ack all that waits, with four worker processes."""
    batch = max(min(_DRAIN_BATCH, _BATCH_BYTES_MAX // max(stage.scale.payload_bytes, 1)), 1)
    load = replace(stage.load("consume", queue), callers=2, batch=batch, seconds=0.0)
    done = stage.perform(*consumers(load))
    if done.tasks != waiting:
        raise RuntimeError(f"{waiting} tasks were waiting, {done.tasks} were acked")
    settle(stage)
    disk = max(processes.disk_bytes(node.folder) for node, _ in stage.running())
    return [
        Sample(case, "drain", PER_SECOND, done.rate),
        *done.cpu.samples(case, done.tasks),
        Sample(case, "disk of a node, drained", "MB", disk / MB),
    ]
