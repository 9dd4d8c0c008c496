"""A simulated machine with one raftq node: the production stack on simulated surroundings."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from raftq.consensus.parts import Disk, ReplicaConfig, Surroundings
from raftq.consensus.peers.tcp_links import TcpLinks
from raftq.consensus.raft.elector import ElectionTimes
from raftq.consensus.replica import RaftReplica
from raftq.core.applied import Applied
from raftq.core.applied import Event as MovedTasks
from raftq.node.disk_watch import DiskWatch
from raftq.node.process import cluster_status
from raftq.node.settings import NodeConfig
from raftq.protocol import limits
from raftq.protocol.errors import CorruptRecord, StorageError
from raftq.protocol.uuid7 import Uuid7
from raftq.server.server import Server
from raftq.storage.data_dir import (
    IDENTITY_NAME,
    DataDir,
    new_identity,
    read_identity,
    store_identity,
)
from raftq.storage.files import read_file
from raftq.storage.journal import Journal
from raftq.storage.vote import VoteFile
from raftq.testing.memory_files import Kept
from raftq.testing.sim.disk import ProcessFiles, SimDisk, SimOffload
from raftq.testing.sim.loop import Clock, Process, new_process
from raftq.testing.sim.network import HostNetwork, SimNetwork
from raftq.testing.sim.snapshot_child import ForkingStore, SimBackground
from raftq.testing.sim.world import World

NATIVE_PORT: Final = 7601
PEER_PORT: Final = 7621
_NO_LOCK: Final = -1


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """How the nodes of a world behave."""

    election_timeout: float = 0.4
    heartbeat: float = 0.08
    snapshot_entries: int = 5_000
    segment_bytes: int = 64 * 1024
    snapshot_seconds: float = 0.05
    drain_seconds: float = 5.0


class Watcher(Protocol):
    """Told around each entry that a replica applies, and after each of its ticks."""

    def after_tick(self) -> None: ...
    def before_entry(self) -> None: ...
    def after_entry(self, index: int, entry: bytes, moves: list[MovedTasks]) -> None: ...


class ObservedReplica(RaftReplica):
    """A replica that is watched."""

    watcher: Watcher | None = None

    def _follow_leadership(self) -> None:
        super()._follow_leadership()
        if self.watcher is not None:
            self.watcher.after_tick()

    def on_entry(self, index: int, entry: bytes) -> Applied:
        """Apply a committed entry."""
        watcher = self.watcher
        if watcher is None:
            return super().on_entry(index, entry)
        watcher.before_entry()
        applied = super().on_entry(index, entry)
        watcher.after_entry(index, entry, applied.events)
        return applied


class SimNode:
    """A machine, its disk, and the process that runs on it, if one does.

    Args:
        world: Where it is.
        network: How it reaches others.
        name: Of the node and of its machine.
        members: All nodes.
        settings: How it behaves.
        files_of: Where its files can be found by PySyncObj.
    """

    def __init__(
        self,
        world: World,
        network: SimNetwork,
        name: str,
        members: tuple[str, ...],
        settings: NodeSettings,
        files_of: dict[str, ProcessFiles],
    ) -> None:
        self.world = world
        self.name = name
        self.network = network
        self.members = members
        self.settings = settings
        self.disk = SimDisk(world, name)
        self.disk.on_power_cut = self._on_cut
        self.clock = Clock(world, name, drift=0.02)
        self.process: Process | None = None
        self.replica: ObservedReplica | None = None
        self.server: Server | None = None
        self.is_joining = False
        """Whether it begins as no member, and waits to be added."""
        self.is_wiped = True
        """Whether the next start finds an empty disk."""
        self.starts = 0
        self.on_started: Callable[[SimNode], None] = lambda _: None
        """Called when a process has built its replica, before it starts."""
        self.on_bug: Callable[[str, str], None] = lambda _node, _text: None
        """Called with a node and an error that nothing handled."""
        self.cut_keeps: Kept | None = None
        """What the next cut of power keeps; None if a cut only kills the process."""
        self.failure: BaseException | None = None
        """What stopped the node, if it stopped itself."""
        self._background: SimBackground | None = None
        self._files_of = files_of
        self._stop_requested: asyncio.Event | None = None

    # ------------------------------------------------------------ life

    @property
    def is_up(self) -> bool:
        """Whether a process is running, be it paused."""
        return self.process is not None and self.process.is_alive

    @property
    def path(self) -> Path:
        """The data folder."""
        return Path("/", self.name)

    def start(self) -> None:
        """Switch the machine on, if it is off, and start the process."""
        assert not self.is_up, f"{self.name} runs already"
        self.starts += 1
        self.failure = None
        self.network.hosts_up.add(self.name)
        host = HostNetwork(self.network, self.name)
        process = new_process(self.world, f"{self.name}.{self.starts}", self.clock, host)
        process.on_error = lambda text: self.on_bug(self.name, text)
        self.process = process
        self.world.note(f"{self.name} starts")
        process.call_soon(self._launch, process)

    def _launch(self, process: Process) -> None:
        task = process.create_task(self._main(process), name=process.name)
        task.add_done_callback(lambda done: self._on_exit(process, done))

    def kill(self) -> None:
        """End the process as SIGKILL does; the page cache stays."""
        process = self.process
        if process is None or not process.is_alive:
            return
        self.world.note(f"{self.name} killed")
        self._end(process, says_goodbye=True)
        if self._background is not None:
            self._background.node_was_killed()

    def lose_power(self, keep: Kept) -> None:
        """Switch the machine off: what was not synced may be gone."""
        process = self.process
        self.world.note(f"{self.name} loses power")
        if self._background is not None:
            self._background.interrupt()
        if process is not None and process.is_alive:
            self._end(process, says_goodbye=False)
        self.network.hosts_up.discard(self.name)
        self.disk.lose_power(keep)

    def wipe(self) -> None:
        """Replace the disk of a machine that is down by an empty one."""
        assert not self.is_up
        self.world.note(f"{self.name} gets an empty disk")
        self.disk.wipe()
        self.is_wiped = True

    def _end(self, process: Process, *, says_goodbye: bool) -> None:
        process.kill()
        self.disk.uncut()
        self.network.process_died(process, says_goodbye=says_goodbye)
        self.replica = self.server = None

    def _on_cut(self) -> None:
        """The process came to the step at which it was to die."""
        keep, self.cut_keeps = self.cut_keeps, None
        if keep is None:
            self.kill()
        else:
            self.lose_power(keep)

    def _on_exit(self, process: Process, task: "asyncio.Task[None]") -> None:
        if not process.is_alive:
            return
        error = None if task.cancelled() else task.exception()
        self.failure = error
        self.world.note(f"{self.name} exits: {type(error).__name__}: {error}")
        is_damage = isinstance(error, CorruptRecord) and not self.disk.has_rotted
        if error is not None and (is_damage or not isinstance(error, StorageError)):
            self.on_bug(self.name, f"the node stopped: {type(error).__name__}: {error}")
        self._end(process, says_goodbye=True)

    def request_stop(self) -> None:
        """Send SIGTERM."""
        self.world.note(f"{self.name} is told to stop")
        process = self.process
        if process is not None and self._stop_requested is not None:
            process.call_soon(self._stop_requested.set)

    # ------------------------------------------------------------ the process

    async def _main(self, process: Process) -> None:
        """Be `raftqd`: see `raftq.node.process`."""
        stop_requested = self._stop_requested = asyncio.Event()
        chance = self.world.chance(process.name)
        config = self._config()
        files = self._files_of[self.name] = ProcessFiles(self.disk, process)
        replica = self._open(process, files, config)
        self.replica = replica
        self.on_started(self)
        self.is_wiped = False
        watch = DiskWatch(self._free_bytes, replica, process.time, every=0.0)
        server = self.server = Server(
            replica,
            lambda: cluster_status(replica),
            watch.is_full,
            Uuid7(self.clock.wall_ms, chance.getrandbits),
            chance,
            "simulated",
        )
        host = HostNetwork(self.network, self.name)
        host.listen(self.name, NATIVE_PORT, lambda s: server.native.handle_stream(s, ("sim", 0)))
        replica.failed.add_done_callback(lambda _: stop_requested.set())
        await replica.start()
        await stop_requested.wait()
        if not replica.failed.done():
            deadline = process.time() + self.settings.drain_seconds
            await replica.transfer_leadership(deadline)
            await server.drain(deadline)
        await watch.stop()
        await server.stop()
        await replica.stop()
        if replica.failed.done():
            raise replica.failed.result()

    def _free_bytes(self) -> int:
        return 0 if self.disk.is_full else limits.DISK_RESERVE_BYTES

    def _config(self) -> NodeConfig:
        return NodeConfig(
            node_id=self.name,
            data_dir=self.path,
            native=(self.name, NATIVE_PORT),
            http=(self.name, 7611),
            peer=(self.name, PEER_PORT),
            advertise_native=None,
            advertise_http=None,
            cluster={member: (member, PEER_PORT) for member in self.members},
            election_timeout_ms=int(self.settings.election_timeout * 1_000),
            snapshot_entries=self.settings.snapshot_entries,
            drain_timeout_ms=int(self.settings.drain_seconds * 1_000),
            log_level="info",
            log_format="json",
        )

    def _open(self, process: Process, files: ProcessFiles, config: NodeConfig) -> ObservedReplica:
        """Open what `raftq.consensus.opening` opens, on the simulated disk."""
        data_dir = self._open_data_dir(files, config.data_dir)
        store = ForkingStore(files, data_dir.snapshot_folder)
        background = SimBackground(self.disk, process, store, self.settings.snapshot_seconds)
        self._background = background
        segment_bytes = self.settings.segment_bytes
        disk = Disk(
            Journal.open(files, data_dir.journal_folder, segment_bytes=segment_bytes),
            VoteFile.open(files, data_dir.vote_path),
            store,
            data_dir,
        )
        chance = self.world.chance(f"{process.name} replica")
        peers = {node: address for node, address in config.cluster.items() if node != self.name}
        around = Surroundings(
            links=TcpLinks(
                self.name, config.peer, peers, chance, HostNetwork(self.network, self.name)
            ),
            clock=process.time,
            wall_ms=self.clock.wall_ms,
            random=chance,
            offload=SimOffload(self.disk, process, files),
            background=background,
        )
        times = ElectionTimes(self.settings.election_timeout, self.settings.heartbeat)
        replica_config = ReplicaConfig(
            self.name,
            tuple(config.cluster),
            times,
            config.facts,
            self.settings.snapshot_entries,
            addresses=self._addresses(),
        )
        return ObservedReplica(replica_config, disk, around)

    def _addresses(self) -> dict[str, str]:
        return {member: f"{member}:{PEER_PORT}" for member in self.members}

    def _open_data_dir(self, files: ProcessFiles, path: Path) -> DataDir:
        """Open the folder as `DataDir.open` does, less the lock and the folders themselves."""
        if IDENTITY_NAME not in files.names(path):
            identity = new_identity(self.name, self._addresses(), is_joining=self.is_joining)
            store_identity(files, path, identity)
        identity = read_identity(path / IDENTITY_NAME, read_file(files, path / IDENTITY_NAME))
        files.sync_folder(path)
        return DataDir(files, path, _NO_LOCK, identity)
