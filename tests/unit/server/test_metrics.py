"""The metrics page: what calls did, and what the replica is doing."""

from uuid import UUID

import pytest
from tests.support.asyncs import asynchronous
from tests.support.fake_replica import FakeReplica

from raftq.protocol.commands import Enqueue
from raftq.protocol.options import NewTask
from raftq.server import metrics as metrics_module
from raftq.server.metrics import Metrics


def samples(metrics: Metrics) -> dict[str, float]:
    """Return every sample of the page by its name with labels."""
    lines = [line for line in metrics.page().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def task(number: int) -> NewTask:
    return NewTask(UUID(int=number).bytes, b"payload")


@asynchronous
async def test_calls_are_counted_by_method_and_outcome_and_timed() -> None:
    metrics = Metrics(FakeReplica(), "1.2.3")
    metrics.count_call("enqueue", "ok", 0.004)
    metrics.count_call("enqueue", "ok", 0.3)
    metrics.count_call("enqueue", "queue_full", 0.001)
    found = samples(metrics)
    assert found['raftq_requests_total{code="ok",op="enqueue"}'] == 2
    assert found['raftq_requests_total{code="queue_full",op="enqueue"}'] == 1
    assert found['raftq_request_duration_seconds_count{op="enqueue"}'] == 3
    assert found['raftq_request_duration_seconds_bucket{le="0.005",op="enqueue"}'] == 2
    assert found['raftq_build_info{version="1.2.3"}'] == 1


@asynchronous
async def test_the_replica_is_read_at_each_scrape() -> None:
    replica = FakeReplica()
    metrics = Metrics(replica, "1")
    assert samples(metrics)["raftq_tasks_live"] == 0
    replica.apply([Enqueue("q", [task(1), task(2)])])
    found = samples(metrics)
    assert found["raftq_tasks_live"] == 2
    assert found["raftq_payload_bytes_live"] == 14
    assert found["raftq_raft_is_leader"] == found["raftq_raft_has_quorum"] == 1
    assert found["raftq_raft_term"] == found["raftq_raft_applied_index"] == 1
    assert found["raftq_ready"] == 1
    replica.not_ready_reason = "no leader"
    assert samples(metrics)["raftq_ready"] == 0


@asynchronous
async def test_queue_gauges_are_shown_by_the_leader_only() -> None:
    replica = FakeReplica()
    metrics = Metrics(replica, "1")
    replica.apply([Enqueue("mail", [task(1)])])
    assert samples(metrics)['raftq_queue_tasks{queue="mail",state="ready"}'] == 1
    replica.lead(False)
    assert not [name for name in samples(metrics) if name.startswith("raftq_queue_tasks")]


@asynchronous
async def test_the_number_of_queues_on_the_page_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "_QUEUES_SHOWN_MAX", 3)
    replica = FakeReplica()
    replica.apply([Enqueue(f"q{number}", [task(number)]) for number in range(1, 9)])
    names = [name for name in samples(Metrics(replica, "1")) if 'state="ready"' in name]
    assert len(names) == 3


@asynchronous
async def test_a_further_gauge_is_read_at_each_scrape() -> None:
    metrics = Metrics(FakeReplica(), "1")
    values = [1.0]
    metrics.add_gauge("raftq_extra", "Something.", lambda: values[-1])
    assert samples(metrics)["raftq_extra"] == 1
    values.append(2.0)
    assert samples(metrics)["raftq_extra"] == 2
