"""Schedules on real nodes: every tick fires once, whatever becomes of leaders."""

import time
from collections.abc import Callable, Generator
from itertools import pairwise

import pytest
from tests.support.nodes import follower_of, new_queue, wait_until

from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.client import Client, InvalidRequest, ScheduleStatus

_TICKS = 8


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes")) as running:
        yield running


def _status(cluster: LocalCluster, name: str) -> ScheduleStatus:
    with Client(cluster.addresses, timeout="20s") as client:
        return client.schedule(name)


def _set(cluster: LocalCluster, name: str) -> None:
    with Client(cluster.addresses) as client:
        assert client.set_schedule(name, name, b"tick", every="1s", missed="all")


def _ticks(cluster: LocalCluster, name: str) -> tuple[ScheduleStatus, list[int]]:
    """Delete a schedule, and return how it stood and the ticks of all its tasks."""
    with Client(cluster.addresses) as client:
        # Paused it stands still, so that what is read of it and of its queue is one state.
        client.pause_schedule(name)
        status = client.schedule(name)
        ids = [task.id for task in client.tasks(queue=name)]
        client.delete_schedule(name)
    return status, sorted(int.from_bytes(each[:6]) for each in ids)


def _wait_for_tick(cluster: LocalCluster, name: str, after_ms: int) -> None:
    """Wait until a moment around the next tick: before it is proposed, or while it is written."""
    next_at_ms = _status(cluster, name).next_at_ms
    assert next_at_ms is not None
    at = (next_at_ms + after_ms) / 1_000
    wait_until(lambda: time.time() >= at, "the tick", pause_seconds=0.001)


@pytest.mark.parametrize("end", [NodeProcess.kill, NodeProcess.stop], ids=["killed", "stopped"])
def test_no_tick_is_lost_or_fired_twice_while_leaders_end(
    cluster: LocalCluster, end: Callable[[NodeProcess], object]
) -> None:
    name = new_queue("ticks")
    _set(cluster, name)
    for after_tick_ms in (-5, 10, 30):
        leader = cluster.wait_leader()
        _wait_for_tick(cluster, name, after_tick_ms)
        end(leader)
        leader.start()
        cluster.wait_ready(30)
    wait_until(lambda: _status(cluster, name).runs >= _TICKS, f"{_TICKS} ticks")
    status, ticks = _ticks(cluster, name)
    assert [later - earlier for earlier, later in pairwise(ticks)] == [1_000] * (len(ticks) - 1)
    assert (status.runs, status.skipped) == (len(ticks), 0)
    assert status.last_tick_at_ms == ticks[-1]


def test_tick_fires_within_a_moment(cluster: LocalCluster) -> None:
    name = new_queue("ticks")
    with Client(cluster.addresses) as client:
        client.set_schedule(name, name, b"tick", every="1s")
        (lease,) = client.lease(name, worker="w", wait="10s")
        heard_at_ms = time.time() * 1_000
        client.ack(lease.token)
        client.delete_schedule(name)
    assert -100 < heard_at_ms - int.from_bytes(lease.task_id[:6]) < 500


def test_bad_schedule_is_refused_by_any_node_with_what_is_wrong(cluster: LocalCluster) -> None:
    with Client(follower_of(cluster).native) as client:
        with pytest.raises(InvalidRequest, match="did you mean Europe/Berlin"):
            client.set_schedule("bad", "q", b"", cron="0 3 * * *", timezone="Europe/Berln")
        with pytest.raises(InvalidRequest, match="bad hour; write five fields"):
            client.set_schedule("bad", "q", b"", cron="0 25 * * *")
        assert "bad" not in [each.name for each in client.schedules()]


def test_schedule_survives_the_end_of_all_nodes(cluster: LocalCluster) -> None:
    name = new_queue("ticks")
    with Client(cluster.addresses) as client:
        client.set_schedule(
            name, name, b"p", cron="30 2 * * *", timezone="Europe/Berlin", unique_key="k"
        )
    before = _status(cluster, name)
    cluster.kill_all()
    for node in cluster.nodes:
        node.start()
    cluster.wait_ready(60)
    assert _status(cluster, name) == before
