"""Which entries are in the log, and where in which segments, without the entries themselves.

Owns the rule of what a sequence of append, truncate and reset leaves, shared by the running
journal and by recovery, so that both cannot disagree. Does not own bytes. Invariants: the entries
are contiguous; each segment's live entries are a range; segments are forgotten oldest first.
"""

from array import array
from dataclasses import dataclass, field
from typing import NamedTuple


def _numbers() -> "array[int]":
    return array("I")


def _long_numbers() -> "array[int]":
    return array("Q")


class Place(NamedTuple):
    """Where the record of an entry is."""

    segment: "SegmentRange"
    offset: int
    length: int
    term: int


@dataclass(slots=True, eq=False)
class SegmentRange:
    """The entries of one segment that are still in the log; 0 and 0 if none is.

    20 bytes for each entry: there may be hundreds of thousands, and every node has all of them.
    """

    sequence: int
    seed: int
    first_index: int = 0
    last_index: int = 0
    offsets: "array[int]" = field(default_factory=_long_numbers)
    """Of the live entries' records, in the segment's file."""
    lengths: "array[int]" = field(default_factory=_numbers)
    terms: "array[int]" = field(default_factory=_long_numbers)

    def cut_after(self, index: int) -> None:
        """Forget the entries above an index."""
        kept = max(min(index, self.last_index) - self.first_index + 1, 0) if self.first_index else 0
        for numbers in (self.offsets, self.lengths, self.terms):
            del numbers[kept:]
        self.last_index = min(index, self.last_index)
        if not kept:
            self.first_index = self.last_index = 0


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

    def place(self, index: int) -> Place:
        """Return where an entry of the log is."""
        for segment in reversed(self.segments):
            if segment.first_index and segment.first_index <= index:
                break
        else:
            raise AssertionError(f"entry {index} is not in the log")
        assert index <= segment.last_index, f"entry {index} is not in the log"
        position = index - segment.first_index
        offset, length = segment.offsets[position], segment.lengths[position]
        return Place(segment, offset, length, segment.terms[position])

    def append(self, index: int, term: int, offset: int, length: int) -> None:
        """Add an entry to the last segment."""
        active = self.segments[-1]
        if not active.first_index:
            active.first_index = index
        active.last_index = index
        active.offsets.append(offset)
        active.lengths.append(length)
        active.terms.append(term)
        self.next_index = index + 1

    def truncate_after(self, index: int) -> None:
        """Remove the entries above an index."""
        for segment in self.segments:
            segment.cut_after(index)
        self.next_index = index + 1

    def reset(self) -> None:
        """Remove all entries; the next one may have any index."""
        for segment in self.segments:
            segment.cut_after(0)
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
