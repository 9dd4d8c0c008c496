"""One run: a cluster and its clients, a scenario that makes them suffer, and the verdict."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeAlias, TypeVar

from raftq.protocol.errors import StorageError
from raftq.testing.checks import Bounds, Violation, check_all
from raftq.testing.checks.events import Followed, check_events
from raftq.testing.checks.task_model import check_moves
from raftq.testing.history import History
from raftq.testing.sim.clients import (
    ClientMachine,
    KnownTasks,
    Load,
    drainer,
    patient,
    producer,
    reader,
    runner,
    worker,
)
from raftq.testing.sim.disk import ProcessFiles
from raftq.testing.sim.loop import Clock, Process, new_process
from raftq.testing.sim.model_clients import MODEL_QUEUES, ModelClients
from raftq.testing.sim.network import HostNetwork, SimNetwork
from raftq.testing.sim.node import NATIVE_PORT, NodeSettings, SimNode
from raftq.testing.sim.observer import RIGHT_CLOCKS_MS, Observer, patches
from raftq.testing.sim.patching import patched
from raftq.testing.sim.seams import replaced
from raftq.testing.sim.world import World

T = TypeVar("T")
RECOVERY_SECONDS: Final = 5.0
"""Once all faults have ended, a command is committed within this virtual time."""
DRAIN_SECONDS: Final = 40.0
"""Once all faults have ended, every task can be worked off within this virtual time."""
CONVERGE_SECONDS: Final = 10.0
"""Once the load has ended, all nodes are in the same state within this virtual time."""
_LEASE_DRIFT: Final = 0.021


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of."""

    nodes: int = 3
    seconds: float = 6.0
    """How long the faults go on."""
    settings: NodeSettings = field(default_factory=NodeSettings)
    load: Load = field(default_factory=Load)
    wall_error_ms: float = RIGHT_CLOCKS_MS
    """The most that the cluster's wall time is wrong; see `checks.Bounds`."""
    limits: Mapping[str, int] = field(default_factory=dict[str, int])
    """Limits that are other in this run, besides `seams.OTHER_LIMITS`."""


@dataclass(slots=True)
class Result:
    """What came of a run."""

    seed: str
    scenario: str
    virtual_seconds: float
    violations: list[Violation]
    trace: list[str]
    operations: int
    entries: int


class SimCluster:
    """Everything in one world.

    Args:
        seed: Decides everything.
        plan: What there is.
    """

    def __init__(self, seed: str, plan: Plan) -> None:
        self.plan = plan
        self.world = World(seed)
        self.random = self.world.chance("nemesis")
        self.network = SimNetwork(self.world)
        self.history = History(lambda: self.world.now_ms)
        self.observer = Observer(self.world, plan.wall_error_ms)
        self.known = KnownTasks()
        self.model = ModelClients()
        self.followed: list[Followed] = []
        """What subscribers to events were told."""
        self.wall_error_ms = plan.wall_error_ms
        self.violations: list[Violation] = []
        self.files_of: dict[str, ProcessFiles] = {}
        names = tuple(f"n{number + 1}" for number in range(plan.nodes))
        self.nodes = [self._node(name, names) for name in names]
        """The members, as the operator wants them; only they are started when faults end."""
        self.clients = self._clients(names)
        self.drainer = self._client("drainer", names, drainer(plan.load))
        self.nemesis = self._nemesis()

    def _node(self, name: str, members: tuple[str, ...]) -> SimNode:
        node = SimNode(self.world, self.network, name, members, self.plan.settings, self.files_of)
        node.on_started = self.observer.on_started
        node.on_bug = self._on_bug
        return node

    def new_node(self, name: str) -> SimNode:
        """Set up another machine, with a node that knows the members and waits to be added."""
        node = self._node(name, (*(each.name for each in self.nodes), name))
        node.is_joining = True
        for client in [*self.clients, self.drainer]:
            client.addresses.append(f"{name}:{NATIVE_PORT}")
        return node

    def _clients(self, names: tuple[str, ...]) -> list[ClientMachine]:
        load = self.plan.load
        programs = {
            "producer": (load.producers, producer(load, self.known)),
            "worker": (load.workers, worker(load)),
            "runner": (load.runners, runner(load)),
            "patient": (load.patient, patient(load, self._on_robbed)),
            "reader": (load.readers, reader(load, self.known)),
        }
        return [
            self._client(f"{kind}{number + 1}", names, program)
            for kind, (count, program) in programs.items()
            for number in range(count)
        ]

    def _client(
        self,
        name: str,
        nodes: tuple[str, ...],
        program: Callable[..., Awaitable[None]],
    ) -> ClientMachine:
        machine = ClientMachine(self.world, self.network, self.history, name, nodes, program)
        machine.on_bug = self._on_bug
        return machine

    def _nemesis(self) -> Process:
        clock = Clock(self.world, "nemesis", drift=0.0)
        return new_process(self.world, "nemesis", clock, HostNetwork(self.network, "nemesis"))

    def _on_bug(self, who: str, text: str) -> None:
        self.violations.append(Violation("bug", f"{who}: {text}"))

    def _on_robbed(self, text: str) -> None:
        self.expect(False, "robbed-worker", text)

    def expect(self, holds: bool, rule: str, text: str) -> None:
        """Demand something that only this run's scenario knows of."""
        if not holds:
            self.world.note(f"violated: {rule}")
            self.violations.append(Violation(rule, text))

    # ------------------------------------------------------------ a run

    def run(self, scenario: "Scenario") -> None:
        """Let a scenario play, heal, drain, and collect what is left."""
        for node in self.nodes:
            node.start()
        for client in self.clients:
            client.start(self.plan.load.call_timeout)
        self._play(scenario)
        self.heal()
        healed_at = self.world.now
        self._finish_load(healed_at)
        self._converge()
        bounds = Bounds(
            wall_error_ms=self.wall_error_ms,
            lease_drift=_LEASE_DRIFT,
            healed_at_ms=healed_at * 1_000,
            recovery_ms=RECOVERY_SECONDS * 1_000,
            quick_ms=4.5,
            other_queues=frozenset(MODEL_QUEUES),
        )
        self.violations += self.observer.violations
        self.violations += self.observer.words.judge(self.observer.facts.events)
        moves = self.observer.moves_in_order()
        self.violations += islice(check_moves(moves, self.model.tasks), 3)
        self.violations += islice(check_events(self.followed, self.observer.moves), 3)
        try:
            self.violations += check_all(self.history, self.observer.facts, bounds)
        except StorageError as error:
            text = f"the final state of a node cannot be read: {error}"
            self.violations.append(Violation("unreadable-state", text))

    def _play(self, scenario: "Scenario") -> None:
        played: list[asyncio.Task[None]] = []

        async def play() -> None:
            await scenario(self)

        def launch() -> None:
            played.append(self.nemesis.create_task(play(), name="scenario"))

        self.nemesis.call_soon(launch)
        self.world.run(10 * self.plan.seconds + 60, lambda: bool(played) and played[0].done())
        assert played and played[0].done(), "the scenario does not end"
        played[0].result()

    def heal(self) -> None:
        """End every fault."""
        self.world.note("healed")
        self.network.heal()
        for node in self.nodes:
            disk = node.disk
            disk.slowness, disk.syncs_to_fail, disk.is_full = 1.0, 0, False
            disk.files.capacity_bytes = None
            disk.uncut()
            if node.process is not None:
                node.process.resume()
            if not node.is_up:
                node.start()
        for client in self.clients:
            if client.process is not None:
                client.process.resume()

    def _finish_load(self, healed_at: float) -> None:
        self.world.run(healed_at + 1.0)
        for client in self.clients:
            client.is_stopping = True
        self.drainer.start(self.plan.load.call_timeout)
        # A wall clock that was ahead holds back delayed tasks until the others have caught up.
        seconds = DRAIN_SECONDS + self.wall_error_ms / 1_000
        self.world.run(healed_at + seconds, lambda: self.drainer.is_finished)
        self.observer.facts.is_drained = self.drainer.is_finished
        if not self.drainer.is_finished:
            text = f"tasks are left {seconds:g} s after the last fault"
            self.violations.append(Violation("not-drained", text))

    def _converge(self) -> None:
        """Wait until all nodes have applied the same, and keep their states."""
        self.world.run(self.world.now + CONVERGE_SECONDS, self._is_level)
        if not self._is_level():
            views = [node.replica.view() for node in self.nodes if node.replica is not None]
            text = f"nodes are not level {CONVERGE_SECONDS:g} s after the load ended: {views}"
            self.violations.append(Violation("not-level", text))
        self.world.run(self.world.now + RECOVERY_SECONDS, self._is_told)
        if not self._is_told():
            text = f"a subscriber does not know what happened {RECOVERY_SECONDS:g} s ago"
            self.violations.append(Violation("event-late", text))
        for node in self.nodes:
            if node.replica is not None:
                index = node.replica.parts.engine.applied_index
                try:
                    self.observer.facts.keep_machine(node.name, index, node.replica.machine)
                    self.observer.watches[node.name].keep_log()
                except StorageError as error:
                    text = f"what {node.name} has cannot be read: {error}"
                    self.violations.append(Violation("unreadable-state", text))

    def _is_told(self) -> bool:
        """Whether every subscriber that is alive knows the newest event."""
        processes = [client.process for client in self.clients]
        alive = {process.name for process in processes if process is not None and process.is_alive}
        latest = {run.who: run for run in self.followed if run.who in alive}
        newest = max((index for index, moves in self.observer.moves.items() if moves), default=0)
        return all(run.told[-1].index == newest for run in latest.values() if run.told)

    def _is_level(self) -> bool:
        replicas = [node.replica for node in self.nodes]
        engines = [replica.parts.engine for replica in replicas if replica is not None]
        if len(engines) < len(self.nodes):
            return False
        indexes = {engine.applied_index for engine in engines}
        return len(indexes) == 1 and indexes == {engine.log.last_index for engine in engines}


def run_in(cluster: SimCluster, scenario: "Scenario", use: Callable[[SimCluster], T]) -> T:
    """Let a scenario play in a new world, and use what came of it before the world ends."""
    gc_was_enabled = gc.isenabled()
    gc.disable()  # Coroutines of dead processes must end when the world does, not at any moment.
    try:
        with ExitStack() as stack:
            stack.enter_context(replaced(cluster.world, cluster.files_of, cluster.plan.limits))
            stack.enter_context(patched(patches(cluster.observer)))
            try:
                cluster.run(scenario)
                return use(cluster)
            finally:
                cluster.world.end()
    finally:
        if gc_was_enabled:
            gc.enable()


def run_scenario(seed: str, name: str, plan: Plan, scenario: "Scenario") -> Result:
    """Run a scenario in a new world and judge it."""
    return run_in(SimCluster(seed, plan), scenario, lambda cluster: _result(name, cluster))


def _result(name: str, cluster: SimCluster) -> Result:
    events = cluster.observer.facts.events
    return Result(
        cluster.world.seed,
        name,
        cluster.world.now,
        cluster.violations,
        cluster.world.trace,
        len(cluster.history),
        sum(1 for event in events if type(event).__name__ == "AppliedEntry"),
    )


Scenario: TypeAlias = Callable[[SimCluster], Awaitable[None]]
