"""Real replicas on loopback in one process: real files, real sockets, real PySyncObj."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from raftq.consensus.contract import ReplicaView
from raftq.consensus.opening import open_replica
from raftq.consensus.parts import ReplicaConfig
from raftq.consensus.raft.elector import ElectionTimes
from raftq.consensus.replica import RaftReplica
from raftq.core.applied import Applied
from raftq.protocol.calls import Call
from raftq.protocol.commands import Command
from raftq.protocol.errors import OutcomeUnknown, UnavailableError
from raftq.protocol.replies import CommandReply, Reply
from raftq.storage.data_dir import DataDir
from raftq.storage.files import RealFiles

TIMES = ElectionTimes(timeout=0.4, heartbeat=0.08)
WAIT_SECONDS = 10.0


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Recorder:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.applied = 0
        self.leaders: list[str | None] = []

    def on_applied(self, applied: Applied) -> None:
        self.applied += 1

    def on_leader_changed(self, view: ReplicaView) -> None:
        self.leaders.append(view.leader)

    def on_schedules_due(self) -> None: ...


class Member:
    """One member that can be started, stopped and killed."""

    def __init__(self, group: "Group", node: str) -> None:
        self.group = group
        self.node = node
        self.folder = group.folder / node
        self.replica: RaftReplica | None = None
        self.recorder = Recorder()
        self._close: Callable[[], None] | None = None
        self._data_dir: DataDir | None = None

    @property
    def running(self) -> RaftReplica:
        assert self.replica is not None, f"{self.node} is down"
        return self.replica

    async def start(self, *, joins: bool = False, **settings: int) -> None:
        files = RealFiles()
        addresses = {node: f"127.0.0.1:{port}" for node, port in self.group.ports.items()}
        self._data_dir = DataDir.open(
            self.folder, node_id=self.node, members=addresses, is_joining=joins
        )
        config = ReplicaConfig(
            self.node,
            tuple(self.group.ports),
            TIMES,
            {"native": f"{self.node}.example:7601"},
            addresses=addresses,
            **(self.group.settings | settings),
        )
        peers = {
            node: ("127.0.0.1", port)
            for node, port in self.group.ports.items()
            if node != self.node
        }
        listen = ("127.0.0.1", self.group.ports[self.node])
        self.replica, self._close = open_replica(config, self._data_dir, files, listen, peers)
        self.recorder = Recorder()
        self.replica.attach(self.recorder, self._execute)
        await self.replica.start()

    async def _execute(self, call: Call, deadline: float) -> Reply:
        assert isinstance(call, Command)
        return await self.running.propose(call, deadline)

    async def stop(self) -> None:
        """Stop without handing anything over, as a crash with an intact disk would."""
        replica = self.running
        self.replica = None
        await replica.stop()
        assert self._close is not None and self._data_dir is not None
        self._close()
        replica.parts.log.journal.close()
        self._data_dir.close()


class Group:
    """Members of one cluster."""

    def __init__(self, folder: Path, size: int = 3, **settings: int) -> None:
        self.folder = folder
        self.settings = settings
        names = [f"n{number + 1}" for number in range(size)]
        self.ports = dict(zip(names, free_ports(size), strict=True))
        self.members = {node: Member(self, node) for node in names}

    async def start(self) -> None:
        for member in self.members.values():
            await member.start()

    async def stop(self) -> None:
        for member in self.members.values():
            if member.replica is not None:
                await member.stop()

    @property
    def running(self) -> list[RaftReplica]:
        return [member.replica for member in self.members.values() if member.replica is not None]

    async def leader(self) -> Member:
        """Wait until exactly one running member leads and all running members know it."""
        found: list[Member] = []

        def agreed() -> bool:
            views = [replica.view() for replica in self.running]
            leaders = {view.leader for view in views}
            leading = [view.node for view in views if view.is_leader]
            found[:] = [self.members[node] for node in leading]
            return len(leading) == 1 and leaders == set(leading)

        await until(agreed, "one leader that all know")
        return found[0]

    async def propose(self, command: Command, seconds: float = WAIT_SECONDS) -> CommandReply:
        """Propose on whoever leads, again and again, as a client with stable ids would."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            for replica in self.running:
                try:
                    return await replica.propose(command, min(deadline, loop.time() + 1))
                except (UnavailableError, OutcomeUnknown):
                    if loop.time() > deadline:
                        raise
            await asyncio.sleep(0.01)

    async def equal(self) -> None:
        """Wait until all running members have applied the same and their states agree."""

        def same() -> bool:
            return len({replica.view().applied_index for replica in self.running}) == 1

        await until(same, "equal applied indexes")
        assert len({replica.machine.state_hash for replica in self.running}) == 1
        assert len({replica.machine.content_hash() for replica in self.running}) == 1


async def until(condition: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait for a condition; fail with words at the deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, f"waited {seconds} s in vain for {what}"
        await asyncio.sleep(0.005)


def run_group(
    folder: Path, body: Callable[[Group], Awaitable[None]], size: int = 3, **settings: int
) -> None:
    """Run a test body against a started group and stop it afterwards."""

    async def main() -> None:
        group = Group(folder, size, **settings)
        try:
            await group.start()
            await body(group)
        finally:
            await group.stop()

    asyncio.run(main())
