"""The nodes of a chaos run: real processes, each at a place of its own."""

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final

from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.testing.chaos.disks import LoopDisk
from raftq.testing.chaos.network import Network
from raftq.testing.chaos.security import Secrets
from raftq.testing.chaos.shim import Shim

NATIVE_PORT: Final = 7601
STOP_SECONDS: Final = 15.0
_HTTP_PORT: Final = 7611
_PEER_PORT: Final = 7621


class ChaosNode(NodeProcess):
    """One node that can be hurt.

    Args:
        cluster: What it is a member of.
        number: Makes its id.
        network: Where it has a namespace; None for a port on loopback.
        disk: Where its data folder is; None for a folder beside its log.
        shim: What stands between it and its disk and clock, if anything does.
    """

    def __init__(
        self,
        cluster: LocalCluster,
        number: int,
        network: Network | None,
        disk: LoopDisk | None,
        shim: Shim | None,
    ) -> None:
        super().__init__(cluster, number)
        self._network = network
        self.disk = disk
        self.shim = shim
        self.lives = 0
        """How often its process was started."""
        self.is_wiped = False
        """Whether it begins its next life with an empty disk."""
        self.is_without_power = False
        self.secrets: Secrets | None = None
        self.on_start: Callable[[ChaosNode], None] = lambda _: None
        if disk is not None:
            self.folder = disk.folder / "data"

    @property
    def native(self) -> str:
        """host:port of the native protocol."""
        return super().native if self._network is None else self._at(NATIVE_PORT)

    @property
    def http(self) -> str:
        """host:port of HTTP."""
        return super().http if self._network is None else self._at(_HTTP_PORT)

    @property
    def peer(self) -> str:
        """host:port for the other nodes."""
        return super().peer if self._network is None else self._at(_PEER_PORT)

    def _at(self, port: int) -> str:
        assert self._network is not None
        return f"{self._network.address(self.id)}:{port}"

    def command(self) -> list[str]:
        """Return the command line, in the node's namespace, with its secrets."""
        prefix = [] if self._network is None else self._network.prefix(self.id)
        flags = {} if self.secrets is None else self.secrets.flags(self.id)
        return [*prefix, *super().command(), *(f"--{name}={flags[name]}" for name in flags)]

    @property
    def host(self) -> str:
        """Where it listens."""
        return self.native.rpartition(":")[0]

    def get(self, path: str) -> tuple[int, bytes] | None:
        """Return (status, body) of an HTTP GET, or None if the node does not answer."""
        if self.secrets is None:
            return super().get(path)
        connection = HTTPSConnection(self.http, timeout=1.0, context=self.secrets.tls())
        try:
            headers = {"Authorization": f"Bearer {self.secrets.token}"}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()

    def environment(self) -> dict[str, str]:
        """Return the environment, with the shim in it."""
        return {**super().environment(), **({} if self.shim is None else self.shim.environment)}

    def start(self) -> None:
        """Start the process."""
        self.lives += 1
        super().start()
        self.on_start(self)
        self.is_wiped = False

    # ------------------------------------------------------------ faults

    def signal_all(self, signal_number: signal.Signals) -> None:
        """Send a signal to the process and its snapshot writers."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal_number)

    def kill_at_once(self) -> None:
        """SIGKILL the process and its snapshot writers in one go."""
        self.signal_all(signal.SIGKILL)
        self.kill()

    def kill_alone(self) -> None:
        """SIGKILL the process only: a snapshot that it was writing goes on without it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Stop the process as SIGSTOP does."""
        self.signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a stopped process go on."""
        if self.is_running:
            self.signal_all(signal.SIGCONT)

    def power_off(self) -> None:
        """Cut the power: nothing is sent or written any more, not even a goodbye."""
        assert self.disk is not None
        self.is_without_power = True
        if self._network is not None:
            self._network.unplug(self.id)
        if self.is_running:
            self.pause()
        self.disk.cut_power()
        self.kill_at_once()

    def power_on(self) -> None:
        """Bring the disk back, as it was left, and start the process."""
        assert self.disk is not None
        self.disk.unmount()
        self.disk.mount()
        if self._network is not None:
            self._network.plug(self.id)
        self.is_without_power = False
        self.start()

    def wait_end(self, seconds: float) -> int | None:
        """Wait for the process to end by itself, and return its exit code; None if it does not."""
        assert self.process is not None
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)
        return None

    def wipe(self) -> None:
        """Empty the disk of a node that is not running."""
        _remove_all(self.folder)
        self.is_wiped = True


def _remove_all(folder: Path) -> None:
    for path, folders, names in os.walk(folder, topdown=False):
        for name in names:
            (Path(path) / name).unlink()
        for name in folders:
            (Path(path) / name).rmdir()


class ChaosCluster(LocalCluster):
    """The members; see `LocalCluster`.

    Args:
        folder: Data folders and logs go here.
        size: Number of nodes.
        settings: Further `raftqd` flags without dashes in front.
        network: Their network; None for loopback.
        disks: Their disks by id; those without one use a folder.
        shims: Their shims by id.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        settings: dict[str, str],
        network: Network | None,
        disks: dict[str, LoopDisk],
        shims: dict[str, Shim],
    ) -> None:
        super().__init__(folder, size, settings=settings)
        self.members = [
            ChaosNode(self, number, network, disks.get(f"n{number}"), shims.get(f"n{number}"))
            for number in range(1, size + 1)
        ]
        self.nodes = [*self.members]

    def chaos_leader(self) -> ChaosNode | None:
        """Return the leader of the newest term, as the nodes that answer see it."""
        best: tuple[int, str] | None = None
        for node in self.members:
            view = node.view() if node.is_running else None
            if view is not None and (leader := view["leader"]):
                term = view["term"]
                assert isinstance(term, int) and isinstance(leader, str)
                best = max(best or (0, ""), (term, leader))
        return None if best is None else next(n for n in self.members if n.id == best[1])

    def stop_cleanly(self) -> dict[str, int | None]:
        """SIGTERM every node once, followers first, and return their exit codes."""
        leader = self.chaos_leader()
        for node in sorted(self.members, key=lambda node: node is leader):
            node.send(signal.SIGTERM)
        return {node.id: node.wait_end(STOP_SECONDS) for node in self.members}

    def leader(self) -> NodeProcess | None:
        """Return the leader of the newest term."""
        return self.chaos_leader()
