"""Watches every node each time that it has done something, and keeps facts for the checks."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from google_crc32c import value as crc32c

from raftq.consensus.leader_clock import GRACE_MS, LeaderClock
from raftq.consensus.raft.engine import Engine
from raftq.consensus.raft.members import MemberList
from raftq.consensus.raft.probation import Memory
from raftq.consensus.raft.raft_log import RaftLog
from raftq.core.applied import Event as MovedTasks
from raftq.core.machine import Machine
from raftq.core.state import State
from raftq.core.task import Task
from raftq.protocol.errors import CorruptRecord
from raftq.storage.snapshots import SnapshotMeta, SnapshotStore
from raftq.testing.checks import Violation
from raftq.testing.checks.task_model import Move
from raftq.testing.facts import (
    AppliedEntry,
    ClusterFacts,
    LeaderSeen,
    LeaseExpired,
    LogSeen,
    NodeSeen,
    NodeStarted,
    SnapshotInstalled,
)
from raftq.testing.sim.node import ObservedReplica, SimNode
from raftq.testing.sim.patching import Patch, original
from raftq.testing.sim.words import Words
from raftq.testing.sim.world import WALL_AT_MS, World

RIGHT_CLOCKS_MS: Final = 50.0
"""The most by which wall time is wrong, either way, where a scenario sets no clock wrong."""
Inside: TypeAlias = Any
"""Production objects, of which the observer sees private parts on purpose."""
_GRACE_MS: Final = GRACE_MS * 0.95
"""The true time, at least, of a leader's grace period: its clock may run 2 % fast."""
_SEEN_EVERY_SECONDS: Final = 0.25
"""Terms are recorded at each change; indexes grow all the time and are recorded now and then."""


class Observer:
    """Collects the facts of one world.

    Args:
        world: What is watched.
        wall_error_ms: The most by which a machine's wall time may be ahead.
    """

    def __init__(self, world: World, wall_error_ms: float) -> None:
        self.world = world
        self.wall_error_ms = wall_error_ms
        self.facts = ClusterFacts()
        self.violations: list[Violation] = []
        """What no record shows."""
        self.watches: dict[str, NodeWatch] = {}
        self.words = Words()
        self.moves: dict[int, list[MovedTasks]] = {}
        """What became of tasks, by log index; the same on every node."""

    def moves_in_order(self) -> Iterator[Move]:
        """Yield what became of each task, in the order of the log."""
        for index, moved in sorted(self.moves.items()):
            for state, queue, ids in moved:
                yield from (Move(index, state, queue, task_id) for task_id in ids)

    def on_started(self, node: SimNode) -> None:
        """Watch a node's new process."""
        assert node.replica is not None
        self.facts.events.append(NodeStarted(self.world.now_ms, node.name, node.is_wiped))
        watch = self.watches[node.name] = NodeWatch(self, node, node.replica)
        node.replica.watcher = watch

    def on_time_back(self, node: str, before: tuple[int, int], now: tuple[int, int]) -> None:
        """A machine's lease time or wall time went back."""
        text = f"lease time and wall time of {node} went from {before} back to {now}"
        self._violate("time-back", text)

    def on_time(self, node: str, wall_now_ms: int) -> None:
        """A machine's wall time was moved: not ahead of what is true, or delays end early."""
        ahead_ms = wall_now_ms - WALL_AT_MS - self.world.now_ms
        if ahead_ms > self.wall_error_ms:
            text = f"wall time of {node} is {ahead_ms:.0f} ms ahead (at {self.world.now_ms:.1f} ms)"
            self._violate("time-ahead", text)

    def on_stamp(self, clock: LeaderClock, wall_at_ms: int) -> None:
        """A leader stamps an entry: not with a time that was, or a delay that begins with it ends
        early when wall time is right again."""
        if self.wall_error_ms > RIGHT_CLOCKS_MS:
            return  # Of two clocks that disagree, the one that is behind counts to begin with.
        if self._is_superseded(clock):
            return  # It was frozen, and does not know yet; its entries are never committed.
        behind_ms = WALL_AT_MS + self.world.now_ms - wall_at_ms
        if behind_ms > RIGHT_CLOCKS_MS:
            text = f"an entry was stamped {behind_ms:.0f} ms behind (at {self.world.now_ms:.1f} ms)"
            self._violate("time-behind", text)

    def _is_superseded(self, clock: LeaderClock) -> bool:
        replicas = self._replicas()
        own = next((r.parts.engine for r in replicas if r.parts.clock is clock), None)
        leaders = [r.parts.engine for r in replicas if r.parts.engine.is_leader]
        return own is not None and any(leader.term > own.term for leader in leaders)

    def on_clocks(self, node: str, known: int, majority: int) -> None:
        """A node begins to answer as a leader: not before it knows the clocks of a majority."""
        if known < majority:
            text = f"{node} leads, and knows {known} of {majority} clocks"
            self._violate("unheard", f"{text} (at {self.world.now_ms:.1f} ms)")

    def on_cut(self, log: RaftLog, position: int) -> None:
        """A node cuts off the end of its log: never entries that its leader has, too."""
        owner = next((r for r in self._replicas() if r.parts.log is log), None)
        if owner is None:
            return
        term = owner.parts.engine.term
        for other in self._replicas():
            engine = other.parts.engine
            if other is owner or not engine.is_leader or engine.term != term:
                continue
            for entry in log.entries_from(log.first_index + position):
                theirs = other.parts.log
                held = theirs.first_index <= entry.index <= theirs.last_index
                if held and theirs.term_at(entry.index) == entry.term:
                    self._violate(
                        "matching-cut",
                        f"{owner.config.node} cut off entry {entry.index} of term {entry.term}, "
                        f"which its leader {other.config.node} has, too "
                        f"(at {self.world.now_ms:.1f} ms)",
                    )
                    return

    def on_committed(self, leader: ObservedReplica, index: int) -> None:
        """A leader counts an entry as committed: a majority of the voters has it on its disk.

        The voters are those of the newest list in the leader's log. Who came back with an empty
        disk had it, for all that is known; who is down, if its log had it when it went.
        """
        log = leader.parts.log
        if not log.first_index <= index <= log.last_index:
            return
        term = log.term_at(index)
        voters = log.members.at(log.last_index)[1].voters
        lacking = [voter for voter in voters if self._lacks(voter, index, term)]
        if 2 * (len(voters) - len(lacking)) <= len(voters):
            self._violate(
                "commit-quorum",
                f"{leader.config.node} counts entry {index} of term {term} as committed, which "
                f"{', '.join(lacking)} of {', '.join(voters)} lack (at {self.world.now_ms:.1f} ms)",
            )

    def _lacks(self, voter: str, index: int, term: int) -> bool:
        watch = self.watches.get(voter)
        if watch is None:
            return False
        parts = watch.replica.parts
        log = parts.log
        if parts.membership.probation.memory is not Memory.KEPT:
            return False
        if index < log.first_index:
            return False  # Its snapshot has it.
        if index > log.last_index or log.term_at(index) != term:
            return True
        return watch.is_alive and index > max(log.journal.durable_index, log.first_index + 1)

    def on_leading(self, leader: ObservedReplica) -> None:
        """A node answers as a leader: not before an entry of its own term is committed."""
        engine, log = leader.parts.engine, leader.parts.log
        index = engine.commit_index
        if log.first_index <= index <= log.last_index and log.term_at(index) != engine.term:
            self._violate(
                "early-leader",
                f"{leader.config.node} answers in term {engine.term}, of which nothing is "
                f"committed (at {self.world.now_ms:.1f} ms)",
            )

    def on_grace(self, node: str, led_ms: float, aged_ms: int) -> None:
        """A leader applied an entry: leases do not age while workers find out who leads.

        Args:
            node: The leader.
            led_ms: For how long it has led.
            aged_ms: How far lease time has moved meanwhile.
        """
        if led_ms < _GRACE_MS and aged_ms > 0:
            text = f"{node} let leases age by {aged_ms} ms in the first {led_ms:.0f} ms of its lead"
            self._violate("no-grace", f"{text} (at {self.world.now_ms:.1f} ms)")

    def on_snapshot_named(self, before: SnapshotMeta | None, now: SnapshotMeta | None) -> None:
        """A snapshot file took the place of the current one: it is not an older one."""
        if before is not None and now is not None and now.last_index < before.last_index:
            text = f"a snapshot of {before.last_index} was replaced by one of {now.last_index}"
            self._violate("older-snapshot", f"{text} (at {self.world.now_ms:.1f} ms)")

    def on_list_proposed(self, engine: Engine) -> None:
        """A leader appends a member list: not before an entry of its own term is committed."""
        if engine.is_leader and engine.read_index is None:
            text = f"a list was appended in term {engine.term}, of which nothing was committed"
            self._violate("hasty-list", f"{text} (at {self.world.now_ms:.1f} ms)")

    def _replicas(self) -> list[ObservedReplica]:
        return [watch.replica for watch in self.watches.values() if watch.is_alive]

    def _violate(self, rule: str, text: str) -> None:
        """Keep a violation, the first one of its rule."""
        if not any(violation.rule == rule for violation in self.violations):
            self.world.note(f"violated: {rule}")
            self.violations.append(Violation(rule, text))

    def on_expired(self, task: Task) -> None:
        """A machine lets a lease run out."""
        process = self.world.current
        if process is not None:
            node = process.name.partition(".")[0]
            self.facts.events.append(LeaseExpired(self.world.now_ms, node, task.id, task.token))


class NodeWatch:
    """What was last seen of one process of a node; implements `node.Watcher`."""

    def __init__(self, observer: Observer, node: SimNode, replica: ObservedReplica) -> None:
        self._observer = observer
        self._world = observer.world
        self._events = observer.facts.events
        self._node = node.name
        self._process = node.process
        self.replica = replica
        self._machine: Machine = replica.machine
        self._term = -1
        self._leads: int | None = None
        self._seen_at = -1.0
        self._times = (0, 0)
        self._committed = 0
        self._led_since: tuple[float, int] | None = None
        """(true time, lease time) when it began to answer as a leader."""

    @property
    def is_alive(self) -> bool:
        """Whether the process is running, and has not fallen silent."""
        process = self._process
        return process is not None and process.is_alive and not self.replica.failed.done()

    def after_tick(self) -> None:
        """Notice what the last tick changed."""
        if self.replica.failed.done():
            return  # It fell silent; what it had not made durable it has told nobody.
        engine = self.replica.parts.engine
        term = engine.term
        self._notice_snapshot(engine.applied_index)
        leads = term if engine.is_leader else None
        if leads != self._leads:
            self._leads = leads
            if leads is not None:
                self._world.note(f"{self._node} leads term {term}")
                self._events.append(LeaderSeen(self._world.now_ms, self._node, term))
                self._keep_log(leads)
        self._notice_lead()
        if leads is not None and engine.commit_index > self._committed:
            self._observer.on_committed(self.replica, engine.commit_index)
        self._committed = engine.commit_index
        now = self._world.now
        if term != self._term or now >= self._seen_at + _SEEN_EVERY_SECONDS:
            self._term, self._seen_at = term, now
            self._events.append(
                NodeSeen(
                    self._world.now_ms,
                    self._node,
                    term,
                    engine.commit_index,
                    engine.applied_index,
                )
            )

    def _notice_lead(self) -> None:
        if not self.replica.is_leader:
            self._led_since = None
        elif self._led_since is None:
            self._led_since = self._world.now_ms, self.replica.machine.lease_now_ms
            self._observer.on_leading(self.replica)
            clock: Inside = self.replica.parts.clock
            self._observer.on_clocks(self._node, 1 + len(clock._heard), clock._majority())

    def before_entry(self) -> None:
        """Notice a snapshot that came before the next entry."""
        self._notice_snapshot(self.replica.parts.engine.applied_index)

    def after_entry(self, index: int, entry: bytes, moves: list[MovedTasks]) -> None:
        """Record an applied entry."""
        self._observer.moves.setdefault(index, moves)
        parts = self.replica.parts
        log = parts.log
        held = log.first_index <= index <= log.last_index
        machine = self.replica.machine
        times = (machine.lease_now_ms, machine.wall_now_ms)
        if times[0] < self._times[0] or times[1] < self._times[1]:
            self._observer.on_time_back(self._node, self._times, times)
        self._times = times
        self._observer.on_time(self._node, machine.wall_now_ms)
        if self._led_since is not None and self.replica.is_leader:
            began_at_ms, lease_at_ms = self._led_since
            led_ms, aged_ms = self._world.now_ms - began_at_ms, machine.lease_now_ms - lease_at_ms
            self._observer.on_grace(self._node, led_ms, aged_ms)
        self._events.append(
            AppliedEntry(
                self._world.now_ms,
                self._node,
                index,
                log.term_at(index) if held else 0,
                crc32c(entry),
                machine.state_hash,
                parts.engine.term,
            )
        )

    def keep_log(self) -> None:
        """Record the log as it is."""
        self._keep_log(self._leads)

    def _notice_snapshot(self, index: int) -> None:
        machine = self.replica.machine
        if machine is not self._machine:
            self._machine = machine
            self._world.note(f"{self._node} loads a snapshot of index {index}")
            self._events.append(
                SnapshotInstalled(self._world.now_ms, self._node, index, machine.state_hash)
            )

    def _keep_log(self, leads_term: int | None) -> None:
        log = self.replica.parts.log
        entries = list(log.entries_from(log.first_index))
        self._events.append(
            LogSeen(
                self._world.now_ms,
                self._node,
                entries[0].index,
                [entry.term for entry in entries],
                [crc32c(entry.command) for entry in entries],
                leads_term,
            )
        )


def _meta_of(store: SnapshotStore) -> SnapshotMeta | None:
    try:
        return store.read_meta()
    except CorruptRecord:
        return None


def patches(observer: Observer) -> list[Patch]:
    """Return the patches that tell an observer of what no seam shows: leases that run out, and
    ends of logs that are cut off."""
    expire = cast(Callable[[State, Task], None], original(State, "_expire"))
    make_current = cast(
        Callable[[SnapshotStore, Path], None], original(SnapshotStore, "_make_current")
    )
    propose = cast(
        Callable[[Engine, MemberList, Callable[[bool], None]], None],
        original(Engine, "propose_members"),
    )
    stamp = cast(Callable[[LeaderClock], tuple[int, int]], original(LeaderClock, "stamp"))
    delete = cast(Callable[[RaftLog, int], None], original(RaftLog, "deleteEntriesFrom"))

    def watched_expire(state: State, task: Task) -> None:
        observer.on_expired(task)
        expire(state, task)

    def watched_stamp(clock: LeaderClock) -> tuple[int, int]:
        stamped = stamp(clock)
        observer.on_stamp(clock, stamped[1])
        return stamped

    def watched_delete(log: RaftLog, position: int) -> None:
        observer.on_cut(log, position)
        delete(log, position)

    def watched_make_current(store: SnapshotStore, path: Path) -> None:
        before = _meta_of(store)
        make_current(store, path)
        observer.on_snapshot_named(before, _meta_of(store))

    def watched_propose(engine: Engine, members: MemberList, done: Callable[[bool], None]) -> None:
        observer.on_list_proposed(engine)
        propose(engine, members, done)

    return [
        *observer.words.patches(),
        (State, "_expire", watched_expire),
        (LeaderClock, "stamp", watched_stamp),
        (RaftLog, "deleteEntriesFrom", watched_delete),
        (Engine, "propose_members", watched_propose),
        (SnapshotStore, "_make_current", watched_make_current),
    ]
