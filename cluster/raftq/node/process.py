"""One node from start to stop.

Start: lock the data folder, load what is in it, listen, join the peers. Stop: hand leadership
over, tell clients to go elsewhere, finish the calls that run, close. A node whose replica failed
stops at once with an error.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from random import SystemRandom
from types import FrameType

from raftq.consensus.opening import open_replica
from raftq.consensus.parts import ReplicaConfig
from raftq.consensus.peers.network import TornadoNetwork
from raftq.consensus.peers.tls import proven_node
from raftq.consensus.raft.elector import ElectionTimes
from raftq.consensus.replica import RaftReplica
from raftq.node.certificates import Certificates
from raftq.node.credentials import Keeper
from raftq.node.disk_watch import DiskWatch
from raftq.node.exposure import exposures, sends_tokens_in_the_clear
from raftq.node.memory import MemoryTrimmer
from raftq.node.settings import Address, NodeConfig, address_text
from raftq.protocol.statuses import ClusterStatus, NodeStatus
from raftq.protocol.uuid7 import Uuid7
from raftq.server.gate import Access
from raftq.server.server import Server
from raftq.storage.data_dir import DataDir
from raftq.storage.files import RealFiles

_log = logging.getLogger(__name__)

_HEARTBEATS_PER_TIMEOUT = 5


class CannotListen(Exception):
    """An address cannot be bound; the text names the setting."""


@contextmanager
def _listening(key: str, address: Address) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise CannotListen(
            f"{key} is {address_text(address)}, where this node cannot listen: {error}; is another "
            "node running?"
        ) from None


class Node:
    """A running node.

    Args:
        config: Its settings.
        data_dir: Its locked data folder.
        keeper: Of its secrets.
    """

    def __init__(self, config: NodeConfig, data_dir: DataDir, keeper: Keeper) -> None:
        self._config = config
        self._keeper = keeper
        self._data_dir = data_dir
        timeout = config.election_timeout_ms / 1_000
        replica_config = ReplicaConfig(
            config.node_id,
            tuple(config.cluster),
            ElectionTimes(timeout, timeout / _HEARTBEATS_PER_TIMEOUT),
            config.facts,
            config.snapshot_entries,
            addresses={node: address_text(address) for node, address in config.cluster.items()},
        )
        peers: dict[str, Address] = {
            node: address for node, address in config.cluster.items() if node != config.node_id
        }
        peer_tls = keeper.certificates.peer
        self._network = TornadoNetwork()
        if peer_tls is not None:
            self._network.renew(peer_tls.accepting, peer_tls.dialling)
        self.replica, self._close_helpers = open_replica(
            replica_config,
            data_dir,
            RealFiles(),
            config.peer,
            peers,
            self._network,
            None if peer_tls is None else proven_node,
        )
        self._disk = DiskWatch(data_dir.free_bytes, self.replica, time.monotonic)
        random = SystemRandom()
        self.server = Server(
            self.replica,
            lambda: cluster_status(self.replica),
            self._disk.is_full,
            Uuid7(lambda: time.time_ns() // 1_000_000, random.getrandbits),
            random,
            version("raftq"),
            access=Access(keeper.tokens, config.metrics_open, keeper.certificates.client),
        )
        for which in keeper.certificates.expire_at:
            self.server.metrics.add_certificate(which, partial(keeper.expiry_seconds, which))
        self._stop_requested = asyncio.Event()
        self._trimmer = MemoryTrimmer()

    async def run(self) -> None:
        """Serve until a signal or a failure.

        Raises:
            StorageError: The node cannot go on.
            CannotListen: An address cannot be bound.
        """
        loop = asyncio.get_running_loop()

        def stop(_number: int, _frame: FrameType | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._stop_requested.set)

        # Not the loop's own handlers: those are gone when it closes, and a further signal kills.
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, stop)
        loop.add_signal_handler(signal.SIGHUP, self._keeper.reload)
        self._warn_of_exposure()
        try:
            await self._start()
            self._keeper.start(self._renew)
            self._trimmer.start()
            _log.info("node_started", extra={**self._config.facts, "pid": os.getpid()})
            await self._until_stopped()
        finally:
            await self._stop()
        if self.replica.failed.done():
            raise self.replica.failed.result()

    def _warn_of_exposure(self) -> None:
        for what, advice in exposures(self._config):
            _log.warning("insecure", extra={"what": f"{what}, and {advice}"})
        if sends_tokens_in_the_clear(self._config):
            advice = "give client_tls_cert and client_tls_key, or keep the network closed"
            _log.warning("tokens_in_the_clear", extra={"advice": advice})

    def _renew(self, certificates: Certificates) -> None:
        """Use what was read again for the connections to come."""
        if certificates.peer is not None:
            self._network.renew(certificates.peer.accepting, certificates.peer.dialling)
        self.server.use_tls(certificates.client)

    async def _start(self) -> None:
        config = self._config
        with _listening("native", config.native):
            self.server.start_native(config.native)
        with _listening("http", config.http):
            self.server.start_http(config.http)
        with _listening("peer", config.peer):
            await self.replica.start()

    async def _until_stopped(self) -> None:
        """Return when a signal came, having handed over, or when the replica failed."""
        self.replica.failed.add_done_callback(lambda _: self._stop_requested.set())
        await self._stop_requested.wait()
        if not self.replica.failed.done():
            await self._hand_over_and_drain()

    async def _hand_over_and_drain(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._config.drain_timeout_ms / 1_000
        _log.info("node_stopping", extra={"led": self.replica.is_leader})
        handed_over = await self.replica.transfer_leadership(deadline)
        await self.server.drain(deadline)
        _log.info("node_drained", extra={"another_leads": handed_over})

    async def _stop(self) -> None:
        self._trimmer.stop()
        await self._keeper.stop()
        await self._disk.stop()
        await self.server.stop()
        await self.replica.stop()
        self._close_helpers()
        self._data_dir.close()


def cluster_status(replica: RaftReplica) -> ClusterStatus:
    """Return what this node knows about the cluster."""
    view = replica.view()
    facts = replica.member_facts()
    nodes = [
        NodeStatus(
            id=node,
            native_address=facts.get(node, {}).get("native", ""),
            http_address=facts.get(node, {}).get("http", ""),
            peer_address=member.address,
            role=_role(node, view.leader, view.reachable.get(node, False)),
            reachable=view.reachable.get(node, False),
            is_voter=member.is_voter,
        )
        for node, member in sorted(replica.members.members.items())
    ]
    machine = replica.machine
    return ClusterStatus(
        cluster_id=machine.cluster_id or "",
        node=view.node,
        leader=view.leader,
        term=view.term,
        commit_index=view.commit_index,
        applied_index=view.applied_index,
        state_hash=machine.state_hash,
        nodes=nodes,
    )


def _role(node: str, leader: str | None, is_reachable: bool) -> str:
    if node == leader:
        return "leader"
    if not is_reachable:
        return "unknown"
    return "candidate" if leader is None else "follower"
