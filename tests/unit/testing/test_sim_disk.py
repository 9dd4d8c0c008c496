"""The simulator's disk and snapshot child keep their fault models."""

from functools import partial
from pathlib import Path

import pytest
from tests.support.snapshots import load_all

from raftq.storage.snapshots import SnapshotMeta
from raftq.testing.memory_files import Keep
from raftq.testing.sim.disk import ProcessFiles, SimDisk, SimOffload
from raftq.testing.sim.loop import Clock, Process, ProcessKilled, new_process
from raftq.testing.sim.network import HostNetwork, SimNetwork
from raftq.testing.sim.snapshot_child import ForkingStore, SimBackground
from raftq.testing.sim.world import World

PATH = Path("/n1/file")
META = SnapshotMeta(5, 1, 4, 1, b"last", b"previous", "hash", ["n1"], None)


class Machine:
    """A disk and a process on it."""

    def __init__(self, seed: str = "disk") -> None:
        self.world = World(seed)
        network = HostNetwork(SimNetwork(self.world), "n1")
        self.disk = SimDisk(self.world, "n1")
        self.process: Process = new_process(
            self.world, "n1.1", Clock(self.world, "n1", 0.0), network
        )
        self.files = ProcessFiles(self.disk, self.process)

    def write(self, data: bytes) -> None:
        self.files.open_append(PATH).write(data)


def test_a_dead_process_changes_nothing() -> None:
    machine = Machine()
    file = machine.files.open_append(PATH)
    machine.process.kill()
    with pytest.raises(ProcessKilled):
        file.write(b"too late")
    assert machine.disk.files.read(PATH) == b""


def test_a_process_can_be_cut_off_between_two_bytes() -> None:
    machine = Machine()
    cuts: list[bool] = []
    machine.disk.on_power_cut = lambda: cuts.append(True)
    file = machine.files.open_append(PATH)
    machine.disk.cut_in(3)
    with pytest.raises(ProcessKilled):
        file.write(b"abcdef")
    assert cuts == [True]
    assert machine.disk.files.read(PATH) == b"abc"


def test_a_loss_of_power_forgets_what_was_not_synced() -> None:
    machine = Machine()
    machine.write(b"written")
    machine.disk.lose_power(Keep.NOTHING)
    assert machine.disk.files.names(PATH.parent) == []


def test_a_failing_disk_fails_the_next_sync_only() -> None:
    machine = Machine()
    file = machine.files.open_append(PATH)
    machine.disk.syncs_to_fail = 1
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    file.sync()


def test_a_sync_beside_the_loop_takes_the_disks_time() -> None:
    machine = Machine()
    machine.disk.slowness = 100.0
    file = machine.files.open_append(PATH)
    file.write(b"slow")
    done = SimOffload(machine.disk, machine.process, machine.files)(file.sync)
    machine.world.run(0.01)
    assert not done.done()
    machine.world.run(5.0)
    assert done.done()
    assert machine.disk.files.crash(Keep.NOTHING).names(PATH.parent) == []  # Its name is not.


def test_a_snapshot_has_the_state_of_the_fork_and_takes_time() -> None:
    machine = Machine()
    store = ForkingStore(machine.files, Path("/n1/snapshots"))
    child = SimBackground(machine.disk, machine.process, store, 0.05)
    state = [b"at the fork"]
    child.start(lambda: store.write(META, state), [])
    state[0] = b"later"
    assert child.poll() is None
    machine.world.run(5.0)
    assert child.poll() is True
    assert load_all(store) == (META, [b"at the fork"])


def test_a_child_that_is_stopped_leaves_any_part_of_its_work() -> None:
    found: set[bool] = set()
    for seed in range(40):
        machine = Machine(f"child {seed}")
        store = ForkingStore(machine.files, Path("/n1/snapshots"))
        child = SimBackground(machine.disk, machine.process, store, 0.05)
        child.start(partial(store.write, META, [bytes(3_000)]), [])
        child.stop()
        assert child.poll() is False
        machine.world.run(5.0)
        found.add("current.snapshot" in machine.disk.files.names(Path("/n1/snapshots")))
    assert found == {True, False}


@pytest.mark.parametrize("has_power", [True, False])
def test_an_orphan_may_finish_after_its_node_was_killed_but_not_without_power(
    has_power: bool,
) -> None:
    finished: set[bool] = set()
    for seed in range(20):
        machine = Machine(f"orphan {seed}")
        store = ForkingStore(machine.files, Path("/n1/snapshots"))
        child = SimBackground(machine.disk, machine.process, store, 0.05)
        child.start(partial(store.write, META, [b"state"]), [])
        machine.process.kill()
        if has_power:
            child.node_was_killed()
        else:
            machine.disk.lose_power(Keep.NOTHING)
        machine.world.run(5.0)
        finished.add("current.snapshot" in machine.disk.files.names(Path("/n1/snapshots")))
    assert finished == ({True, False} if has_power else {False})
