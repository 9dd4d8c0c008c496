"""Build a production replica: real files, TCP links, a sync thread, forked snapshots."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import SystemRandom

from raftq.consensus.forked_child import ForkedChild
from raftq.consensus.group_commit import SyncThread
from raftq.consensus.parts import Disk, ReplicaConfig, Surroundings
from raftq.consensus.peers.network import Network, Stream, TornadoNetwork
from raftq.consensus.peers.tcp_links import TcpLinks
from raftq.consensus.replica import RaftReplica
from raftq.protocol.addresses import address_text
from raftq.storage.data_dir import DataDir
from raftq.storage.files import Files
from raftq.storage.journal import Journal
from raftq.storage.snapshots import SnapshotStore
from raftq.storage.vote import VoteFile

_log = logging.getLogger(__name__)


def open_replica(
    config: ReplicaConfig,
    data_dir: DataDir,
    files: Files,
    listen: tuple[str, int],
    peers: Mapping[str, tuple[str, int]],
    network: Network | None = None,
    proven_node: Callable[[Stream], str] | None = None,
) -> tuple[RaftReplica, Callable[[], None]]:
    """Open this node's files and return its replica, not started, and what closes its helpers.

    Args:
        config: Who this member is.
        data_dir: The locked data folder.
        files: The disk.
        listen: (host, port) for peers.
        peers: (host, port) of every other member, as configured.
        network: Opens and accepts connections; plain TCP if it is not given.
        proven_node: See `TcpLinks`.

    Raises:
        CorruptRecord: The files are damaged; the message says how to rebuild the node.
        UnsupportedFormat: The folder belongs to other members than the configured ones.
    """
    configured = {node: address_text(address) for node, address in peers.items()}
    addresses = {config.node: address_text(listen), **configured, **config.addresses}
    config = replace(config, addresses=addresses)
    sync_thread = SyncThread()
    child = ForkedChild()
    random = SystemRandom()
    disk = Disk(
        Journal.open(files, data_dir.journal_folder),
        VoteFile.open(files, data_dir.vote_path),
        SnapshotStore(files, data_dir.snapshot_folder, data_dir.free_bytes),
        data_dir,
    )
    around = Surroundings(
        links=TcpLinks(
            config.node, listen, peers, random, network or TornadoNetwork(), proven_node
        ),
        clock=asyncio.get_running_loop().time,
        wall_ms=lambda: time.time_ns() // 1_000_000,
        random=random,
        offload=sync_thread,
        background=child,
    )

    def close() -> None:
        child.stop()
        sync_thread.close()

    replica = RaftReplica(config, disk, around)
    _compare_members(replica, config, data_dir)
    return replica, close


def _compare_members(replica: RaftReplica, config: ReplicaConfig, data_dir: DataDir) -> None:
    """Compare the configured members with those that count.

    Raises:
        UnsupportedFormat: The folder was made for other members, and no change can have been made
            without this node: it took part in nothing yet, or was alone.
    """
    membership = replica.parts.membership
    may_lack_changes = replica.parts.log.stored_term > 0 and len(data_dir.bootstrap) > 1
    has_list = membership.history.index > 0 or data_dir.is_joining or may_lack_changes
    if not has_list:
        data_dir.check_members(config.members)
    elif set(config.members) != set(membership.current.members):
        _log.warning(
            "cluster_setting_differs",
            extra={
                "configured": ", ".join(sorted(config.members)),
                "members": ", ".join(sorted(membership.current.members)),
            },
        )
