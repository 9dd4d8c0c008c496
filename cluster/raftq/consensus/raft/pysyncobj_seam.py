"""What stands in PySyncObj's place: its node, transport and poller, and the module names it uses.

Nothing here decides anything; `engine.py` drives it and says why.
"""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol
from zlib import crc32

import pysyncobj.serializer as serializer_module
import pysyncobj.syncobj as pysyncobj_module
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.journal import Journal
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from raftq.protocol.errors import StorageError

PYSYNCOBJ_VERSION: Final = "0.3.17"
_PRIVATE: Final = ("_SyncObj__doApplyCommand", "_SyncObj__updateClusterConfiguration")
_RECEIVED_SUFFIX: Final = ".1.tmp"
"""How PySyncObj names a snapshot that it receives."""


class Driver(Protocol):
    """Who is told what PySyncObj wants to apply and to send."""

    def apply_entry(self, command: bytes) -> object: ...
    def send(self, peer: str, message: dict[str, object]) -> None: ...


def check_pysyncobj() -> None:
    """Refuse to run on another PySyncObj than the one that was studied.

    Raises:
        StorageError: The version differs, or a private name that is used does not exist.
    """
    found = version("pysyncobj")
    if found != PYSYNCOBJ_VERSION or not all(hasattr(SyncObj, name) for name in _PRIVATE):
        raise StorageError(
            f"PySyncObj {found} is installed; raftq is proven on {PYSYNCOBJ_VERSION} only: "
            f"pip install pysyncobj=={PYSYNCOBJ_VERSION}"
        )


def install_hooks(log: Journal, snapshot: Path, adopt: Callable[[Path], None]) -> None:
    """Set the module names that PySyncObj looks up when it is made or receives a snapshot.

    Args:
        log: What the next SyncObj uses as its journal.
        snapshot: Where this node's snapshot is.
        adopt: Checks a received file, makes it durable and puts it there.
    """
    pysyncobj_module.createJournal = lambda _file: log
    pysyncobj_module.createPoller = lambda _kind: _NoPoller()
    pysyncobj_module.PIPE_NOTIFIER_ENABLED = False
    serializer_module.atomicReplace = _adopt_received
    _adopters[str(snapshot)] = adopt


_adopters: Final[dict[str, Callable[[Path], None]]] = {}


def _adopt_received(received: str, current: str) -> None:
    """Stand in for PySyncObj's rename of a received snapshot, which checks and syncs nothing: a
    power cut or a bad peer would cost this node the only snapshot it has."""
    if not received.endswith(_RECEIVED_SUFFIX):
        raise FileNotFoundError(f"{received}: a snapshot of our own is renamed by its writer")
    _adopters[current](Path(received))


class MemberNode(Node):
    """A node whose hash is the same in every process: PySyncObj walks over sets of them, and a
    simulated run must be repeatable."""

    def __hash__(self) -> int:
        return crc32(self.id.encode())


class Raft(SyncObj):
    """SyncObj with one override: our entries are applied, and nothing is ever unpickled."""

    def __init__(
        self,
        driver: Driver,
        node: Node,
        others: list[Node],
        conf: SyncObjConf,
        transport: Transport,
    ) -> None:
        self._driver = driver
        super().__init__(node, others, conf, nodeClass=Node, transport=transport)

    def _SyncObj__doApplyCommand(self, command: bytes) -> object:
        return self._driver.apply_entry(command)

    def update_members(self, others: list[Node]) -> None:
        """Count these nodes, and this one; what is known of the ones that stay is kept."""
        self._SyncObj__updateClusterConfiguration(others)


class _NoPoller:
    """PySyncObj's own sockets are not used."""

    def poll(self, timeout: float) -> None:
        """Do nothing."""

    def subscribe(self, *_args: object) -> None:
        """Do nothing."""

    def unsubscribe(self, *_args: object) -> None:
        """Do nothing."""


class EngineTransport(Transport):
    """PySyncObj's transport seam, joined to its driver."""

    ready = True

    def __init__(self, driver: Driver) -> None:
        super().__init__(None, None, None)
        self._driver = driver

    def send(self, node: Node, message: dict[str, object]) -> bool:
        """Called by PySyncObj for each message."""
        self._driver.send(node.id, message)
        return True

    def addNode(self, node: Node) -> None:
        """Do nothing: connections belong to the links."""

    def dropNode(self, node: Node) -> None:
        """Do nothing: connections belong to the links."""

    def destroy(self) -> None:
        """Do nothing: connections belong to the links."""

    def report_connected(self, node: Node, connected: bool) -> None:
        """Pass on whether a peer that counts can be reached."""
        (self._onNodeConnected if connected else self._onNodeDisconnected)(node)

    def report_readonly(self, node: Node, connected: bool) -> None:
        """Pass on whether a peer that does not count can be reached."""
        (self._onReadonlyNodeConnected if connected else self._onReadonlyNodeDisconnected)(node)

    def report_message(self, node: Node | None, message: dict[str, object]) -> None:
        """Pass on a message."""
        self._onMessageReceived(node, message)
