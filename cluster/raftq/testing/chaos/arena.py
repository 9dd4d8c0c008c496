"""Everything in one round: the nodes with their surroundings, the clients, what was recorded."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final

import msgspec

from raftq.protocol.errors import StorageError
from raftq.testing.chaos.client_process import ClientProcess
from raftq.testing.chaos.disks import LoopDisk
from raftq.testing.chaos.final_state import keep_final_state
from raftq.testing.chaos.network import Network
from raftq.testing.chaos.nodes import ChaosCluster, ChaosNode
from raftq.testing.chaos.records import now_ms, read_histories
from raftq.testing.chaos.security import Secrets, new_secrets
from raftq.testing.chaos.shim import Shim
from raftq.testing.chaos.watcher import Watcher, look
from raftq.testing.checks import Violation
from raftq.testing.facts import ClusterFacts
from raftq.testing.history import History
from raftq.testing.sim.clients import Load

_POLL_SECONDS: Final = 0.02
_READY_SECONDS: Final = 30.0
_WARM_BYTES: Final = 30_000
"""History of one client process after which the load counts as running."""
_CLIENTS_END_SECONDS: Final = 30.0
DRAIN_SECONDS: Final = 60.0
"""Once all faults have ended, every task can be worked off within this time."""
LEVEL_SECONDS: Final = 20.0
"""Once the load has ended, all nodes are in the same state within this time."""
_REPORTED_EVENTS: Final = ("node_failed", "commands_failed", "entry_refused")
"""Log events that no fault excuses."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a round is made of."""

    nodes: int = 3
    snapshot_entries: int = 400
    """Few, so that every round compacts several times."""
    load: Load = field(
        default_factory=lambda: Load(pause=0.04, call_timeout=4.0, lease=1.5, delay_max=1.0)
    )
    workers_apart: bool = False
    """Whether there are further workers, in a process of their own that can be hurt."""
    is_secured: bool = False
    """Whether nodes and clients speak TLS and ask for certificates and tokens."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """What this machine can do; a fault that needs what is missing is left out."""

    has_network: bool
    has_disks: bool
    shim_library: Path | None


class Arena:
    """One round's nodes and clients. Use it in `with`.

    Args:
        folder: Where everything goes; it is empty.
        plan: What there is.
        equipment: What can be done.
        seed: Of all decisions of the harness and the clients.
    """

    def __init__(self, folder: Path, plan: Plan, equipment: Equipment, seed: str) -> None:
        self.folder = folder
        self.plan = plan
        self.seed = seed
        self.random = Random(seed)
        self.facts = ClusterFacts()
        self.violations: list[Violation] = []
        self.notes: list[str] = []
        self.healed_at_ms: float | None = None
        self.may_end: set[str] = set()
        """Nodes that the fault may bring to end themselves."""
        self._stack = ExitStack()
        self._clients: list[ClientProcess] = []
        self._equipment = equipment
        self._begun = time.monotonic()
        self._applied_index = 0

    # ------------------------------------------------------------ life

    def __enter__(self) -> "Arena":
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _build(self) -> None:
        ids = [f"n{number}" for number in range(1, self.plan.nodes + 1)]
        self.network: Network | None = None
        if self._equipment.has_network:
            self.network = Network(ids)
            self._stack.callback(self.network.close)
        disks: dict[str, LoopDisk] = {}
        if self._equipment.has_disks:
            for name in ids:
                disks[name] = LoopDisk(self.folder / f"{name}.disk", self.folder / name)
                self._stack.callback(disks[name].unmount)
        shims: dict[str, Shim] = {}
        if self._equipment.shim_library is not None:
            for name in ids:
                shim = Shim(self._equipment.shim_library, self.folder / f"{name}.shim")
                shims[name] = shim
                self._stack.callback(shim.close)
        settings = {"snapshot-entries": str(self.plan.snapshot_entries)}
        if self.network is not None and not self.plan.is_secured:
            settings["insecure"] = "true"
        self.cluster = ChaosCluster(
            self.folder, self.plan.nodes, settings, self.network, disks, shims
        )
        self.nodes = self.cluster.members
        self.secrets: Secrets | None = None
        if self.plan.is_secured:
            hosts = {node.id: node.host for node in self.nodes}
            self.secrets = new_secrets(self.folder / "secrets", hosts)
        for node in self.nodes:
            node.secrets = self.secrets
        self._stack.callback(self._end_processes)
        self.watcher = Watcher(self.nodes, self.facts)
        self._stack.callback(self.watcher.stop)

    def _end_processes(self) -> None:
        for client in self._clients:
            client.close()
        for node in self.nodes:
            if node.is_running:
                node.kill_at_once()

    def start(self) -> None:
        """Start nodes and clients, and wait until there is load.

        Raises:
            RuntimeError: A node is not ready in time, or no client gets on.
        """
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            self.start_client(f"site-{node.id}", "producer,worker,runner,reader", node)
        if self.plan.workers_apart:
            self.start_client("victim", "worker,worker,runner", self.nodes[-1])
        self.cluster.wait_ready(_READY_SECONDS)
        if not self.wait_for(self._is_warm, _READY_SECONDS):
            raise RuntimeError(f"the clients do not get on; see {self.folder}")

    def _is_warm(self) -> bool:
        return all(client.written_bytes > _WARM_BYTES for client in self._clients)

    def start_client(self, name: str, programs: str, site: ChaosNode) -> ClientProcess:
        """Start a process with clients beside a node."""
        prefix = [] if self.network is None else self.network.prefix(site.id)
        # Its own node first: the others are learnt from it, and are tried when it is gone.
        addresses = ",".join(
            node.native for node in sorted(self.nodes, key=lambda n: n is not site)
        )
        client = ClientProcess(
            name,
            self.folder,
            programs,
            self.plan.load,
            addresses,
            prefix,
            f"{self.seed}/{name}",
            self.secrets,
        )
        self._clients.append(client)
        return client

    def client(self, name: str) -> ClientProcess:
        """Return a process with clients by its name."""
        return next(client for client in self._clients if client.name == name)

    # ------------------------------------------------------------ for faults

    def note(self, text: str) -> None:
        """Record what is being done, for the person who reads about a violation."""
        self.notes.append(f"{time.monotonic() - self._begun:7.3f} {now_ms():.0f} {text}")

    def hold(self, seconds: float) -> None:
        """Let the load and the fault go on."""
        time.sleep(seconds)

    def wait_for(
        self, condition: Callable[[], bool], seconds: float, poll: float = _POLL_SECONDS
    ) -> bool:
        """Wait until something holds; False if it does not in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(poll)
        return True

    def leader(self) -> ChaosNode:
        """Wait for a leader and return it.

        Raises:
            RuntimeError: There is none in time.
        """
        self.cluster.wait_leader(_READY_SECONDS)
        leader = self.cluster.chaos_leader()
        return leader if leader is not None else self.leader()

    def followers(self) -> list[ChaosNode]:
        """Return the nodes that do not lead, in random order."""
        leader = self.leader()
        rest = [node for node in self.nodes if node is not leader]
        self.random.shuffle(rest)
        return rest

    def expect(self, holds: bool, rule: str, text: str) -> None:
        """Demand something that only this fault knows of."""
        if not holds:
            self.note(f"violated: {rule}")
            self.violations.append(Violation(rule, text))

    # ------------------------------------------------------------ the end of a round

    def heal(self) -> None:
        """End every fault; start what does not run."""
        self.note("healed")
        if self.network is not None:
            self.network.heal()
        for node in self.nodes:
            if node.disk is not None and not node.is_without_power:
                node.disk.free()
            if node.shim is not None:
                node.shim.heal()
            node.resume()
        for client in self._clients:
            if not client.was_killed:
                client.resume()
        for node in self.nodes:
            if node.is_without_power:
                node.power_on()
            elif not node.is_running:
                code = None if node.process is None else node.process.returncode
                self.note(f"{node.id} had ended with {code}")
                expected = node.id in self.may_end or (code is not None and code < 0)
                text = f"{node.id} ended with {code}:\n{node.last_words()}"
                self.expect(expected, "node-ended", text)
                node.start()

    def settle(self) -> None:
        """Wait until all nodes serve, end the load, work off every task, wait for equal states."""
        try:
            self.cluster.wait_ready(_READY_SECONDS)
        except RuntimeError as error:
            self.expect(False, "not-ready", str(error))
            return
        self.hold(1.0)
        self._end_clients()
        self._drain()
        self._level()

    def _end_clients(self) -> None:
        for client in self._clients:
            client.ask_to_stop()
        for client in self._clients:
            if not client.wait(_CLIENTS_END_SECONDS):
                self.expect(False, "client-stuck", f"{client.name} does not end")
                client.kill()
            is_well = client.was_killed or client.exit_code == 0
            self.expect(
                is_well, "client-failed", f"{client.name}: {client.log.read_text()[-2000:]}"
            )

    def _drain(self) -> None:
        drainer = self.start_client("drainer", "drainer", self.nodes[0])
        self.facts.is_drained = drainer.wait(DRAIN_SECONDS)
        text = f"tasks are left {DRAIN_SECONDS:g} s after the last fault"
        self.expect(self.facts.is_drained, "not-drained", text)

    def _level(self) -> None:
        level: dict[str, str] = {}

        def is_level() -> bool:
            level.clear()
            for node in self.nodes:
                if (view := look(node)) is not None and view.commit_index == view.applied_index:
                    level[node.id] = f"{view.applied_index} {view.state_hash}"
            return len(level) == len(self.nodes) and len(set(level.values())) == 1

        holds = self.wait_for(is_level, LEVEL_SECONDS)
        text = f"the nodes differ {LEVEL_SECONDS:g} s after the load ended: {level}"
        self.expect(holds, "not-level", text)
        self._applied_index = int(level[self.nodes[0].id].split()[0]) if holds else 0

    def stop(self) -> None:
        """Stop the nodes and read what they leave behind."""
        self.watcher.stop()
        self.violations += self.watcher.violations
        for client in self._clients:
            client.close()
        codes = self.cluster.stop_cleanly()
        for node in self.nodes:
            code = codes[node.id]
            self.expect(code == 0, "unclean-stop", f"{node.id} ended with {code}")
            for event in _bad_events(node):
                self.expect(False, "bug", f"{node.id} logged {event}")
            self._read_folder(node)

    def _read_folder(self, node: ChaosNode) -> None:
        try:
            keep_final_state(self.facts, node.id, node.folder, self._applied_index)
        except StorageError as error:
            self.expect(False, "damaged", f"the data folder of {node.id}: {error}")

    def history(self) -> History:
        """Return what all clients saw."""
        return read_histories(client.history for client in self._clients if client.written_bytes)


class _LogLine(msgspec.Struct):
    event: str


def _bad_events(node: ChaosNode) -> Iterator[str]:
    for line in node.log.read_bytes().splitlines():
        try:
            event = msgspec.json.decode(line, type=_LogLine).event
        except msgspec.MsgspecError:
            continue  # The last words of a node that could not start, or of Python itself.
        if event in _REPORTED_EVENTS:
            yield line.decode(errors="replace")[:1_000]
