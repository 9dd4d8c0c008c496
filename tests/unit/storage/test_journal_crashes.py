"""The journal after power cuts at every byte, and the proof that a missing sync is noticed."""

import pytest
from tests.unit.storage.crash_search import Check, call_sites, search, until_power_cut
from tests.unit.storage.journal_model import FOLDER, ModelledJournal, everything

from raftq.testing.memory_files import MemoryFiles


def _run_everything(disk: MemoryFiles) -> Check:
    model = ModelledJournal(disk)
    until_power_cut(lambda: everything(model))

    def check(after: MemoryFiles) -> None:
        restarted = model.after_crash(after)
        restarted.start()
        restarted.append()
        restarted.sync()

    return check


def _crash_while_recovering(disk: MemoryFiles) -> Check:
    """Recover a journal with a torn end; the power goes in the middle of that."""
    first = MemoryFiles()
    model = ModelledJournal(first)
    model.start()
    for size in (20, 20, 20):
        model.append(size)
        model.sync()
    model.append(40)
    model.write_only()
    for name in first.names(FOLDER):
        disk.put(FOLDER / name, first.read(FOLDER / name))
    last = disk.open_append(FOLDER / first.names(FOLDER)[-1])
    recovering = model.after_crash(disk)

    def recover() -> None:
        last.write(b"torn")
        recovering.start()
        recovering.append(1)
        recovering.sync()

    until_power_cut(recover)
    return lambda after: recovering.after_crash(after).start()


SYNCS = {
    "run.sync": "the batch of a group commit",
    "create_segment.sync": "a new segment's header",
    "create_segment.sync_folder": "a new segment's name",
    "run.sync_folder": "the removal of a dropped segment",
    "recover.truncate": "what a restarted node found in the page cache",
}


def test_a_power_cut_at_any_byte_leaves_everything_durable_and_nothing_else() -> None:
    assert search(_run_everything, outcomes=6) is None


def test_a_power_cut_while_recovering_leaves_the_same_log() -> None:
    assert search(_crash_while_recovering, outcomes=6) is None


def test_every_sync_of_the_journal_is_listed() -> None:
    assert call_sites(_run_everything) == SYNCS.keys()


@pytest.mark.parametrize("site", SYNCS)
def test_a_missing_sync_is_caught(site: str) -> None:
    assert search(_run_everything, outcomes=40, lie=site) is not None
