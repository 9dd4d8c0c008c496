"""Both listeners of a node, and how they start, drain and stop."""

import asyncio
import ssl
import time
from collections.abc import Callable
from random import Random
from typing import Final

from tornado.httputil import HTTPConnection

from raftq.consensus.contract import Replica
from raftq.protocol.replies import HelloReply
from raftq.protocol.statuses import ClusterStatus
from raftq.protocol.versions import NATIVE_PROTOCOL_VERSION
from raftq.server.backups import Backups
from raftq.server.gate import Access, Gate
from raftq.server.http import application
from raftq.server.http_handler import HttpContext
from raftq.server.http_listener import HttpPatience, http_server
from raftq.server.metrics import Metrics
from raftq.server.native import NativeServer
from raftq.server.native_connection import NativePatience
from raftq.server.service import Service

_LAG_SECONDS: Final = 0.25
_DRAIN_POLL_SECONDS: Final = 0.01
_FAREWELL_SECONDS: Final = 0.25
"""How long a stopping node stays for clients that keep a connection between two calls: with the
next answer they hear that it is the last one."""


class Server:
    """The native and the HTTP listener of one node.

    Args:
        replica: This node's replica.
        cluster_status: Returns what this node knows about the cluster.
        disk_is_full: Tells whether enqueues must be refused.
        new_id: Makes UUIDv7 ids for tasks that come without one.
        random: Jitter of retries.
        version: Of raftq.
        patience: With slow HTTP clients.
        native_patience: With silent native clients.
        access: What clients must bring.
    """

    def __init__(
        self,
        replica: Replica,
        cluster_status: Callable[[], ClusterStatus],
        disk_is_full: Callable[[], bool],
        new_id: Callable[[], bytes],
        random: Random,
        version: str,
        patience: HttpPatience | None = None,
        native_patience: NativePatience | None = None,
        access: Access | None = None,
    ) -> None:
        self._cluster_status = cluster_status
        self.service = Service(replica, cluster_status, disk_is_full, random)
        self.metrics = Metrics(replica, version)
        access = access or Access()
        gate = Gate(access, self.metrics.count_refusal, lambda: asyncio.get_running_loop().time())
        self.native = NativeServer(self.service, self._greet, self.metrics, gate, native_patience)
        if gate.tokens is not None:
            gate.tokens.on_change.append(self.service.events.end_revoked)
        self.backups = Backups(replica, self.service, lambda: time.time_ns() // 1_000_000, version)
        self._open_requests: set[HTTPConnection] = set()
        patience = patience or HttpPatience()
        context = HttpContext(
            self.service,
            replica,
            self.metrics,
            new_id,
            version,
            self._open_requests,
            patience.body,
            self.backups,
            gate,
        )
        self.http = http_server(application(context), patience, self._open_requests, gate)
        self.use_tls(access.tls)
        self._lag_timer: asyncio.TimerHandle | None = None
        self.metrics.add_gauge(
            "raftq_connections", "Native connections.", lambda: len(self.native.connections)
        )
        self.metrics.add_gauge(
            "raftq_event_subscriptions",
            "Subscriptions to events.",
            lambda: len(self.service.events),
        )
        self.metrics.add_gauge(
            "raftq_event_subscriptions_lost",
            "Subscriptions refused or ended with events_lost since the start.",
            lambda: self.service.events.cut_off_total,
        )
        self.metrics.add_gauge(
            "raftq_schedule_overdue_seconds",
            "How long ago the tick came that has waited longest to be fired; on the leader.",
            lambda: self.service.firing.overdue_ms() / 1_000,
        )
        self.metrics.add_gauge(
            "raftq_waiters", "Lease calls that wait.", lambda: self.service.waiters.waiting
        )
        self.metrics.add_gauge(
            "raftq_results_waiting",
            "Calls that wait for a task to be over, or for a log entry.",
            lambda: self.service.reading.results.waiting,
        )

    def use_tls(self, context: ssl.SSLContext | None) -> None:
        """Serve the connections to come with TLS; those that are open stay as they are."""
        self.native.ssl_options = self.http.ssl_options = context

    def start_native(self, address: tuple[str, int]) -> None:
        """Listen for native clients on (host, port).

        Raises:
            OSError: The address cannot be bound.
        """
        self.native.listen(address[1], address[0])

    def start_http(self, address: tuple[str, int]) -> None:
        """Listen for HTTP clients on (host, port).

        Raises:
            OSError: The address cannot be bound.
        """
        self.http.listen(address[1], address[0])
        if self._lag_timer is None:
            self._measure_lag(asyncio.get_running_loop().time())

    async def drain(self, deadline: float) -> None:
        """Send clients elsewhere and let running calls end, until the deadline.

        Calls that still come are served; new connections are not.
        """
        loop = asyncio.get_running_loop()
        self.service.shut_down(deadline)
        self.http.say_farewell()
        self.native.tell_shutting_down()
        self.native.stop()
        self.http.stop()
        farewell_at = min(loop.time() + _FAREWELL_SECONDS, deadline)
        while loop.time() < farewell_at or (self.is_busy and loop.time() < deadline):
            await asyncio.sleep(_DRAIN_POLL_SECONDS)

    @property
    def is_busy(self) -> bool:
        """Whether a call runs, or an answer has not left yet."""
        return bool(self.service.calls_running or self.native.calls_running or self._open_requests)

    async def stop(self) -> None:
        """Close every connection."""
        if self._lag_timer is not None:
            self._lag_timer.cancel()
        self.native.stop()
        self.http.stop()
        await self.service.events.stop()
        await self.native.close_connections()
        await self.http.close_all_connections()
        await self.backups.stop()

    def _greet(self) -> HelloReply:
        status = self._cluster_status()
        return HelloReply(
            NATIVE_PROTOCOL_VERSION, status.node, status.cluster_id, status.leader, status.nodes
        )

    def _measure_lag(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self.metrics.loop_lag.set(max(now - due, 0.0))
        self._lag_timer = loop.call_later(_LAG_SECONDS, self._measure_lag, now + _LAG_SECONDS)
