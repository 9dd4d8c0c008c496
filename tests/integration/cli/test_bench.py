"""`raftq bench` on real clusters: every case runs and says what it measured. No time is judged."""

import json
import signal
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.clusters import raftq_inside, start_raftq, wait_until
from tests.support.shapes import fits

from raftq.cli.bench.backlog import fill, make_room
from raftq.cli.bench.cases import CASES
from raftq.cli.bench.curves import offered_load, payload_bytes, waiting_tasks
from raftq.cli.bench.failover import measure_gap
from raftq.cli.bench.framework import worker_backlog
from raftq.cli.bench.stage import Scale, Stage, opened_stage
from raftq.cli.bench.stalls import probing
from raftq.cli.bench.worker_process import running_worker
from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.cli.shapes import SHAPES
from raftq.client import AsyncClient, LeasedTask
from raftq.worker.supervision.settings import Settings

TINY = (
    *("--rounds", "1", "--seconds", "0.3", "--tasks", "500", "--disturbances", "1"),
    *("--set", "snapshot_entries=30", "--json"),
)
CPU = {"CPU, leader", "CPU, follower", "CPU, all nodes", "CPU, clients"}
RATES = {"rate", *CPU}
TIMED_RATES = {*RATES, "p50", "p99"}
GAPS = {"gap, median", "gap, worst"}
FIGURES = {
    "enqueue-1": TIMED_RATES,
    "enqueue-128": TIMED_RATES,
    "enqueue-batched": TIMED_RATES,
    "life-cycle": RATES,
    "life-cycle-batched": RATES,
    "paced": {
        *("enqueue, p50", "enqueue, p99", "enqueue to delivery, p50", "enqueue to delivery, p99"),
        *("CPU of all nodes", *CPU),
    },
    "idle": {"CPU of the leader", "CPU of the follower", "memory of a node"},
    "leader-killed": GAPS,
    "leader-hangs": GAPS,
    "backlog": {
        *("fill", "drain", "disk of a node", "disk of a node, drained", *CPU),
        *("memory of a node", "memory of a node, at most so far"),
        *("restart until ready", "rebuild from empty until ready"),
        *("longest stall, snapshot and compaction", "longest stall, catch-up"),
        "longest stall, node that catches up",
    },
    "worker-backlog": {
        f"{what}, {kind} tasks"
        for what in ("rate", "CPU of the worker", "CPU of all nodes")
        for kind in ("async", "sync")
    },
    "worker-end-to-end": {*TIMED_RATES, "CPU of the worker"},
    "blocking-enqueue": {
        *("rate, async", "rate, blocking", "async rate to blocking rate"),
        *("CPU of the client, async", "CPU of the client, blocking"),
    },
}
AT_ONCE = (
    ("enqueue-1", "enqueue-128", "enqueue-batched", "paced"),
    ("life-cycle", "life-cycle-batched", "idle"),
    ("leader-killed", "leader-hangs"),
    ("backlog",),
    ("worker-backlog", "worker-end-to-end", "blocking-enqueue"),
)


def test_the_cases_tried_here_are_all_there_are() -> None:
    assert {case.name for case in CASES} == FIGURES.keys()
    assert {name for names in AT_ONCE for name in names} == FIGURES.keys()


@pytest.mark.parametrize("names", AT_ONCE, ids="-".join)
def test_each_case_measures_what_it_says(names: tuple[str, ...], tmp_path: Path) -> None:
    chosen = [word for name in names for word in ("--case", name)]
    ended = raftq_inside("bench", *TINY, *chosen, "--folder", str(tmp_path))
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert fits({**SHAPES["bench"], "curves": {}}, shaped(found)), found
    by_case = {name: figures_of(found, name) for name in names}
    assert {name: set(figures) for name, figures in by_case.items()} == {
        name: FIGURES[name] for name in names
    }
    unlikely = [
        (name, what)
        for name, figures in by_case.items()
        for what, value in figures.items()
        if value <= 0 and "CPU" not in what
    ]
    assert not unlikely, "short runs may use less CPU than can be told, but nothing else is zero"
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def shaped(found: dict[str, Any]) -> dict[str, Any]:
    """Return JSON whose settings have the setting of the documented example."""
    assert found["settings"]["settings"] == {"snapshot-entries": "30"}
    return found


def figures_of(found: dict[str, Any], case: str) -> dict[str, float]:
    return {each["what"]: each["value"] for each in found["figures"] if each["case"] == case}


def test_a_failing_case_is_named_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(*_: object) -> float:
        raise RuntimeError("a promise was broken by a failover")

    monkeypatch.setattr("raftq.cli.bench.failover.measure_gap", refused)
    ended = raftq_inside("bench", *TINY, "--case", "leader-hangs", "--folder", str(tmp_path))
    assert (ended.code, ended.out) == (1, "")
    assert "raftq: leader-hangs: a promise was broken" in ended.err


def test_a_setting_that_nodes_refuse_is_told_in_their_words(tmp_path: Path) -> None:
    words = ("--case", "idle", "--nodes", "1", "--set", "log_level=loud", "--folder", str(tmp_path))
    ended = raftq_inside("bench", *words)
    assert ended.code == 1 and "log_level" in ended.err


def test_a_profile_shows_leader_follower_and_clients_and_keeps_their_stacks(tmp_path: Path) -> None:
    data, kept = tmp_path / "data", tmp_path / "stacks"
    data.mkdir()
    words = ("bench", *TINY, "--case", "enqueue-128", "--folder", str(data))
    ended = raftq_inside(*words, "--seconds", "1", "--profile", str(kept))
    assert ended.code == 0, ended.err
    functions = json.loads(ended.out)["functions"]
    assert {each["role"] for each in functions} == {"leader", "follower", "clients"}
    assert {each.name for each in kept.iterdir()} == {
        f"enqueue-128-{role}.folded" for role in ("leader", "follower", "clients")
    }
    assert "raftq/server/" in (kept / "enqueue-128-leader.folded").read_text()
    assert "raftq/consensus/" in (kept / "enqueue-128-follower.folded").read_text()
    assert "raftq/client/" in (kept / "enqueue-128-clients.folded").read_text()


def test_a_profile_of_a_worker_shows_its_loop_and_the_loop_of_its_tasks(tmp_path: Path) -> None:
    data, kept = tmp_path / "data", tmp_path / "stacks"
    data.mkdir()
    words = ("bench", *TINY, "--case", "worker-backlog", "--folder", str(data))
    ended = raftq_inside(*words, "--seconds", "1", "--profile", str(kept))
    assert ended.code == 0, ended.err
    roles = {each["role"] for each in json.loads(ended.out)["functions"]}
    assert roles == {"leader", "follower", "clients", "workers"}
    stacks = (kept / "worker-backlog-workers.folded").read_text()
    assert "raftq/worker/loop.py" in stacks
    assert "raftq/worker/executors/loops.py:LoopExecutor._work" in stacks


def test_a_run_that_is_ended_stops_its_nodes_and_removes_their_data(tmp_path: Path) -> None:
    words = ("bench", "--case", "idle", "--seconds", "60", "--folder", str(tmp_path))
    process = start_raftq(*words)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: len(children.read_text().split()) == 3)
    nodes = [int(each) for each in children.read_text().split()]
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told.splitlines()[-1]) == (130, "interrupted")
    assert [each for each in nodes if Path(f"/proc/{each}").exists()] == []
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_cannot_start_leaves_no_node_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = LocalCluster(tmp_path)
    started: list[int] = []

    def impatient() -> None:
        started.extend(node.process.pid for node in cluster.nodes if node.process is not None)
        raise RuntimeError("n1 is not ready")

    monkeypatch.setattr(cluster, "wait_ready", impatient)
    with pytest.raises(RuntimeError, match="not ready"), cluster:
        pass
    assert len(started) == 3
    assert [each for each in started if Path(f"/proc/{each}").exists()] == []


# ---------------------------------------------------------------- on one stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    scale = Scale(seconds=0.3, tasks=500)
    with opened_stage(tmp_path_factory.mktemp("stage"), scale) as opened:
        yield opened


def test_the_offered_load_grows_until_the_cluster_cannot_follow(stage: Stage) -> None:
    points = list(offered_load(stage, (100, 200, 200_000, 400_000)))
    assert [point.at for point in points] == [100, 200, 200_000], "the last is not tried"
    assert all(0 < point.p50_ms <= point.p99_ms for point in points)


def test_life_cycles_leave_the_backlog_as_it_is(stage: Stage) -> None:
    points = list(waiting_tasks(stage, (0, 0.5, 1)))
    assert [point.at for point in points] == [0, 250, 500]
    asked = ("queue", "list", "--json", "--address", stage.cluster.addresses)
    counts = [each["counts"] for each in json.loads(raftq_inside(*asked).out)["queues"]]
    assert [each["ready"] for each in counts if each["ready"] and each["done"]] == [500]


def test_life_cycles_are_measured_for_each_size_of_payload(stage: Stage) -> None:
    points = list(payload_bytes(stage, (64, 1_048_576)))
    assert [point.at for point in points] == [64, 1_048_576]
    assert all(point.rate > 0 for point in points)


def test_a_node_that_stands_still_is_a_stall_and_one_that_is_dead_is_none(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raftq.cli.bench.stalls._TIMER_ERROR_SECONDS", 1e9)  # Take nothing off.
    leader = stage.cluster.wait_leader()
    still, dead = (node for node in stage.cluster.nodes if node is not leader)
    with probing(stage.cluster) as probe:
        wait_for_answers(stage)
        still.send(signal.SIGSTOP)
        wait_for_answers(stage)
        still.send(signal.SIGCONT)
        stage.cluster.wait_ready()
        killed_at = time.monotonic()
        dead.kill()
        wait_for_answers(stage)
    down_ms = (time.monotonic() - killed_at) * 1_000
    dead.start()
    stage.cluster.wait_ready()
    assert probe.longest_ms[still.id] > 250, "it stood still for longer than the paced load lasts"
    assert probe.longest_ms[dead.id] < 0.9 * down_ms, "it had answered all that it was asked"


def wait_for_answers(stage: Stage) -> None:
    """Let 0.3 seconds pass at least, in which the leader answers calls."""
    stage.perform(replace(stage.load("pace"), rate=100))


def test_a_failover_that_repeats_tasks_is_no_figure(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = AsyncClient.lease

    async def twice(client: AsyncClient, queue: str, **options: Any) -> list[LeasedTask]:
        return 2 * await lease(client, queue, **options)

    monkeypatch.setattr(AsyncClient, "lease", twice)
    with pytest.raises(RuntimeError, match="were run twice"):
        measure_gap(stage, lambda _: None, lambda _: None)


def test_no_failover_repeats_the_lease_requests_of_one_before(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = AsyncClient.lease
    asked: list[set[tuple[str, str]]] = []

    async def noted(client: AsyncClient, queue: str, **options: Any) -> list[LeasedTask]:
        asked[-1].add((options["worker"], options["request_id"]))
        return await lease(client, queue, **options)

    monkeypatch.setattr(AsyncClient, "lease", noted)
    for _ in range(2):
        asked.append(set())
        measure_gap(stage, lambda _: None, lambda _: None)
    assert all(asked) and not asked[0] & asked[1]


def test_what_goes_wrong_in_a_failover_is_told_plainly(stage: Stage) -> None:
    def broken(_: NodeProcess) -> None:
        raise RuntimeError("the leader cannot be hurt")

    with pytest.raises(RuntimeError, match="the leader cannot be hurt"):
        measure_gap(stage, broken, lambda _: None)


def test_a_backlog_at_the_limit_makes_room_for_the_tasks_that_bring_a_snapshot(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = stage.new_queue()
    fill(stage, queue, stage.scale.tasks)
    assert make_room(stage, queue) == 0
    monkeypatch.setattr("raftq.protocol.limits.TASKS_LIVE_MAX", stage.scale.tasks)
    monkeypatch.setattr("raftq.cli.bench.backlog._ROOM_TASKS", 30)
    assert make_room(stage, queue) == 30
    asked = ("queue", queue, "--json", "--address", stage.cluster.addresses)
    assert json.loads(raftq_inside(*asked).out)["counts"]["ready"] == stage.scale.tasks - 30


def test_a_worker_process_that_cannot_work_is_no_figure(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(target="raftq.cli.bench.app:missing")
    with (
        pytest.raises(RuntimeError, match="did not become ready"),
        running_worker(settings, stage.cluster.addresses),
    ):
        pass
    assert "missing" in capfd.readouterr().err


def test_a_worker_process_ends_with_its_measurement_whatever_happens(stage: Stage) -> None:
    seen: list[int] = []
    settings = Settings(target="raftq.cli.bench.app:app", log_level="warning")
    with running_worker(settings, stage.cluster.addresses) as process:
        seen.append(process)
    with (
        pytest.raises(RuntimeError, match="the case failed"),
        running_worker(settings, stage.cluster.addresses) as process,
    ):
        seen.append(process)
        raise RuntimeError("the case failed")
    assert [each for each in seen if Path(f"/proc/{each}").exists()] == []


def test_a_worker_that_does_not_come_to_the_end_of_its_backlog_is_no_figure(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raftq.cli.bench.framework._PATIENCE_SECONDS", 0.0)
    with pytest.raises(RuntimeError, match="end of its backlog"):
        worker_backlog(stage, "worker-backlog")


@pytest.mark.parametrize("role", ["enqueue", "pace"])
def test_a_load_that_is_refused_ends_with_the_reason(
    stage: Stage, role: str, capfd: pytest.CaptureFixture[str]
) -> None:
    load = replace(stage.load(role, "no queue has a space"), rate=10)
    with pytest.raises(RuntimeError, match="its message is above"):
        stage.perform(load)
    words = capfd.readouterr().err
    assert words.startswith(f"{role}: ") and "Traceback" not in words
