"""A cluster of real node processes on this machine: for `raftq dev`, benchmarks and demos."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from random import SystemRandom
from typing import Final, Self

from raftq.cli.interrupts import interrupts_held

NODE_PROGRAM: Final = ("-m", "raftq.node.main")
_POLL_SECONDS: Final = 0.02
_STOP_SECONDS: Final = 15.0
_PORTS: Final = (10_000, 32_000)


class NodeProcess:
    """One `raftqd` process that can be killed and started again."""

    def __init__(self, cluster: "LocalCluster", number: int) -> None:
        self._cluster = cluster
        self.id = f"n{number}"
        self.folder = cluster.folder / self.id
        self.log = cluster.folder / f"{self.id}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def native(self) -> str:
        """host:port of the native protocol."""
        return f"127.0.0.1:{self._cluster.ports[self.id][0]}"

    @property
    def http(self) -> str:
        """host:port of HTTP."""
        return f"127.0.0.1:{self._cluster.ports[self.id][1]}"

    @property
    def peer(self) -> str:
        """host:port for the other nodes."""
        return f"127.0.0.1:{self._cluster.ports[self.id][2]}"

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process; it appends to its log file."""
        with self.log.open("ab") as log, interrupts_held():
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
                start_new_session=True,  # Ctrl-C reaches the command, which stops the nodes.
            )

    def command(self) -> list[str]:
        """Return the command line of the process."""
        members = ",".join(f"{node.id}={node.peer}" for node in self._cluster.nodes)
        settings = {
            "node-id": self.id,
            "data-dir": str(self.folder),
            "native": self.native,
            "http": self.http,
            "peer": self.peer,
            "cluster": members,
            **self._cluster.settings,
        }
        command = [sys.executable, *self._cluster.program]
        for name, value in settings.items():
            command += [f"--{name}", value]
        return command

    def environment(self) -> dict[str, str]:
        """Return the environment of the process."""
        return {k: v for k, v in os.environ.items() if not k.startswith("RAFTQ_")}

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, wait, and return the exit code; SIGKILL if it does not end."""
        return self._end(signal.SIGTERM)

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal to the running process."""
        assert self.process is not None
        self.process.send_signal(signal_number)

    def _end(self, signal_number: signal.Signals) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
            self.process.send_signal(signal.SIGCONT)  # A stopped process would never hear it.
        try:
            code = self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        with suppress(ProcessLookupError, PermissionError):
            # A killed node leaves its snapshot writer behind, which would recreate its folder.
            os.killpg(self.process.pid, signal.SIGKILL)
        return code

    def get(self, path: str) -> tuple[int, bytes] | None:
        """Return (status, body) of an HTTP GET, or None if the node does not answer.

        Plain and direct: a proxy of the environment must not stand before loopback.
        """
        connection = HTTPConnection(self.http, timeout=1.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()

    def view(self) -> dict[str, object] | None:
        """Return this node's `GET /v1/cluster`, or None if it does not answer."""
        found = self.get("/v1/cluster")
        if found is None or found[0] != 200:
            return None
        view: dict[str, object] = json.loads(found[1])
        return view

    def is_ready(self) -> bool:
        """Whether `/readyz` says yes."""
        found = self.get("/readyz")
        return found is not None and found[0] == 200

    def last_words(self) -> str:
        """Return the end of the log."""
        with suppress(OSError):
            return self.log.read_text()[-2_000:]
        return ""


class LocalCluster:
    """Several nodes with their data in one folder. Use it in `with`, or stop it.

    Args:
        folder: Data folders and logs go here.
        size: Number of nodes.
        base_port: Native ports are this +1, +2, …; HTTP 10 above, peers 20 above. None: any free
            ports.
        settings: Further `raftqd` flags without dashes in front.
        program: What Python is given to run a node, in front of the flags.
    """

    def __init__(
        self,
        folder: Path,
        size: int = 3,
        base_port: int | None = None,
        settings: dict[str, str] | None = None,
        program: Sequence[str] = NODE_PROGRAM,
    ) -> None:
        self.folder = folder
        self.settings = settings or {}
        self.program = program
        folder.mkdir(parents=True, exist_ok=True)
        ids = [f"n{number}" for number in range(1, size + 1)]
        if base_port is None:
            free = free_ports(3 * size)
            self.ports = {
                node: (free[3 * i], free[3 * i + 1], free[3 * i + 2]) for i, node in enumerate(ids)
            }
        else:
            self.ports = {
                node: (base_port + i, base_port + 10 + i, base_port + 20 + i)
                for i, node in enumerate(ids, 1)
            }
        self.nodes = [NodeProcess(self, number) for number in range(1, size + 1)]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill_all()  # Else those that did start would be left behind.
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    @property
    def addresses(self) -> str:
        """The native addresses, as clients take them."""
        return ",".join(node.native for node in self.nodes)

    def start(self) -> None:
        """Start every node and wait until all serve.

        Raises:
            RuntimeError: A node ended or did not become ready; the text has its log.
        """
        for node in self.nodes:
            node.start()
        self.wait_ready()

    def wait_ready(self, seconds: float = 20.0) -> None:
        """Wait until every running node serves.

        Raises:
            RuntimeError: See `start`.
        """
        deadline = time.monotonic() + seconds
        waiting = [node for node in self.nodes if node.process is not None]
        while waiting:
            waiting = [node for node in waiting if not node.is_ready()]
            for node in waiting:
                if not node.is_running:
                    raise RuntimeError(f"{node.id} ended:\n{node.last_words()}")
            if waiting and time.monotonic() > deadline:
                raise RuntimeError(f"{waiting[0].id} is not ready:\n{waiting[0].last_words()}")
            if waiting:
                time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stop every node, followers first, so that leadership is not handed around."""
        leader = self.leader()
        running = [node for node in self.nodes if node.is_running]
        for node in sorted(running, key=lambda node: node is leader):
            node.send(signal.SIGTERM)
        for node in running:
            node.stop()

    def kill_all(self) -> None:
        """SIGKILL every node."""
        for node in self.nodes:
            if node.is_running:
                node.send(signal.SIGKILL)
        for node in self.nodes:
            node.kill()

    def leader(self) -> NodeProcess | None:
        """Return the node that leads, as the nodes that answer see it."""
        for node in self.nodes:
            if node.is_running and (view := node.view()) is not None and view["leader"]:
                return next(each for each in self.nodes if each.id == view["leader"])
        return None

    def wait_leader(self, seconds: float = 10.0) -> NodeProcess:
        """Wait for a leader that lives.

        Raises:
            RuntimeError: There was none in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            leader = self.leader()
            if leader is not None and leader.is_running:
                return leader
            time.sleep(_POLL_SECONDS)
        raise RuntimeError("no leader was elected in time")


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody listens on at the moment.

    They lie below those that the system gives to outgoing connections: such a one could take a
    node's port between its stop and its next start.
    """
    found: list[int] = []
    random = SystemRandom()
    while len(found) < count:
        port = random.randrange(*_PORTS)
        if port not in found and _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def taken_port(cluster: LocalCluster) -> int | None:
    """Return a port of the cluster that somebody else listens on, if there is one."""
    for ports in cluster.ports.values():
        for port in ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    return port
    return None
