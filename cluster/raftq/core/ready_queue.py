"""The ready tasks of one queue, by sequence, in the order in which they are given out.

Each priority (0 before 9) has a line. The next task is the front of the line of least rank, where
the rank of a line is the instant at which its front became ready, plus `ageing_ms` for each step of
priority; the lower priority number, if ranks are equal. So of two fronts of priorities p < q that
of p goes first unless it became ready more than (q - p) * ageing_ms after the other. With an
`ageing_ms` of 0 only the priority counts.

Within a line, the tasks that came back (given back, or their worker died) in the order in which
they were enqueued, then all others in the order in which they became ready. Coming back one by one,
or many in any order, therefore changes no order. If tasks of a line have fair keys, this holds
within each key; see `raftq.core.fair_line`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import merge
from itertools import islice
from typing import Annotated, Final

from msgspec import Meta, Struct

from raftq.core.bucket import Bucket
from raftq.core.fair_line import FairLine
from raftq.core.id_table import SEQUENCE_MAX
from raftq.core.sequences import Line
from raftq.protocol import limits
from raftq.protocol.fields import Priority, TaskState
from raftq.protocol.options import QueueSettings

DEFAULT_SETTINGS: Final = QueueSettings()
_NUMBERS_PER_PART: Final = 20_000


class LinePart(Struct, array_like=True, frozen=True):
    """Some ready tasks of one line and fair key, for a dump."""

    priority: Priority
    came_back: bool
    sequences: list[Annotated[int, Meta(ge=1, le=SEQUENCE_MAX)]]
    """In order; none if only the key's virtual time counts."""
    fair_key: str = ""
    times: tuple[int, int] | None = None
    """The present of the line and the key's virtual time; None if the line has no fair keys."""


class ReadyQueue:
    """Ready tasks, counts and settings of one queue.

    Args:
        name: Of the queue.
        number: Its place among all queues, from 0, oldest first.
        ready_at_ms: Tells when a ready task became ready, in wall time; asked only if tasks of
            several priorities are ready.
    """

    __slots__ = (
        "_front",
        "_front_priority",
        "_lines",
        "_ready_at_ms",
        "_rival",
        "bucket",
        "counts",
        "enqueue_bucket",
        "enqueued",
        "leased",
        "name",
        "number",
        "payload_bytes",
        "ready",
        "settings",
    )

    def __init__(self, name: str, number: int, ready_at_ms: Callable[[int], int]) -> None:
        self.name = name
        self.number = number
        self.enqueued = 0
        self.ready = 0
        self.counts: dict[TaskState, int] = dict.fromkeys(TaskState, 0)
        self.leased = 0
        """Leases that have not ended, those of cancelled tasks included; kept by the owner."""
        self.payload_bytes = 0
        """Of its tasks that are not over; kept by the owner."""
        self.bucket: Bucket | None = None
        """Of `settings.rate`."""
        self.enqueue_bucket: Bucket | None = None
        """Of `settings.enqueue_rate`."""
        self.settings = DEFAULT_SETTINGS
        """How it is run; see `set`."""
        self._ready_at_ms = ready_at_ms
        self._lines: list[Line | FairLine | None] = [None] * (limits.PRIORITY_MAX + 1)
        self._front: Line | FairLine | None = None
        """The line of the task that is given out next, if that is known."""
        self._front_priority = 0
        """Its priority, if there is a rival."""
        self._rival: tuple[int, int] | None = None
        """Rank and priority of the line that comes next to the front one; None if that does not
        matter until the front line is used up."""

    # ------------------------------------------------------------ settings

    def set(self, settings: QueueSettings) -> None:
        """Run the queue in another way."""
        self.settings = settings
        self._front = None  # The ageing may be another.

    def _weights(self) -> Mapping[str, int]:
        return self.settings.fair_weights

    # ------------------------------------------------------------ changes

    def _line(self, priority: int) -> Line | FairLine:
        """Return the line of a priority, which is to be changed."""
        self._front = None
        line = self._lines[priority]
        # A line whose fair keys have all gone is like a new one, also after a dump.
        if line is None or (isinstance(line, FairLine) and line.is_blank()):
            line = self._lines[priority] = Line()
        return line

    def _fair_line(self, priority: int) -> FairLine:
        """Return the same, with fair keys from now on."""
        line = self._line(priority)
        if isinstance(line, FairLine):
            return line
        fair = self._lines[priority] = FairLine(self._weights, line)
        return fair

    def push_back(
        self, first_sequence: int, priority: int, count: int = 1, fair_key: str = ""
    ) -> None:
        """Put tasks of consecutive sequences behind all others of their priority and key."""
        if fair_key:
            self._fair_line(priority).append(first_sequence, count, fair_key)
        else:
            self._line(priority).append(first_sequence, count)
        self.ready += count

    def push_front(self, sequence: int, priority: int, fair_key: str = "") -> None:
        """Put a task that came back before all of its priority and key that did not, and before
        those that were enqueued after it."""
        if fair_key:
            self._fair_line(priority).put_back(sequence, fair_key)
        else:
            self._line(priority).put_back(sequence)
        self.ready += 1

    def remove(self, sequence: int, priority: int, fair_key: str = "") -> None:
        """Take out a task that is in line, wherever it stands; its fair key is not charged."""
        line = self._line(priority)
        if isinstance(line, FairLine):
            line.remove(sequence, fair_key)
        else:
            line.remove(sequence)
        self.ready -= 1

    def first(self) -> int:
        """Return the task that is to be given out next, without removing it, or 0."""
        if self._front is not None and (sequence := self._front.first()):
            return sequence
        front = self._front = self._find_front()
        return 0 if front is None else front.first()

    def pop(self) -> int:
        """Remove and return the task that is to be given out next."""
        self.ready -= 1
        if self._front is None or not (sequence := self._front.pop()):
            front = self._front = self._find_front()
            assert front is not None, "pop of an empty queue"
            sequence = front.pop()
        if self._rival is not None:
            self._compare_with_rival(self._rival)
        return sequence

    # ------------------------------------------------------------ order

    def _find_front(self) -> Line | FairLine | None:
        """Return the line that comes first, and note the one that comes next to it."""
        self._rival = None
        is_strict = not self.settings.ageing_ms
        fronts: list[tuple[int, Line | FairLine]] = []
        for priority, line in enumerate(self._lines):
            if line is not None and line.first():
                if is_strict:
                    return line
                fronts.append((priority, line))
        if len(fronts) <= 1:
            return fronts[0][1] if fronts else None
        ranks = sorted(self._rank(line.first(), priority) for priority, line in fronts)
        self._rival = ranks[1]
        self._front_priority = ranks[0][1]
        return self._lines[self._front_priority]

    def _rank(self, first: int, priority: int) -> tuple[int, int]:
        """Return the rank of a line, and its priority, by which lines of equal rank are ordered."""
        return self._ready_at_ms(first) + priority * self.settings.ageing_ms, priority

    def _compare_with_rival(self, rival: tuple[int, int]) -> None:
        """Find out whether the front line, which has another front now, is still the first."""
        assert self._front is not None
        first = self._front.first()
        if not first or self._rank(first, self._front_priority) > rival:
            self._front = None

    # ------------------------------------------------------------ readers

    def returned(self) -> Iterator[int]:
        """Yield the ready tasks that came back, line by line."""
        for line in self._lines:
            if line is not None:
                yield from line.returned()

    def waiting(self) -> Iterator[int]:
        """Yield the ready tasks that did not come back, line by line."""
        for line in self._lines:
            if line is not None:
                yield from line.waiting()

    def __iter__(self) -> Iterator[int]:
        """Yield all ready tasks in the order in which they would be given out."""
        lines = [(priority, line) for priority, line in enumerate(self._lines) if line is not None]
        if not self.settings.ageing_ms or len(lines) == 1:
            for _, line in lines:
                yield from line
            return
        ranked = [self._with_ranks(line, priority) for priority, line in lines]
        for _, sequence in merge(*ranked):  # Always goes on with the least front.
            yield sequence

    def _with_ranks(
        self, line: Iterable[int], priority: int
    ) -> Iterator[tuple[tuple[int, int], int]]:
        return ((self._rank(sequence, priority), sequence) for sequence in line)

    # ------------------------------------------------------------ dumps

    def parts(self) -> Iterator[LinePart]:
        """Yield all that decides the order; equal queues give equal parts."""
        for priority, line in enumerate(self._lines):
            if isinstance(line, FairLine):
                for key, virtual in line.virtual_times():
                    times, part = (line.present, virtual), line.part(key)
                    if part is None:
                        yield LinePart(priority, False, [], key, times)
                    else:
                        yield from _parts(priority, part, key, times)
            elif line is not None:
                yield from _parts(priority, line)

    def restore_part(self, part: LinePart) -> None:
        """Enter a part, in the order of the dump."""
        if part.times is not None:
            present, virtual = part.times
            self._fair_line(part.priority).restore_time(present, part.fair_key, virtual)
        for sequence in part.sequences:
            if part.came_back:
                self.push_front(sequence, part.priority, part.fair_key)
            else:
                self.push_back(sequence, part.priority, 1, part.fair_key)


def _parts(
    priority: int, line: Line, fair_key: str = "", times: tuple[int, int] | None = None
) -> Iterator[LinePart]:
    """Cut a line into parts."""
    for came_back, sequences in ((True, iter(line.returned())), (False, line.waiting())):
        while chunk := list(islice(sequences, _NUMBERS_PER_PART)):
            yield LinePart(priority, came_back, chunk, fair_key, times)
