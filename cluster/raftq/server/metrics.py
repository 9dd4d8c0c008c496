"""Prometheus metrics of one node, in a registry of their own.

Counts and durations are kept as calls pass; everything else is read from the replica when
somebody scrapes. Queue gauges are shown by the leader only, else sums over nodes would triple.
"""

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from raftq.consensus.contract import Replica

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_QUEUES_SHOWN_MAX: Final = 200
_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """What a node measures.

    Args:
        replica: Read at each scrape.
        version: Of raftq.
    """

    def __init__(self, replica: Replica, version: str) -> None:
        self._registry = CollectorRegistry()
        self._calls = Counter(
            "raftq_requests", "Calls answered.", ["op", "code"], registry=self._registry
        )
        self._durations = Histogram(
            "raftq_request_duration_seconds",
            "Time from reading a call to its answer, long polls included.",
            ["op"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.loop_lag = Gauge(
            "raftq_event_loop_lag_seconds",
            "How late the event loop ran its last timer.",
            registry=self._registry,
        )
        self._refusals = Counter(
            "raftq_authentication_failures",
            "Clients refused because their token was missing or unknown.",
            ["listener", "reason"],
            registry=self._registry,
        )
        info = Gauge("raftq_build_info", "Constant 1.", ["version"], registry=self._registry)
        info.labels(version).set(1)
        self._expiry: Gauge | None = None
        self._children: dict[tuple[str, str], Counter] = {}
        self._timers: dict[str, Histogram] = {}
        self._registry.register(_ReplicaCollector(replica))

    def count_call(self, op: str, code: str, seconds: float) -> None:
        """Count one answered call."""
        child = self._children.get((op, code))
        if child is None:
            child = self._children[op, code] = self._calls.labels(op, code)
        child.inc()
        timer = self._timers.get(op)
        if timer is None:
            timer = self._timers[op] = self._durations.labels(op)
        timer.observe(seconds)

    def count_refusal(self, listener: str, reason: str) -> None:
        """Count one client that was not let in; the words are ours, so the labels are few."""
        self._refusals.labels(listener, reason).inc()

    def add_certificate(self, which: str, read: Callable[[], float]) -> None:
        """Add the expiry of a certificate, read at each scrape."""
        if self._expiry is None:
            self._expiry = Gauge(
                "raftq_certificate_expiry_seconds",
                "Seconds until a certificate of this node expires.",
                ["certificate"],
                registry=self._registry,
            )
        self._expiry.labels(which).set_function(read)

    def add_gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read at each scrape."""
        gauge = Gauge(name, text, registry=self._registry)
        gauge.set_function(read)

    def page(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _ReplicaCollector(Collector):
    """Reads the replica at each scrape."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def collect(self) -> Iterable[Metric]:
        """Return the gauges of this moment."""
        view = self._replica.view()
        machine = self._replica.machine
        gauges = {
            "raftq_raft_is_leader": ("Whether this node leads.", view.is_leader),
            "raftq_raft_has_quorum": ("Whether a majority can be reached.", view.has_quorum),
            "raftq_raft_term": ("The current term.", view.term),
            "raftq_raft_commit_index": ("The highest committed index.", view.commit_index),
            "raftq_raft_applied_index": ("The highest applied index.", view.applied_index),
            "raftq_raft_log_entries": ("Entries since the last snapshot.", view.log_entries),
            "raftq_ready": ("Whether /readyz says yes.", view.not_ready_reason is None),
            "raftq_tasks_live": ("Tasks that are not done.", machine.live_tasks),
            "raftq_payload_bytes_live": (
                "Payload bytes of tasks that are not done.",
                machine.live_payload_bytes,
            ),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, float(value))
        tasks = GaugeMetricFamily(
            "raftq_queue_tasks", "Tasks by queue and state.", labels=["queue", "state"]
        )
        if view.is_leader:
            for queue in machine.queues()[:_QUEUES_SHOWN_MAX]:
                for state, count in machine.queue(queue).counts.items():
                    tasks.add_metric([queue, state], count)
        yield tasks
