"""A slow, obvious model of the journal, and a check of what a crash may leave of it.

The model is the list of states that the log went through: one after each change. A crash may
leave any of them from the last durable one on, less entries that were allowed to be dropped.
"""

from collections.abc import Callable
from pathlib import Path

from raftq.storage.journal import Journal, JournalEntry
from raftq.testing.memory_files import MemoryFiles

FOLDER = Path("/data/journal")
SEGMENT_BYTES = 260
"""Small enough that a few entries fill a segment."""


class ModelledJournal:
    """A journal and the states that it went through."""

    def __init__(self, disk: MemoryFiles, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.disk = disk
        self._segment_bytes = segment_bytes
        self.states: list[list[JournalEntry]] = [[]]
        self.durable = 0
        """The number of the state that is certainly durable."""
        self.dropped_through = 0
        self.journal: Journal | None = None
        self._term = 0
        self._gap = 1

    @property
    def entries(self) -> list[JournalEntry]:
        """The log as it is now."""
        return self.states[-1]

    @property
    def opened(self) -> Journal:
        """The open journal."""
        assert self.journal is not None, "call start first"
        return self.journal

    def start(self) -> None:
        """Open the journal, check what it recovered; from now on that is what is durable."""
        journal = Journal.open(self.disk, FOLDER, segment_bytes=self._segment_bytes)
        recovered = list(journal.entries())
        self.check_recovered(recovered)
        assert (journal.first_index, journal.last_index) == _ends(recovered)
        if recovered:
            assert journal.durable_index == journal.last_index
        self.journal = journal
        self.states = [recovered]
        self.durable = 0
        self.dropped_through = 0  # What was not removed by now stays until it is dropped again.

    def after_crash(self, disk: MemoryFiles) -> "ModelledJournal":
        """Return the model of the next start, on what the crash left."""
        after = ModelledJournal(disk, self._segment_bytes)
        after.states, after.durable = self.states, self.durable
        after.dropped_through = self.dropped_through
        after._term = self._term
        return after

    def check_recovered(self, recovered: list[JournalEntry]) -> None:
        """Fail unless the crash may have left this."""
        allowed = self.states[self.durable :]
        assert any(self._is_left_of(state, recovered) for state in allowed), (
            f"recovered {recovered}; durable was {allowed[0]}, newest {allowed[-1]}, "
            f"dropped through {self.dropped_through}"
        )

    def _is_left_of(self, state: list[JournalEntry], recovered: list[JournalEntry]) -> bool:
        start = len(state) - len(recovered)
        missing = state[: max(start, 0)]
        return recovered == state[max(start, 0) :] and all(
            entry.index <= self.dropped_through for entry in missing
        )

    def append(self, size: int = 3) -> None:
        """Append an entry after the last."""
        self._term += 1  # Unlike any other entry, also under the same index.
        command = (b"%d-" % self._term * size)[:size]
        index = self.entries[-1].index + 1 if self.entries else self._start_index()
        self.states.append([*self.entries, JournalEntry(command, index, self._term)])
        self.opened.append(index, self._term, command)

    def _start_index(self) -> int:
        """Return where an empty log goes on: behind the last entry that it ever had."""
        return max((e.index for state in self.states for e in state), default=0) + self._gap

    def truncate_to(self, kept: int) -> None:
        """Keep the first entries only; one that was not allowed to be dropped is always kept."""
        if 0 < kept < len(self.entries) and self.entries[kept - 1].index > self.dropped_through:
            self.states.append(self.entries[:kept])
            self.opened.truncate_after(self.entries[-1].index)

    def reset(self, gap: int) -> None:
        """Empty the log and go on `gap` behind its last entry."""
        self.opened.reset()
        self.states.append([])
        self._gap = gap
        self.append()

    def drop(self, count: int) -> None:
        """Allow the first entries to go; never the last one."""
        if 0 < count < len(self.entries):
            self.dropped_through = max(self.dropped_through, self.entries[count - 1].index)
            self.opened.drop_through(self.entries[count - 1].index)

    def sync(self) -> None:
        """Make everything durable, and remove dropped segments."""
        while (job := self.opened.begin_sync()) is not None:
            states = len(self.states)
            job.run()
            self.opened.finish_sync(job)
            self.check_written()
            self.durable = states - 1
            self.check_durable_index()

    def write_only(self) -> None:
        """Write to the page cache without syncing; only a restart may follow."""
        self.opened.begin_sync()

    def check_written(self) -> None:
        """Fail unless every entry that was written reads back as it was appended."""
        first, last = self.opened.first_index, self.opened.written_index
        written = [each for each in self.entries if first <= each.index <= last]
        assert [self.opened.read(each.index) for each in written] == written

    def check_durable_index(self) -> None:
        """Fail unless the durable index stands where the durable state and the newest agree."""
        durable, newest = self.states[self.durable], self.entries
        agreed = [entry.index for entry in newest if entry in durable]
        assert self.opened.durable_index == (agreed[-1] if agreed else 0)
        assert self.opened.durable_sequence <= self.opened.sequence


def _ends(entries: list[JournalEntry]) -> tuple[int, int]:
    return (entries[0].index, entries[-1].index) if entries else (0, 0)


Script = Callable[[ModelledJournal], None]


def everything(model: ModelledJournal) -> None:
    """Do each kind of change, with rotations in between."""
    model.start()
    for size in (3, 1, 30):
        model.append(size)
    model.sync()
    model.append()
    model.append()
    model.truncate_to(2)
    model.append(5)
    model.sync()  # Fills the first segment.
    model.append(60)
    model.sync()
    model.append(60)
    model.sync()  # Fills the second.
    model.append()
    model.truncate_to(2)  # Acts on the first, from the third.
    model.append(4)
    model.sync()
    model.append(150)
    model.sync()  # Fills the third.
    model.append(2)
    model.append(2)
    model.drop(len(model.entries) - 1)
    model.sync()
    model.append(1)
    model.reset(gap=10)
    model.append(8)
    model.sync()
    model.append(1)
    model.write_only()
    model.start()
    for _ in range(3):
        model.append(170)
        model.sync()  # Fills a segment each, which the reset makes worthless.
    model.reset(gap=1)
    model.sync()
