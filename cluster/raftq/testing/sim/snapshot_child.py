"""The forked child that writes a snapshot, in virtual time.

Fault model, written down before the fake:

- The child has the machine **as it was at the fork** and takes a while; the node goes on.
- It can be **stopped at any step**, by the node or by the fault that takes the node; then any part
  of what it does was done.
- It is a process of its own: when the node is **killed**, it may live on as an orphan and finish
  its file while the next node process is running. Power loss ends it.
"""

import copy
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

from raftq.protocol.errors import CorruptRecord
from raftq.storage.record_chain import Chunk
from raftq.storage.snapshots import SnapshotMeta, SnapshotStore
from raftq.testing.sim.disk import ProcessFiles, SimDisk
from raftq.testing.sim.loop import Process, ProcessKilled


class _Child:
    """The child as the owner of file operations."""

    def __init__(self) -> None:
        self.is_alive = True

    def spend(self, seconds: float) -> None:
        """Do nothing: the child blocks only itself."""


class ForkingStore(SnapshotStore):
    """The node's snapshot store; what the child is told to write is kept for it."""

    def __init__(self, files: ProcessFiles, folder: Path) -> None:
        super().__init__(files, folder)
        self.at_fork: tuple[SnapshotMeta, list[Chunk]] | None = None

    def write(self, meta: SnapshotMeta, chunks: Iterable[Chunk]) -> None:
        """Take the state as it is at the fork."""
        self.at_fork = (meta, list(chunks))


class SimBackground:
    """Runs a snapshot's writing as a child of a simulated node; implements `Background`.

    Args:
        disk: The machine's disk.
        process: The node.
        store: The node's snapshots.
        seconds: The mean time of a snapshot.
    """

    def __init__(
        self, disk: SimDisk, process: Process, store: ForkingStore, seconds: float
    ) -> None:
        self._disk = disk
        self._process = process
        self._store = store
        self._seconds = seconds
        self._child: _Child | None = None
        self._outcome: bool | None = None
        self._damage: CorruptRecord | None = None
        self._write: Callable[[], None] = lambda: None

    def start(self, job: Callable[[], None], keep: Collection[int]) -> None:
        """Fork; the child reads everything at once."""
        self._damage = None
        try:
            job()
        except CorruptRecord as error:
            self._damage = error
            return
        assert self._store.at_fork is not None
        meta, chunks = self._store.at_fork
        child = self._child = _Child()
        self._outcome = None
        files = ProcessFiles(self._disk, child)
        store = copy.copy(self._store)
        vars(store)["_files"] = files
        self._write = lambda: files.beside(lambda: SnapshotStore.write(store, meta, chunks))
        inner = self._disk.files
        duration = self._disk.random.expovariate(1 / self._seconds) * self._disk.slowness
        self._disk.world.after(
            duration, lambda: self._finish(child) if self._disk.files is inner else None
        )

    def poll(self) -> bool | None:
        """Return None while the child runs, else whether it succeeded."""
        if self._damage is not None:
            raise self._damage
        if self._child is None:
            return False
        return self._outcome

    def stop(self) -> None:
        """Kill the child."""
        self.interrupt()

    def interrupt(self) -> None:
        """End the child in the middle of its work."""
        child = self._child
        if child is None or not child.is_alive:
            return
        chunks = self._store.at_fork[1] if self._store.at_fork else []
        size = sum(len(c) if isinstance(c, bytes) else len(c.body) for c in chunks)
        steps = self._disk.random.randint(0, size + 1_500)
        files = self._disk.files
        before, on_power_cut = files.steps_max, self._disk.on_power_cut
        self._disk.on_power_cut = lambda: None
        self._disk.cut_in(steps)
        with suppress(ProcessKilled, Exception):
            self._write()
        files.steps_max, self._disk.on_power_cut = before, on_power_cut
        child.is_alive = False
        self._outcome = False

    def node_was_killed(self) -> None:
        """Decide whether the child lives on as an orphan."""
        if self._disk.random.random() < 0.5:
            self.interrupt()

    def _finish(self, child: _Child) -> None:
        if not child.is_alive:
            return
        try:
            self._write()
        except (ProcessKilled, Exception):
            succeeded = False
        else:
            succeeded = True
        child.is_alive = False
        if child is self._child:
            self._outcome = succeeded
