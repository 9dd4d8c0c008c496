"""Which entries are in the log, and in which segments, without the entries themselves.

Owns the rule of what a sequence of append, truncate and reset leaves, shared by the running
journal and by recovery, so that both cannot disagree. Does not own bytes. Invariants: the entries
are contiguous; each segment's live entries are a range; segments are forgotten oldest first.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class SegmentRange:
    """The entries of one segment that are still in the log; 0 and 0 if none is."""

    sequence: int
    first_index: int = 0
    last_index: int = 0


@dataclass(slots=True)
class LogShape:
    """The log as ranges of indices. The last segment is the one that is written to."""

    segments: list[SegmentRange] = field(default_factory=list[SegmentRange])
    next_index: int | None = None
    """The only index that may be appended; None while any may."""

    @property
    def first_index(self) -> int:
        """Index of the first entry, 0 if there is none."""
        return next((s.first_index for s in self.segments if s.first_index), 0)

    @property
    def last_index(self) -> int:
        """Index of the last entry, 0 if there is none."""
        return next((s.last_index for s in reversed(self.segments) if s.last_index), 0)

    def append(self, index: int) -> None:
        """Add an entry to the last segment."""
        active = self.segments[-1]
        if not active.first_index:
            active.first_index = index
        active.last_index = index
        self.next_index = index + 1

    def truncate_after(self, index: int) -> None:
        """Remove the entries above an index."""
        for segment in self.segments:
            if segment.first_index > index:
                segment.first_index = segment.last_index = 0
            segment.last_index = min(segment.last_index, index)
        self.next_index = index + 1

    def reset(self) -> None:
        """Remove all entries; the next one may have any index."""
        for segment in self.segments:
            segment.first_index = segment.last_index = 0
        self.next_index = None

    def forget_through(self, index: int) -> list[int]:
        """Forget the oldest segments that hold no entry above an index; return their numbers.

        Records that truncate or reset only act on older segments. Those go first, so such a
        record is not needed any more when its own segment goes.
        """
        count = 0
        while count < len(self.segments) - 1 and self.segments[count].last_index <= index:
            count += 1
        forgotten = [segment.sequence for segment in self.segments[:count]]
        del self.segments[:count]
        return forgotten
