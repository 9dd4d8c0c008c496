"""The journal against a list, in any order of changes, syncs, kills and power cuts."""

from collections.abc import Callable
from contextlib import suppress
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.unit.storage.journal_model import ModelledJournal

from raftq.testing.memory_files import Keep, Kept, MemoryFiles, PowerCut

_KEEPS: st.SearchStrategy[Kept] = st.one_of(
    st.sampled_from(Keep), st.integers(0, 2**32).map(Random)
)

_CHANGES: list[Callable[[ModelledJournal], None]] = [
    lambda model: model.append(5),
    lambda model: model.truncate_to(2),
    lambda model: model.reset(gap=3),
    lambda model: model.drop(2),
]


class JournalMachine(RuleBasedStateMachine):
    """Drives a journal and its model; the model checks each restart."""

    def __init__(self) -> None:
        super().__init__()
        self.model = ModelledJournal(MemoryFiles())

    @initialize(segment_bytes=st.sampled_from([1, 200, 1_000, 100_000]))
    def begin(self, segment_bytes: int) -> None:
        self.model = ModelledJournal(MemoryFiles(), segment_bytes)
        self.model.start()

    @rule(sizes=st.lists(st.integers(0, 80), min_size=1, max_size=4))
    def append(self, sizes: list[int]) -> None:
        for size in sizes:
            self.model.append(size)

    @rule(kept=st.integers(1, 12))
    def truncate(self, kept: int) -> None:
        self.model.truncate_to(kept)

    @rule(gap=st.integers(1, 3))
    def reset(self, gap: int) -> None:
        self.model.reset(gap)

    @rule(count=st.integers(1, 12))
    def drop(self, count: int) -> None:
        self.model.drop(count)

    @rule()
    def sync(self) -> None:
        self.model.sync()

    @rule(changes=st.lists(st.sampled_from(_CHANGES), max_size=4))
    def change_while_a_sync_runs(self, changes: list[Callable[[ModelledJournal], None]]) -> None:
        """Change the log between the two halves of a group commit."""
        job = self.model.opened.begin_sync()
        durable = len(self.model.states) - 1
        for change in changes:
            change(self.model)
        if job is not None:
            job.run()
            self.model.opened.finish_sync(job)
            self.model.durable = durable
            self.model.check_durable_index()

    @rule()
    def kill(self) -> None:
        """Lose the process, but not what it gave to the kernel."""
        self.model.write_only()
        self.model.start()

    @rule(keep=st.none() | _KEEPS, steps=st.integers(0, 400), again=st.none() | st.integers(0, 150))
    def stop_in_a_sync(self, keep: Kept | None, steps: int, again: int | None) -> None:
        """Cut the power (or with None kill the process) in a sync, perhaps also in recovery."""
        self.model.disk.steps_max = self.model.disk.steps + steps
        with suppress(PowerCut):
            self.model.sync()
        self._restart(keep)
        if again is not None:
            self.model.disk.steps_max = self.model.disk.steps + again
        try:
            self.model.start()
        except PowerCut:
            self._restart(keep)
            self.model.start()
        self.model.disk.steps_max = None

    def _restart(self, keep: Kept | None) -> None:
        disk = self.model.disk
        self.model = self.model.after_crash(disk if keep is None else disk.crash(keep))
        self.model.disk.steps_max = None

    @invariant()
    def the_ends_are_those_of_the_log(self) -> None:
        if self.model.journal is None:
            return
        self.model.check_durable_index()
        self.model.check_written()
        entries = self.model.entries
        assert self.model.opened.last_index == (entries[-1].index if entries else 0)
        if entries:
            assert self.model.opened.first_index <= max(
                entries[0].index, self.model.dropped_through + 1
            )


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
