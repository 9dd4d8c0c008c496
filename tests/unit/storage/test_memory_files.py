"""The disk in memory loses what its fault model says, and nothing else."""

import errno
from pathlib import Path
from random import Random

import pytest

from raftq.testing.memory_files import Keep, Kept, MemoryFiles, PowerCut

FOLDER = Path("/folder")
PATH = FOLDER / "file"


def _outcomes(disk: MemoryFiles, path: Path = PATH) -> set[bytes | None]:
    """Return what many crashes leave of a file; None if its name is lost."""
    keeps: list[Kept] = [Keep.NOTHING, Keep.EVERYTHING, *map(Random, range(300))]
    crashed = [disk.crash(keep) for keep in keeps]
    return {d.read(path) if path.name in d.names(path.parent) else None for d in crashed}


def _written(content: bytes, page_bytes: int = 16) -> MemoryFiles:
    """Return a disk with a file whose name is durable and whose content is not."""
    disk = MemoryFiles(page_bytes)
    disk.put(PATH, b"")
    disk.open_append(PATH).write(content)
    return disk


def test_what_was_synced_survives_every_crash() -> None:
    disk = MemoryFiles()
    file = disk.open_append(PATH)
    file.write(b"synced")
    file.sync()
    disk.sync_folder(FOLDER)
    assert _outcomes(disk) == {b"synced"}


def test_the_name_of_a_synced_file_may_be_lost() -> None:
    disk = MemoryFiles()
    file = disk.open_append(PATH)
    file.write(b"synced")
    file.sync()
    assert _outcomes(disk) == {None, b"synced"}


def test_unsynced_bytes_survive_as_any_prefix() -> None:
    assert _outcomes(_written(b"abc")) >= {b"", b"a", b"ab", b"abc"}


def test_unsynced_pages_survive_in_any_order_as_zeros_or_content() -> None:
    outcomes = _outcomes(_written(b"aabb", page_bytes=2))
    assert {b"aa\0\0", b"\0\0bb", b"aabb"} <= outcomes
    assert all(o is not None and len(o) <= 4 for o in outcomes)


def test_an_unsynced_rename_happened_or_not() -> None:
    disk = MemoryFiles()
    disk.put(PATH, b"old")
    disk.put(FOLDER / "new", b"new")
    disk.rename(FOLDER / "new", PATH)
    assert disk.read(PATH) == b"new"
    assert _outcomes(disk) == {b"old", b"new"}
    disk.sync_folder(FOLDER)
    assert _outcomes(disk) == {b"new"}


def test_an_unsynced_removal_happened_or_not() -> None:
    disk = MemoryFiles()
    disk.put(PATH, b"old")
    disk.remove(PATH)
    assert disk.names(FOLDER) == []
    assert _outcomes(disk) == {b"old", None}


def test_a_cut_that_was_not_finished_happened_or_not() -> None:
    disk = MemoryFiles()
    disk.put(PATH, b"12345")
    disk.steps_max = disk.steps + 1
    with pytest.raises(PowerCut):
        disk.truncate(PATH, 2)
    assert _outcomes(disk) == {b"12345", b"12"}
    disk.steps_max = None
    disk.truncate(PATH, 2)
    assert _outcomes(disk) == {b"12"}


def test_a_failed_sync_has_lost_its_pages_for_good() -> None:
    disk = _written(b"lost")
    file = disk.open_append(PATH)

    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    disk.before_sync = fail
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    disk.before_sync = lambda _: None
    file.write(b"+later")
    file.sync()
    assert disk.read(PATH) == b"lost+later"
    assert _outcomes(disk) == {bytes(4) + b"+later"}


def test_a_lying_disk_makes_nothing_durable() -> None:
    disk = _written(b"abc")
    disk.is_lying = lambda _: True
    disk.open_append(PATH).sync()
    disk.sync_folder(FOLDER)
    disk.truncate(PATH, 2)
    assert disk.crash(Keep.NOTHING).read(PATH) == b""


def test_a_full_disk_takes_what_fits() -> None:
    disk = MemoryFiles()
    disk.capacity_bytes = 5
    file = disk.open_append(PATH)
    file.write(b"123")
    with pytest.raises(OSError, match="No space left"):
        file.write(b"456")
    assert disk.read(PATH) == b"12345"


def test_a_power_cut_tears_a_write_at_the_chosen_byte() -> None:
    disk = MemoryFiles()
    file = disk.open_append(PATH)
    disk.steps_max = disk.steps + 2
    with pytest.raises(PowerCut):
        file.write(b"123")
    assert disk.read(PATH) == b"12"
    with pytest.raises(PowerCut):
        file.sync()


def test_a_crash_leaves_the_disk_before_it_for_other_outcomes() -> None:
    disk = _written(b"abc")
    after = disk.crash(Keep.EVERYTHING)
    after.open_append(PATH).write(b"more")
    after.flip_bit(PATH, 0)
    assert disk.read(PATH) == b"abc"
