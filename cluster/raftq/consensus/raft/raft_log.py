"""The log as PySyncObj sees it, kept in our journal.

PySyncObj addresses its log like a list whose first element is the entry before the snapshot's
last one; `RaftLog` is that list, and writes every change to the `Journal` and every term and vote
to the `VoteFile`. Invariants: the list is contiguous; `entries[0]` is index 1 or the snapshot's
previous entry; nothing at or below the commit index is ever cut off; the commit index is not
stored (a restarted node learns it from a leader), so a torn journal can never make it lie.

Only the newest commands are in memory; the others are read from the journal when they are asked
for. Of each entry its term and its size are known.
"""

from array import array
from collections.abc import Iterator
from typing import overload

from pysyncobj.journal import Journal as PySyncObjJournal

from raftq.consensus.raft.member_history import MemberHistory
from raftq.consensus.raft.members import ENTRY_MEMBERS, MemberList
from raftq.consensus.raft.newest_commands import NewestCommands
from raftq.consensus.raft.stored_entry import LogEntry, StoredEntry
from raftq.protocol import limits
from raftq.protocol.errors import CorruptRecord
from raftq.storage.journal import Journal, JournalEntry
from raftq.storage.snapshots import SnapshotMeta
from raftq.storage.vote import VoteFile


class RaftLog(PySyncObjJournal):
    """The list of log entries that PySyncObj works on.

    Args:
        journal: Where entries become durable.
        vote: Where the term and the vote become durable.
        snapshot: The newest durable snapshot's description, or None.
        sync_each: True for a cluster of one node: it has no follower whose acknowledgement
            could wait for the disk, so each entry is synced before it is counted.
        members: Is told of each member list in the log.
    """

    def __init__(
        self,
        journal: Journal,
        vote: VoteFile,
        snapshot: SnapshotMeta | None,
        *,
        sync_each: bool,
        members: MemberHistory | None = None,
    ) -> None:
        self.journal = journal
        self._vote = vote
        self.sync_each = sync_each
        self.members = members or MemberHistory(MemberList({}))
        self._commit_index = 0
        self._first_index = journal.first_index
        self._terms: array[int] = array("Q")
        self._sizes: array[int] = array("I")
        self._newest = NewestCommands()
        self._last: JournalEntry | None = None
        self._of_snapshot: dict[int, bytes] = {}
        """Commands that the journal need not have: the two that a snapshot brings along."""
        if journal.last_index and journal.term_at(journal.last_index) > vote.term:
            # Terms are stored before they are used, so the vote file must be the newer one.
            raise CorruptRecord(
                f"the log holds term {journal.term_at(journal.last_index)}, the vote file "
                f"{vote.term}: that file was lost or replaced; rebuild this node from its peers",
                term=vote.term,
            )
        if snapshot is not None:
            self.members.loaded(snapshot.configuration)
            self.members.cleared()
            self._reconcile(snapshot)
        elif journal.last_index:
            self._take_journal(journal.first_index)
        self._bytes = sum(self._sizes)
        self._find_members()

    def _reconcile(self, snapshot: SnapshotMeta) -> None:
        """Make the list start at the snapshot, keeping every entry after it.

        A node may die between making a snapshot durable and cutting the log, or between
        installing a received snapshot and resetting the log. PySyncObj would clear the log in
        both cases; in the first that would forget entries that this node acknowledged.
        """
        journal, last_index = self.journal, snapshot.last_index
        first, is_empty = journal.first_index, not journal.last_index
        is_inside = not is_empty and first <= last_index <= journal.last_index
        is_held = is_inside and journal.term_at(last_index) == snapshot.last_term
        if not is_empty and first > last_index + 1:
            raise CorruptRecord(
                f"the log begins at index {first}, but the newest snapshot ends at "
                f"{last_index}: entries in between are missing; rebuild this node from its peers",
                index=last_index + 1,
            )
        is_continued = is_held or (not is_empty and first == last_index + 1)
        if not is_continued:
            journal.reset()
        self._first_index = snapshot.previous_index
        for index, term, command in (
            (snapshot.previous_index, snapshot.previous_term, snapshot.previous_command),
            (last_index, snapshot.last_term, snapshot.last_command),
        ):
            self._terms.append(term)
            self._sizes.append(len(command))
            self._of_snapshot[index] = command
            if not is_continued:
                journal.append(index, term, command)
        self._last = JournalEntry(snapshot.last_command, last_index, snapshot.last_term)
        if is_continued:
            self._take_journal(last_index + 1)

    def _take_journal(self, first_index: int) -> None:
        """Append the entries that the journal has from an index on."""
        for index in range(first_index, self.journal.last_index + 1):
            self._terms.append(self.journal.term_at(index))
            self._sizes.append(self.journal.bytes_at(index))
        if first_index <= self.journal.last_index:
            self._last = self.journal.read(self.journal.last_index)

    def _find_members(self) -> None:
        """Tell of the member lists in the log, after its first entry, which puts them in force."""
        if not self._terms:
            return
        found = {self._first_index, *self._of_snapshot}
        found.update(self.journal.indexes_of(bytes([ENTRY_MEMBERS])))
        for index in sorted(found):
            if self._first_index <= index <= self.last_index:
                self.members.added(index, self._command(index))

    # ------------------------------------------------------------ what raftq reads

    @property
    def first_index(self) -> int:
        """Index of the first entry in the list."""
        return self._first_index

    @property
    def last_index(self) -> int:
        """Index of the newest entry."""
        return self._first_index + len(self._terms) - 1

    @property
    def last_term(self) -> int:
        """Term of the newest entry."""
        return self._terms[-1]

    @property
    def stored_term(self) -> int:
        """The newest term that this node took part in; 0 if it never did."""
        return self._vote.term

    @property
    def payload_bytes(self) -> int:
        """Bytes of all commands in the list."""
        return self._bytes

    def term_at(self, index: int) -> int:
        """Return the term of an entry between `first_index` and `last_index`."""
        return self._terms[index - self._first_index]

    def entries_from(self, index: int) -> Iterator[LogEntry]:
        """Yield the entries from an index on."""
        return (self._entry(each) for each in range(index, self.last_index + 1))

    def command_at(self, index: int) -> bytes:
        """Return the command of an entry.

        Raises:
            CorruptRecord: It was damaged; this node must stop.
        """
        assert self._first_index <= index <= self.last_index, f"entry {index} is not in the log"
        return self._command(index)

    def _command(self, index: int) -> bytes:
        command = self._newest.get(index)
        if command is None:
            command = self._of_snapshot.get(index)
        return self.journal.read(index).command if command is None else command

    def _entry(self, index: int) -> LogEntry:
        term = self.term_at(index)
        command = self._newest.get(index)
        if command is None:
            return StoredEntry(index, term, self._command)
        return JournalEntry(command, index, term)

    # ------------------------------------------------------------ what PySyncObj calls

    def add(self, command: bytes, idx: int, term: int) -> None:
        """Append one entry."""
        self.journal.append(idx, term, command)
        if not self._terms:
            self._first_index = idx
        self._terms.append(term)
        self._sizes.append(len(command))
        self._last = JournalEntry(command, idx, term)
        self._newest.add(idx, command, self.journal.written_index)
        self._bytes += len(command)
        self.members.added(idx, command)
        if self.sync_each:
            job = self.journal.begin_sync()
            if job is not None:
                job.run()
                self.journal.finish_sync(job)

    def clear(self) -> None:
        """Forget the whole log: a received snapshot replaces it."""
        self.journal.reset()
        self._terms, self._sizes = array("Q"), array("I")
        self._newest.cut_from(0)
        self._of_snapshot.clear()
        self._last = None
        self._bytes = 0
        self.members.cleared()

    def deleteEntriesFrom(self, entryFrom: int) -> None:
        """Cut off the entries from a list position on: a leader has others."""
        index = self._first_index + entryFrom
        assert index > self._commit_index, (
            f"cutting the log at index {index} would remove committed entries "
            f"(commit index {self._commit_index})"
        )
        self.journal.truncate_after(index - 1)
        self._bytes -= sum(self._sizes[entryFrom:])
        del self._terms[entryFrom:]
        del self._sizes[entryFrom:]
        self._newest.cut_from(index)
        self._last = JournalEntry(self._command(index - 1), index - 1, self.last_term)
        self.members.cut_from(index)

    def deleteEntriesTo(self, entryTo: int) -> None:
        """Drop the entries before a list position: a durable snapshot holds their effect."""
        self._bytes -= sum(self._sizes[:entryTo])
        del self._terms[:entryTo]
        del self._sizes[:entryTo]
        self._first_index += entryTo
        self.journal.drop_through(self._first_index - 1)
        for index in [each for each in self._of_snapshot if each < self._first_index]:
            del self._of_snapshot[index]
        self._newest.drop_before(self._first_index)
        self.members.dropped_before(self._first_index)

    @overload
    def __getitem__(self, item: int) -> LogEntry: ...
    @overload
    def __getitem__(self, item: slice) -> list[LogEntry]: ...
    def __getitem__(self, item: int | slice) -> LogEntry | list[LogEntry]:
        if isinstance(item, slice):
            start = self._first_index + item.start
            if item.stop is None:
                return self._batch(start)
            return self._turn(start, min(self._first_index + item.stop, self.last_index + 1))
        if item == -1:
            assert self._last is not None, "the log is empty"
            return self._last
        return self._entry(self._first_index + item)

    def _batch(self, start: int) -> list[LogEntry]:
        """Return entries from an index on: at least two, and about one message's worth.

        PySyncObj asks for the whole tail each time it sends; copying a long one for every
        message would make catching up quadratic. Two, because a follower asks the same way
        whether anything follows an entry, and cuts it off only if it sees it.
        """
        stop = min(start + limits.ENTRIES_PER_MESSAGE_MAX, self.last_index + 1)
        stop = self._within(start, stop, limits.MESSAGE_BYTES_TARGET, at_least=2)
        return [
            JournalEntry(self._command(index), index, self.term_at(index))
            for index in range(start, stop)
        ]

    def _turn(self, start: int, stop: int) -> list[LogEntry]:
        """Return one or two entries as asked for, of more what a turn of the loop can apply.

        PySyncObj asks for everything between what is applied and what is committed, which after a
        restart is the whole log. It comes again for what is left.
        """
        if stop - start > 2:
            stop = self._within(start, stop, limits.APPLY_BYTES_PER_TURN, at_least=1)
        return [self._entry(index) for index in range(start, stop)]

    def _within(self, start: int, stop: int, bytes_max: int, at_least: int) -> int:
        """Return where to stop so that the entries have about so many bytes."""
        total = 0
        for index in range(start, stop):
            total += self._sizes[index - self._first_index]
            if total >= bytes_max and index + 1 >= start + at_least:
                return index + 1
        return stop

    def __len__(self) -> int:
        return len(self._terms)

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        """Remember the commit index as a bound for truncation; it is not stored."""
        self._commit_index = max(self._commit_index, raftCommitIndex)

    def getRaftCommitIndex(self) -> int:
        """Return what is certainly committed at start: the first entry of the list."""
        return self._first_index if self._terms else 1

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        """Store term and vote durably before anyone can learn of them."""
        self._vote.store(term, votedForNodeId)

    def getCurrentTerm(self) -> int:
        """Return the stored term."""
        return self._vote.term

    def getVotedForNodeId(self) -> str | None:
        """Return whom this node voted for in the stored term."""
        return self._vote.voted_for

    def onOneSecondTimer(self) -> None:
        """Do nothing: this log has no lazy writes."""
